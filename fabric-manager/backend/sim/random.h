// SPDX-License-Identifier: Apache-2.0
// The simulator's own source of chance: the same seed gives the same numbers on every machine and
// with every standard library (std::uniform_int_distribution promises neither).
#pragma once

#include <cstdint>

#include "core/units.h"

namespace cxlpool::sim {

class Random {
  public:
    explicit Random(std::uint64_t seed) : state_(seed) {}

    // SplitMix64: small, fast, and good enough to draw faults with.
    std::uint64_t next() {
        std::uint64_t z = (state_ += 0x9E3779B97F4A7C15ULL);
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
        return z ^ (z >> 31);
    }

    std::uint64_t below(std::uint64_t limit) { return limit == 0 ? 0 : next() % limit; }

    // True `permille` times of a thousand. Draws nothing when the answer is certain, so that a
    // fault that is switched off does not shift what the others draw.
    bool chance(unsigned permille) { return permille != 0 && below(1000) < permille; }

    Millis between(Millis low, Millis high) {
        return low + static_cast<Millis>(below(static_cast<std::uint64_t>(high - low + 1)));
    }

  private:
    std::uint64_t state_;
};

}  // namespace cxlpool::sim
