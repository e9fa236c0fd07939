// SPDX-License-Identifier: Apache-2.0
// What is believed of a page's touch rate, in one byte: a normal distribution over log2 of touches
// per second, 64 means (a 5/16 octave apart, from 1/16 to 53,000 touches a second) times 4 spreads.
//
// A cycle tells when a page was touched first (its rung). Under a rate r that has likelihood
// exp(-r a) - exp(-r b) for "between looks at a and b", and exp(-r b) for "not up to b"; Bayes'
// rule gives the next belief, after a small share of the old one went back to the prior, since
// pages change their mind. There are so few beliefs that a reading computes each one's successors
// once and every page is a table look-up. What falls between two beliefs is rounded at random, so
// that many small steps add up. Rejected: counters per window length (a page that turns hot must
// first outlive its old windows), and floats (exact, sixteen times the memory).
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "tier/policy.h"

namespace libpool::tier {

using Belief = uint8_t;

inline constexpr size_t belief_count = 256;

struct BeliefRates {
    float mean;            // touches/s; of the logarithm's mean
    float low, high;       // 0.7 standard deviations away: for choosing between pages
    float floor, ceiling;  // 1.645 away, 5 % outside each: for what is promised
};

const BeliefRates& rates_of(Belief belief);
// Of a page that nothing is known of.
Belief belief_unknown();
// The belief whose mean is nearest to a rate; spread 0 (sure) to 3 (a guess).
Belief belief_about(double rate, int spread);

// xorshift64: dice for rounding and for the choice of samples; never 0.
inline uint64_t roll(uint64_t& dice) {
    dice ^= dice << 13;
    dice ^= dice >> 7;
    return dice ^= dice << 17;
}

// The successors under one reading. Cheap to make; a successor is computed when it is first asked.
class BeliefUpdate {
  public:
    // rungs_s: rising times of the looks, 1 to rung_limit. forget: share that returns to the prior.
    BeliefUpdate(std::span<const double> rungs_s, double forget);

    // sight: a rung below the number of looks, or not_touched.
    Belief next(Belief belief, Sight sight, uint64_t& dice) {
        Next& next = nexts_[belief][sight == not_touched ? rungs_ : sight];
        if (!next.known) next = successor(belief, sight == not_touched ? rungs_ : sight);
        uint64_t rolled = roll(dice);
        int up = (rolled & 0xffff) < next.mean_up ? 4 : 0;
        int wider = (rolled >> 16 & 0xffff) < next.spread_up ? 1 : 0;
        return Belief(next.belief + up + wider);
    }

  private:
    static constexpr size_t point_count = 51;
    // A successor and the chances (of 65536) to be one mean, one spread further up.
    struct Next {
        Belief belief = 0;
        bool known = false;
        uint16_t mean_up = 0;
        uint16_t spread_up = 0;
    };
    struct Tables;
    static const Tables& tables();
    Next successor(Belief belief, size_t outcome) const;

    size_t rungs_;
    float forget_;
    std::array<std::array<float, point_count>, rung_limit + 1> likelihood_;
    std::array<std::array<Next, rung_limit + 1>, belief_count> nexts_{};
};

// Of exact counts: the next belief after `count` touches in `seconds`.
Belief belief_counted(Belief belief, uint32_t count, double seconds);

}  // namespace libpool::tier
