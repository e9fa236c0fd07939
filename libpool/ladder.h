// SPDX-License-Identifier: Apache-2.0
// The lengths of the sampling windows, in turn. Three of four are as long as the last decision asks
// for (1 / boundary rate), but no longer than they stay affordable: a longer window costs the
// program a fault for every page it touches, a shorter one wastes the fixed cost of arming and
// scanning. The fourth walks through six lengths, so that no rate goes unseen. Each is randomised
// by a quarter, so that no program can be in step with it. Pure but for its seed.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <random>

namespace libpool {

class Ladder {
  public:
    static constexpr double shortest_s = 0.001;
    static constexpr double longest_s = 1.0;

    explicit Ladder(uint64_t seed) : random_(seed) {}

    double next_s(double boundary_rate, double affordable_s) {
        static constexpr std::array<double, 6> rungs = {0.004, 0.001, 0.016, 0.064, 0.256, 1.0};
        double length_s = turn_ % 4 == 0 ? rungs[(turn_ / 4) % rungs.size()]
                                         : std::min(1 / boundary_rate, affordable_s);
        ++turn_;
        length_s *= std::uniform_real_distribution<>(0.75, 1.25)(random_);
        return std::clamp(length_s, shortest_s, longest_s);
    }

  private:
    std::mt19937_64 random_;
    uint64_t turn_ = 0;
};

}  // namespace libpool
