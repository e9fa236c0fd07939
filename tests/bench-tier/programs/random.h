// SPDX-License-Identifier: Apache-2.0
// xorshift64*: a pattern must cost less than the accesses it makes. The same seed gives the same
// accesses.
#pragma once

#include <cmath>
#include <cstdint>
#include <numeric>
#include <utility>
#include <vector>

namespace work {

class Random {
  public:
    explicit Random(uint64_t seed) : state_(seed * 0x9e3779b97f4a7c15 | 1) {
        for (int i = 0; i < 8; ++i) next();
    }
    uint32_t next() {
        state_ ^= state_ >> 12;
        state_ ^= state_ << 25;
        state_ ^= state_ >> 27;
        return uint32_t(state_ * 0x2545f4914f6cdd1d >> 32);
    }
    uint32_t below(uint32_t limit) { return uint32_t(uint64_t(next()) * limit >> 32); }
    double unit() { return next() * 0x1p-32; }

  private:
    uint64_t state_;
};

inline std::vector<uint32_t> shuffled(uint32_t count, Random& random) {
    std::vector<uint32_t> order(count);
    std::iota(order.begin(), order.end(), 0u);
    for (uint32_t i = count; i > 1; --i) std::swap(order[i - 1], order[random.below(i)]);
    return order;
}

// Ranks 0… with probability ∝ 1 / (rank + 1)^exponent, by Walker's alias method: two table entries
// a draw.
class Zipf {
  public:
    Zipf(uint32_t count, double exponent) : share_(count), other_(count) {
        double sum = 0;
        for (uint32_t i = 0; i < count; ++i) sum += share_[i] = std::pow(i + 1.0, -exponent);
        std::vector<uint32_t> low, high;
        for (uint32_t i = 0; i < count; ++i) {
            share_[i] *= count / sum;
            (share_[i] < 1 ? low : high).push_back(i);
        }
        while (!low.empty() && !high.empty()) {
            uint32_t poor = low.back(), rich = high.back();
            low.pop_back();
            other_[poor] = rich;
            share_[rich] -= 1 - share_[poor];
            if (share_[rich] < 1) {
                high.pop_back();
                low.push_back(rich);
            }
        }
        for (uint32_t i : low) share_[i] = 1;
        for (uint32_t i : high) share_[i] = 1;
    }
    uint32_t draw(Random& random) const {
        uint32_t rank = random.below(uint32_t(share_.size()));
        return random.unit() < share_[rank] ? rank : other_[rank];
    }

  private:
    std::vector<double> share_;
    std::vector<uint32_t> other_;
};

}  // namespace work
