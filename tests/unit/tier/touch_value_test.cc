// SPDX-License-Identifier: Apache-2.0
#include "tier/touch_value.h"

#include <gtest/gtest.h>

#include <vector>

namespace libpool::tier {
namespace {

// What a value is on average for a page with this rate.
template <typename Value>
double mean(const std::vector<double>& rungs_s, double rate, Value value) {
    double sum = 0, before = 1;
    for (size_t rung = 0; rung < rungs_s.size(); ++rung) {
        const double still = std::exp(-rate * rungs_s[rung]);
        sum += (before - still) * value(Sight(rung));
        before = still;
    }
    return sum + before * value(not_touched);
}

TEST(TouchValue, IsNeverOnTheWrongSideOnAverage) {
    for (const std::vector<double>& rungs_s :
         {std::vector<double>{0.001}, {0.001, 0.0015}, {0.001, 0.002, 0.004}, {0.001, 0.3, 1}}) {
        const TouchValue value(rungs_s);
        for (double rate = 0.1; rate <= value.resolved_rate(); rate *= 1.05) {
            const double low = mean(rungs_s, rate, [&](Sight s) { return value.low(s); });
            const double high = mean(rungs_s, rate, [&](Sight s) { return value.high(s); });
            EXPECT_LE(low, rate * (1 + 1e-9));
            EXPECT_GE(high, rate * (1 - 1e-9));
            EXPECT_LE(high, rate * 2.01);
        }
    }
}

TEST(TouchValue, IsTightWhereTheSecondLookIsTwiceTheFirst) {
    const std::vector<double> rungs_s = {0.001, 0.002};
    const TouchValue value(rungs_s);
    for (double rate = 0.1; rate <= value.resolved_rate(); rate *= 1.05) {
        EXPECT_LE(mean(rungs_s, rate, [&](Sight s) { return value.high(s); }), rate * 1.18);
    }
}

}  // namespace
}  // namespace libpool::tier
