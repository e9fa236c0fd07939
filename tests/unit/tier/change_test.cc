// SPDX-License-Identifier: Apache-2.0
#include "tier/change.h"

#include <gtest/gtest.h>

#include <random>

namespace libpool::tier {
namespace {

// Shares around a level that are ragged by `deviation`; how often a change is called in `readings`.
int calls(ChangeDetector& detector, double level, double deviation, int readings) {
    std::mt19937 random(1);
    std::normal_distribution<double> share(level, deviation);
    int called = 0;
    for (int i = 0; i < readings; ++i) {
        called += detector.see(std::clamp(share(random), 0.0, 1.0));
    }
    return called;
}

TEST(Change, IsNotCalledOnWhatStaysHoweverRagged) {
    for (double deviation : {0.001, 0.05, 0.2}) {
        ChangeDetector detector;
        EXPECT_EQ(calls(detector, 0.4, deviation, 20000), 0) << deviation;
    }
}

TEST(Change, IsCalledWithinFewReadings) {
    for (double deviation : {0.01, 0.1}) {
        ChangeDetector detector;
        calls(detector, 0.1, deviation, 200);
        EXPECT_EQ(calls(detector, 0.8, deviation, 6), 1) << deviation;
    }
}

TEST(Change, ForTheBetterIsNone) {
    ChangeDetector detector;
    calls(detector, 0.8, 0.05, 200);
    EXPECT_EQ(calls(detector, 0.1, 0.05, 200), 0);
}

}  // namespace
}  // namespace libpool::tier
