// SPDX-License-Identifier: Apache-2.0
// What arming and moving cost, as the engine learns it from what they took.
#include <gtest/gtest.h>

#include "tier/arm_cost.h"
#include "tier/move_cost.h"

namespace libpool::tier {
namespace {

TEST(MoveCost, IsWhatABatchTookWithoutItsCall) {
    MoveCost cost;
    EXPECT_FALSE(cost.known());
    EXPECT_LT(cost.batch(), move_batch);
    ASSERT_TRUE(cost.call_is_due());
    cost.call_took(1e6);
    cost.took(1e6 + 256 * 5000, 256);
    EXPECT_TRUE(cost.known());
    EXPECT_NEAR(cost.page_ns(), 5000, 1);
    EXPECT_EQ(cost.batch(), move_batch);
}

TEST(MoveCost, OneSlowCallWithFewPagesIsNoReasonToStop) {
    MoveCost cost;
    cost.took(35e6, 8);  // seen beside other work: 4 ms a page
    EXPECT_FALSE(cost.known());
    EXPECT_LT(cost.page_ns(), 10000);
    cost.took(256 * 5000, 256);
    cost.took(35e6, 8);
    EXPECT_LT(cost.page_ns(), 10000);
}

TEST(MoveCost, OneBatchThatWasHeldUpForSecondsIsNoReasonToStop) {
    MoveCost cost;
    cost.took(512 * 40000, 512);
    cost.took(7.5e9, 512);
    EXPECT_LT(cost.page_ns(), 100e3);
    for (int i = 0; i < 12; ++i) cost.took(512 * 5e6, 512);  // but what stays dear is dear
    EXPECT_GT(cost.page_ns(), 4e6);
}

TEST(MoveCost, OneBatchThatTookNoTimeByTheClockIsNotTheMeasureForEver) {
    MoveCost cost;
    cost.took(0, 512);
    for (int i = 0; i < 30; ++i) cost.took(512 * 40000, 512);
    EXPECT_GT(cost.page_ns(), 30000);
}

TEST(MoveCost, FadesUnusedUntilItIsAGuessAgain) {
    MoveCost cost;
    cost.took(256e6, 256);
    EXPECT_NEAR(cost.page_ns(), 1e6, 1);
    EXPECT_LT(cost.batch(), 1001u);
    cost.unused(60);
    EXPECT_NEAR(cost.page_ns(), 0.5e6, 1e3);
    EXPECT_TRUE(cost.known());
    cost.unused(61);
    EXPECT_FALSE(cost.known());
}

TEST(ArmCost, AHugePageIsArmedAsOne) {
    ArmCost cost({500, 50e3, 4000, 300});
    const auto runs = ArmCost::trial({{0x10000000, 65536}});
    const auto huge_blocks = uint64_t(runs.size());
    // As 512 pages each they would have cost more than all of it took, and a run nothing.
    cost.tried(1, double(runs.size()) * 200e3, runs, 65536, huge_blocks);
    EXPECT_NEAR(cost.costs().arm_run_ns, 200e3, 1e3);
}

TEST(ArmCost, ATrialTellsWhatARunCostsBesideABusyProgram) {
    ArmCost cost({500, 50e3, 4000, 300});
    EXPECT_TRUE(cost.trial_is_due(0, 65636));
    const auto runs = ArmCost::trial({{0x10000000, 65536}, {0x90000000, 100}});
    ASSERT_GE(runs.size(), 4u);
    // Whole blocks: of a huge page no part can be armed, and nothing would seem to cost nothing.
    EXPECT_EQ(runs.front().start % (512 * page_bytes), 0u);
    EXPECT_EQ(runs.front().pages, 512u);
    double pages = 0;
    for (size_t i = 0; i < runs.size(); ++i) {
        pages += double(runs[i].pages);
        if (i > 0) {
            EXPECT_GT(runs[i].start, runs[i - 1].end());
        }
        EXPECT_LE(runs[i].end(), 0x10000000u + 65536 * page_bytes);
    }
    cost.tried(1, pages * 500 + double(runs.size()) * 7e6, runs, 65636);
    EXPECT_NEAR(cost.costs().arm_run_ns, 7e6, 1);
    EXPECT_FALSE(cost.trial_is_due(2, 65636));
    EXPECT_TRUE(cost.trial_is_due(62, 65636));
    EXPECT_TRUE(cost.trial_is_due(2, 5 * 65636));  // the program has grown
    // Of many pages in one run: what a page costs.
    for (int i = 0; i < 50; ++i) cost.took(65536 * 900.0 + 7e6, {{0x10000000, 65536}});
    EXPECT_NEAR(cost.costs().arm_page_ns, 900, 10);
    EXPECT_NEAR(cost.costs().arm_run_ns, 7e6, 1);
}

TEST(ArmCost, OfExactCountsIsNothing) {
    ArmCost cost(SampleCosts{});
    EXPECT_FALSE(cost.trial_is_due(100, 1));
    cost.took(1e9, {{0x10000000, 512}});
    EXPECT_TRUE(cost.costs().free());
}

}  // namespace
}  // namespace libpool::tier
