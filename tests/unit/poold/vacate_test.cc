// SPDX-License-Identifier: Apache-2.0
// Whose pages leave an extent first: heat decides over all processes, not their order.
#include "poold/vacate.h"

#include <gtest/gtest.h>

#include <list>

#include "silent_process.h"
#include "steady.h"

using namespace poold;
using libpool::tier::DrainUnit;

namespace {

constexpr uint64_t page = 4096, block = 512 * page;

DrainUnit unit(uint32_t owner, uint64_t address, float rate, uint32_t pages = 1) {
    return {address, pages, rate, owner};
}

const std::vector<pid_t> pids{100, 200};

TEST(Vacate, HottestFirstOverAllProcesses) {
    auto plan = plan_vacating({unit(0, 0, 5, 512), unit(0, block, 1, 512), unit(1, 0, 3, 512)},
                              pids, {.near_pages = 1024, .far_pages = 512}, 2);
    ASSERT_EQ(plan.size(), 3u);
    EXPECT_EQ(plan[0], (VacateBatch{100, true, {unit(0, 0, 5, 512)}}));
    EXPECT_EQ(plan[1], (VacateBatch{200, true, {unit(1, 0, 3, 512)}}));
    EXPECT_EQ(plan[2], (VacateBatch{100, false, {unit(0, block, 1, 512)}}));  // not worth near
}

TEST(Vacate, NearIsForTheHotWhoeverTheyAre) {
    auto plan = plan_vacating({unit(0, 0, 2), unit(0, page, 9), unit(1, 0, 7), unit(1, page, 1)},
                              pids, {.near_pages = 2, .far_pages = 8}, 0.5);
    ASSERT_EQ(plan.size(), 4u);
    EXPECT_EQ(plan[0], (VacateBatch{100, true, {unit(0, page, 9)}}));
    EXPECT_EQ(plan[1], (VacateBatch{200, true, {unit(1, 0, 7)}}));
    EXPECT_FALSE(plan[2].near);
    EXPECT_FALSE(plan[3].near);
}

// A call moves many pages: small ones of one process go together within a stretch of the order.
TEST(Vacate, PagesOfOneProcessGoTogether) {
    std::vector<DrainUnit> units;
    for (uint64_t i = 0; i < 1000; ++i) {
        units.push_back(unit(uint32_t(i % 2), i * page, float(1000 - i)));
    }
    auto plan = plan_vacating(units, pids, {.near_pages = 1000, .far_pages = 0}, 1);
    ASSERT_EQ(plan.size(), 2u);
    EXPECT_EQ(plan[0].units.size(), 500u);
    EXPECT_EQ(plan[0].units.front(), units[0]);  // hottest first within it, too
}

TEST(Vacate, WhatHasNoRoomStaysForTheKernel) {
    auto plan = plan_vacating({unit(0, 0, 1), unit(1, 0, 0)}, pids, {}, 1);
    EXPECT_TRUE(plan.empty());
}

// Nothing lies there: what is seen is only for how long it asks.
constexpr libpool::Site nowhere{.node = -1, .physical_start = 0, .physical_bytes = 0};

// They were asked one after the other, and each cost its second.
TEST(Vacate, SilentProcessesAreWaitedForTogether) {
    std::list<SilentProcess> silent(8);
    const double before_s = libpool::steady_now_s();
    EXPECT_EQ(vacate(nowhere, {}, [] { return true; }).processes, 0u);
    EXPECT_LT(libpool::steady_now_s() - before_s, 5);  // not 8
}

TEST(Vacate, ItAsksNobodyWhenItIsToStop) {
    std::list<SilentProcess> silent(2);
    const double before_s = libpool::steady_now_s();
    EXPECT_EQ(vacate(nowhere, {}, [] { return false; }).processes, 0u);
    EXPECT_LT(libpool::steady_now_s() - before_s, 0.9);
}

}  // namespace
