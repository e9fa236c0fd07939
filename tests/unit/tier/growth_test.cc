// SPDX-License-Identifier: Apache-2.0
#include "tier/growth.h"

#include <gtest/gtest.h>

namespace libpool::tier {
namespace {

using Now = Growth::Now;
constexpr uint64_t near_pages = 1000;

TEST(Growth, ThatHasEndedCallsForALookAtEverythingOnce) {
    Growth growth;
    EXPECT_EQ(growth.see(0, 500, near_pages), Now::steady);
    EXPECT_EQ(growth.see(1, 3000, near_pages), Now::much);
    growth.looked();
    EXPECT_EQ(growth.see(2, 6000, near_pages), Now::growing);
    EXPECT_EQ(growth.see(3, 9000, near_pages), Now::growing);
    EXPECT_EQ(growth.see(4, 9050, near_pages), Now::ended);
    growth.looked();
    EXPECT_EQ(growth.see(5, 9060, near_pages), Now::steady);
}

TEST(Growth, ThatDoesNotEndIsLookedAtAsItGets) {
    Growth growth;
    int looks = 0;
    double pages = 100;
    for (int second = 0; second < 100; ++second, pages *= 1.1) {
        if (growth.see(second, uint64_t(pages), near_pages) != Now::much) continue;
        growth.looked();
        ++looks;
    }
    EXPECT_GE(looks, 4);  // by a factor of 1,378 beyond what fits near
    EXPECT_LE(looks, 8);
}

TEST(Growth, ThatEndsSoonAfterALookIsStillLookedAtWhenItHasEnded) {
    Growth growth;
    EXPECT_EQ(growth.see(0, 500, near_pages), Now::steady);
    EXPECT_EQ(growth.see(1, 9000, near_pages), Now::much);
    growth.looked();
    EXPECT_EQ(growth.see(2, 9500, near_pages), Now::growing);
    EXPECT_EQ(growth.see(3, 9500, near_pages), Now::ended);
    growth.looked();
    EXPECT_EQ(growth.see(4, 9500, near_pages), Now::steady);
}

TEST(Growth, ThatComesInALeapIsLookedAtOnce) {
    Growth growth;
    EXPECT_EQ(growth.see(0, 5000, near_pages), Now::ended);  // as it was found
    growth.looked();
    EXPECT_EQ(growth.see(0.01, 9000, near_pages), Now::ended);
    growth.looked();
    EXPECT_EQ(growth.see(0.02, 9000, near_pages), Now::steady);
    EXPECT_EQ(growth.see(0.3, 9000, near_pages), Now::steady);
}

TEST(Growth, OfWhatFitsNearIsNothingToLookAt) {
    Growth growth;
    EXPECT_EQ(growth.see(0, 100, near_pages), Now::steady);
    EXPECT_EQ(growth.see(1, 900, near_pages), Now::growing);
    EXPECT_EQ(growth.see(2, 900, near_pages), Now::steady);
}

TEST(Growth, IsNotSeenInMomentsThatLieCloseTogether) {
    Growth growth;
    EXPECT_EQ(growth.see(0, 5000, near_pages), Now::ended);  // as it was found
    growth.looked();
    EXPECT_EQ(growth.see(0.01, 5400, near_pages), Now::steady);
    EXPECT_EQ(growth.see(0.5, 5700, near_pages), Now::growing);
    EXPECT_EQ(growth.see(0.51, 5700, near_pages), Now::growing);
}

}  // namespace
}  // namespace libpool::tier
