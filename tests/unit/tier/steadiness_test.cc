// SPDX-License-Identifier: Apache-2.0
// How long a program is expected to stay as it is, and what a change of its ways calls for.
#include "tier/steadiness.h"

#include <gtest/gtest.h>

namespace libpool::tier {
namespace {

TEST(Steadiness, ExpectsWhatHasLastedToLast) {
    Steadiness steadiness(10);
    steadiness.begin(100, false);
    EXPECT_EQ(steadiness.stay_s(101), 120) << "nothing is known: two minutes";
    EXPECT_EQ(steadiness.stay_s(300), 200);
    EXPECT_EQ(steadiness.stay_s(1000), 300) << "no more than five minutes";
    steadiness.change(160);
    EXPECT_EQ(steadiness.stay_s(161), 30) << "half of the 60 s between the changes";
    EXPECT_EQ(steadiness.stay_s(200), 40);
    steadiness.change(202);
    steadiness.change(203);
    EXPECT_EQ(steadiness.stay_s(203), 5) << "no less than 5 s";
    EXPECT_EQ(steadiness.changes(), 3u);
    EXPECT_EQ(steadiness.since_change_s(210), 7);
}

TEST(Steadiness, AChangeIsForgottenOverTwoFullCycles) {
    Steadiness steadiness(10);
    steadiness.begin(0, false);
    EXPECT_FALSE(steadiness.learning());
    const double usual = steadiness.forgetting(1);
    steadiness.change(50);
    EXPECT_TRUE(steadiness.busy(59));
    EXPECT_FALSE(steadiness.busy(60));
    const double first = steadiness.forgetting(0);
    EXPECT_EQ(steadiness.forgetting(0.5), first) << "a scout sees nothing of a full cycle";
    EXPECT_EQ(steadiness.forgetting(0.5), first);
    const double second = steadiness.forgetting(1);
    EXPECT_GT(first, second);
    EXPECT_GT(second, usual);
    EXPECT_FALSE(steadiness.learning());
    EXPECT_EQ(steadiness.forgetting(1), usual);
}

TEST(Steadiness, ToLearnAnewIsNoChange) {
    Steadiness steadiness(10);
    steadiness.begin(0, true);
    EXPECT_TRUE(steadiness.learning()) << "what the first cycles show is passing";
    while (steadiness.learning()) steadiness.forgetting(1);
    steadiness.learn_anew(200);
    EXPECT_TRUE(steadiness.learning());
    EXPECT_TRUE(steadiness.busy(209));
    EXPECT_EQ(steadiness.changes(), 0u);
    EXPECT_EQ(steadiness.stay_s(200), 200);
}

TEST(Steadiness, TwoAlarmsInARowThenOneAMinute) {
    Steadiness steadiness(10);
    const auto alarms_at = [&](double now_s) {
        steadiness.allow_alarms(now_s);
        int alarms = 0;
        for (; steadiness.may_alarm(); ++alarms) steadiness.alarm();
        return alarms;
    };
    EXPECT_EQ(alarms_at(0), 2);
    EXPECT_EQ(alarms_at(30), 0);
    EXPECT_EQ(alarms_at(60), 1);
    EXPECT_EQ(alarms_at(1000), 2) << "they do not heap up";
}

}  // namespace
}  // namespace libpool::tier
