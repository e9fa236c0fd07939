// SPDX-License-Identifier: Apache-2.0
#include "tier/beliefs.h"

#include <gtest/gtest.h>

#include <cmath>

namespace libpool::tier {
namespace {

double uniform(uint64_t& dice) { return (double(roll(dice) >> 11) + 0.5) * 0x1p-53; }

// A page that is touched `rate` times a second, as one cycle sees it.
Sight see(double rate, std::span<const double> rungs_s, uint64_t& dice) {
    double at_s = -std::log(uniform(dice)) / rate;
    for (size_t rung = 0; rung < rungs_s.size(); ++rung) {
        if (at_s <= rungs_s[rung]) return Sight(rung);
    }
    return not_touched;
}

TEST(Beliefs, FindTheRateOfAPageFromOneBitAnArming) {
    const std::array<double, 4> rungs_s = {0.001, 0.004, 0.016, 0.064};
    for (double rate : {10.0, 100.0, 1000.0}) {
        uint64_t dice = 7;
        double octaves = 0;
        for (int page = 0; page < 100; ++page) {
            Belief belief = belief_unknown();
            BeliefUpdate update(rungs_s, 0.001, prior_of_nothing());
            for (int cycle = 0; cycle < 40; ++cycle) {
                belief = update.next(belief, see(rate, rungs_s, dice), dice);
            }
            octaves += std::log2(rates_of(belief).mean / rate) / 100;
        }
        EXPECT_NEAR(octaves, 0, 0.35) << rate;
    }
}

TEST(Beliefs, ComeBackFromAnyReading) {
    const std::array<double, 2> rungs_s = {0.001, 0.016};
    uint64_t dice = 3;
    Belief belief = belief_about(5000, 0);
    BeliefUpdate update(rungs_s, 0.001, prior_of_nothing());
    for (int i = 0; i < 200; ++i) belief = update.next(belief, not_touched, dice);
    EXPECT_LT(rates_of(belief).mean, 20);
    for (int i = 0; i < 200; ++i) belief = update.next(belief, 0, dice);
    EXPECT_GT(rates_of(belief).mean, 500);
}

// Was: counts were normal in octaves, and one burst outweighed all the silence after it.
TEST(Beliefs, OfCountsAreAboutTheAverageOfBursts) {
    uint64_t dice = 5;
    Belief belief = belief_unknown();
    double sum = 0;
    for (int i = 0; i < 400; ++i) {
        belief = belief_counted(belief, i % 8 == 0 ? 200 : 0, 0.25, 0, dice);
        if (i >= 200) sum += rates_of(belief).mean / 200;
    }
    EXPECT_NEAR(sum, 100, 20);
}

}  // namespace
}  // namespace libpool::tier
