// SPDX-License-Identifier: Apache-2.0
// Random numbers that are the same on every machine for one seed: the standard library's
// distributions are not.
#pragma once

#include <cmath>
#include <cstdint>

namespace libpool::tier::trace {

// splitmix64: a good hash of a number, and a generator when the number counts up.
inline uint64_t mix(uint64_t x) {
    x += 0x9e3779b97f4a7c15;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
    x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
    return x ^ (x >> 31);
}

// In (0, 1]: its logarithm is finite.
inline double unit(uint64_t bits) { return (double(bits >> 11) + 1) * 0x1p-53; }

class Random {
  public:
    explicit Random(uint64_t seed) : state_(mix(seed)) {}
    uint64_t bits() { return mix(state_ += 0x9e3779b97f4a7c15); }
    double uniform() { return unit(bits()); }
    double between(double low, double high) { return low + (high - low) * (1 - uniform()); }
    // From low to high with the same chance for each order of magnitude.
    double log_between(double low, double high) {
        return std::exp(between(std::log(low), std::log(high)));
    }
    uint64_t below(uint64_t end) { return uint64_t((1 - uniform()) * double(end)); }
    double exponential() { return -std::log(uniform()); }

    uint32_t poisson(double mean) {
        if (mean <= 0) return 0;
        if (mean > 32) {  // a normal variable, rounded: off by less than what a test could see
            double normal = std::sqrt(2 * exponential()) * std::cos(2 * M_PI * uniform());
            return uint32_t(std::fmax(0, std::floor(mean + std::sqrt(mean) * normal + 0.5)));
        }
        double product = uniform(), limit = std::exp(-mean);
        uint32_t count = 0;
        for (; product > limit; product *= uniform()) ++count;
        return count;
    }

  private:
    uint64_t state_;
};

}  // namespace libpool::tier::trace
