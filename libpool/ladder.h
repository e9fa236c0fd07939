// SPDX-License-Identifier: Apache-2.0
// The lengths of the sampling windows, in turn. Every second one is where the last decision was close
// (1 / boundary rate); the others walk up and down six lengths, so that no rate goes unseen. Each is
// randomised by a quarter, so that no program can be in step with it. Pure but for its seed.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <random>

namespace libpool {

class Ladder {
  public:
    explicit Ladder(uint64_t seed) : random_(seed) {}

    double next_s(double boundary_rate) {
        static constexpr std::array<double, 6> rungs = {0.016, 0.001, 0.064, 0.004, 0.256, 1.0};
        ++turn_;
        double length_s = rungs[(turn_ / 2) % rungs.size()];
        if (turn_ % 2 == 0 && boundary_rate > 0) length_s = 1 / boundary_rate;
        length_s = std::clamp(length_s, 0.001, 1.0);
        return length_s * std::uniform_real_distribution<>(0.75, 1.25)(random_);
    }

  private:
    std::mt19937_64 random_;
    uint64_t turn_ = 0;
};

}  // namespace libpool
