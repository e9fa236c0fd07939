// SPDX-License-Identifier: Apache-2.0
#include "pooltrace/speed_gate.h"

#include <gtest/gtest.h>

namespace libpool::tier::trace {
namespace {

TEST(SpeedGate, ATenthOfTheGoalIsEnough) {
    EXPECT_EQ(why_slow_simulation("zipf", 7e7), "");
    EXPECT_EQ(why_slow_simulation("zipf", 1e6), "");
    EXPECT_EQ(why_slow_simulation("zipf", 9.9e5),
              "Something is broken: ours is simulated at 9.9e+05 page-epochs a second of CPU on "
              "zipf, and a tenth of the goal is 1e+06.");
    EXPECT_EQ(why_slow_decision(1u << 20, 0.2), "");
    EXPECT_EQ(why_slow_decision(1u << 20, 0.25),
              "Something is broken: a decision of ours for 1048576 pages takes 250 ms of CPU, and "
              "ten times the goal is 200 ms.");
}

TEST(SpeedGate, ADecisionMayTakeAsMuchLongerAsThereAreMorePages) {
    EXPECT_EQ(why_slow_decision(1u << 22, 0.79), "");
    EXPECT_NE(why_slow_decision(1u << 22, 0.81), "");
}

TEST(SpeedGate, OfLittleNothingIsSaid) {
    EXPECT_TRUE(can_judge_simulation(judged_pages, judged_epochs));
    EXPECT_FALSE(can_judge_simulation(512, judged_epochs));
    EXPECT_FALSE(can_judge_simulation(judged_pages, 8));
    EXPECT_TRUE(can_judge_decision(judged_decide_pages));
    EXPECT_FALSE(can_judge_decision(512));
}

}  // namespace
}  // namespace libpool::tier::trace
