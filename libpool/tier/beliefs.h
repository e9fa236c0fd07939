// SPDX-License-Identifier: Apache-2.0
// What is believed of a page's touch rate, in ten bits: a normal distribution over log2 of touches
// per second, from 1/16 to 65,000 a second, with one of five spreads. The surer, the finer the grid
// of its means, since many small steps with rounding would be a random walk.
//
// A cycle tells when a page was touched first (its rung). Under a rate r that has likelihood
// exp(-r a) - exp(-r b) for "between looks at a and b", and exp(-r b) for "not up to b"; Bayes'
// rule gives the next belief, after a small share of the old one went back to the prior, since
// pages change their mind. There are so few beliefs that a reading computes each one's successors
// once and every page is a table look-up. What falls between two beliefs is rounded at random, so
// that many small steps add up. Rejected: counters per window length (a page that turns hot must
// first outlive its old windows), and floats (exact, twice the memory).
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "tier/policy.h"

namespace libpool::tier {

using Belief = uint16_t;

inline constexpr size_t belief_count = 936;

struct BeliefRates {
    float mean;            // touches/s; of the logarithm's mean
    float low, high;       // 0.7 standard deviations away: for choosing between pages
    float floor, ceiling;  // 1.645 away, 5 % outside each: for what is promised
};

const BeliefRates& rates_of(Belief belief);
// Of a page that nothing is known of.
Belief belief_unknown();
// The belief whose mean is nearest to a rate; spread 0 (sure) to 4 (a guess).
Belief belief_about(double rate, int spread);
int spread_of(Belief belief);
// All beliefs by falling mean.
const std::array<Belief, belief_count>& beliefs_by_mean();

// xorshift64: dice for rounding and for the choice of samples; never 0.
inline uint64_t roll(uint64_t& dice) {
    dice ^= dice << 13;
    dice ^= dice >> 7;
    return dice ^= dice << 17;
}

inline constexpr size_t belief_points = 51;

// What a page is taken to be that has changed its mind: how likely each rate is (points from the
// lowest to the highest rate, 0.4 octaves apart).
using Prior = std::array<float, belief_points>;

// Touches per second of a point.
double point_rate(size_t point);
// How likely each rate is among pages: so many of each belief. Sums to 1, or to 0 of no pages.
Prior mixture_of(const std::array<uint64_t, belief_count>& pages);
// Share of the pages that are touched within a time, by how likely each rate is.
double touched_within(const Prior& rates, double seconds);
// Cold pages are many: each point is less likely than the one below.
const Prior& prior_of_nothing();
// Half of that, half what all pages are believed to be: pages of each belief.
Prior prior_among(const std::array<uint64_t, belief_count>& pages);

// The successors under one reading. Cheap to make; a successor is computed when it is first asked.
class BeliefUpdate {
  public:
    // rungs_s: rising times of the looks, 1 to rung_limit. forget: share that returns to the prior.
    BeliefUpdate(std::span<const double> rungs_s, double forget, const Prior& prior);

    // sight: a rung below the number of looks, or not_touched.
    Belief next(Belief belief, Sight sight, uint64_t& dice) {
        const Next& next = known(belief, sight);
        const uint64_t rolled = roll(dice);
        const bool wider = (rolled & 0xffff) < next.wider;
        const bool up = (rolled >> 16 & 0xffff) < next.mean_up[wider];
        return Belief(next.belief[wider] + up);
    }

    // Log of how much likelier the sight is for a page of which only the prior is known than for
    // one with this belief; in steps of 1 / surprise_unit.
    static constexpr double surprise_unit = 4096;
    int32_t surprise(Belief belief, Sight sight) { return known(belief, sight).surprise; }

  private:
    // A successor of either neighbouring spread, and the chances (of 65536) of the wider one, and
    // of one mean further up.
    struct Next {
        bool known = false;
        std::array<Belief, 2> belief{};
        std::array<uint16_t, 2> mean_up{};
        uint16_t wider = 0;
        int32_t surprise = 0;
    };
    const Next& known(Belief belief, Sight sight) {
        const size_t outcome = sight == not_touched ? rungs_ : sight;
        Next& next = nexts_[belief * (rungs_ + 1) + outcome];
        if (!next.known) next = successor(belief, outcome);
        return next;
    }
    Next successor(Belief belief, size_t outcome) const;

    size_t rungs_;
    // Over the points, of how likely each is after an outcome.
    struct Moments {
        float sum = 0, first = 0, second = 0;
    };

    float forget_;
    std::array<Moments, rung_limit + 1> prior_moments_;  // of the prior
    std::array<Prior, rung_limit + 1> likelihood_;
    std::vector<Next> nexts_;  // by belief and outcome
};

// Of exact counts: the next belief after `count` touches in `seconds`.
Belief belief_counted(Belief belief, uint32_t count, double seconds, double forget, uint64_t& dice);

}  // namespace libpool::tier
