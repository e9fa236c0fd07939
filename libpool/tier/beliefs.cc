// SPDX-License-Identifier: Apache-2.0
#include "tier/beliefs.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>

namespace libpool::tier {

namespace {

// All in octaves (log2 of touches per second).
constexpr double lowest = -4;
constexpr double highest = 16;
constexpr int mean_count = 64;
constexpr double mean_step = 0.3125;
constexpr std::array<double, 4> spreads = {0.3, 0.6, 1.2, 3};
constexpr double choose_tail = 0.7;
constexpr double promise_tail = 1.645;

constexpr double point_step = 0.4;
constexpr double prior_step = 0.85;  // cold pages are many: each point is less likely by this

double mean_of(Belief belief) { return lowest + (belief / 4) * mean_step; }
double spread_of(Belief belief) { return spreads[belief % 4]; }

std::array<BeliefRates, belief_count> make_rates() {
    std::array<BeliefRates, belief_count> all{};
    auto at = [](double octave) {
        return float(std::exp2(std::clamp(octave, lowest - 2, highest)));
    };
    for (size_t i = 0; i < belief_count; ++i) {
        double mean = mean_of(Belief(i)), spread = spread_of(Belief(i));
        all[i] = {at(mean), at(mean - choose_tail * spread), at(mean + choose_tail * spread),
                  at(mean - promise_tail * spread), at(mean + promise_tail * spread)};
    }
    return all;
}

}  // namespace

const BeliefRates& rates_of(Belief belief) {
    static const std::array<BeliefRates, belief_count> all = make_rates();
    return all[belief];
}

Belief belief_about(double rate, int spread) {
    double octave = std::log2(std::max(rate, 1e-9));
    double level = std::clamp(std::round((octave - lowest) / mean_step), 0.0, mean_count - 1.0);
    return Belief(int(level) * 4 + std::clamp(spread, 0, 3));
}

// Once a second, give or take anything.
Belief belief_unknown() { return belief_about(1, 3); }

struct BeliefUpdate::Tables {
    std::array<std::array<float, point_count>, belief_count> shapes;
    std::array<float, point_count> prior;
};

const BeliefUpdate::Tables& BeliefUpdate::tables() {
    static const Tables made = [] {
        Tables tables;
        double sum = 0;
        for (size_t i = 0; i < point_count; ++i) sum += std::pow(prior_step, double(i));
        for (size_t i = 0; i < point_count; ++i) {
            tables.prior[i] = float(std::pow(prior_step, double(i)) / sum);
        }
        for (size_t belief = 0; belief < belief_count; ++belief) {
            std::array<double, point_count> shape{};
            double total = 0;
            for (size_t i = 0; i < point_count; ++i) {
                double away = (lowest + double(i) * point_step - mean_of(Belief(belief))) /
                              spread_of(Belief(belief));
                total += shape[i] = std::exp(-away * away / 2);
            }
            for (size_t i = 0; i < point_count; ++i) {
                tables.shapes[belief][i] = float(shape[i] / total);
            }
        }
        return tables;
    }();
    return made;
}

BeliefUpdate::BeliefUpdate(std::span<const double> rungs_s, double forget)
    : rungs_(rungs_s.size()), forget_(float(forget)) {
    if (rungs_ == 0 || rungs_ > rung_limit) std::abort();
    for (size_t i = 0; i < point_count; ++i) {
        double rate = std::exp2(lowest + double(i) * point_step);
        double before = 1;  // chance of no touch up to the look before
        for (size_t rung = 0; rung < rungs_; ++rung) {
            double still = std::exp(-rate * rungs_s[rung]);
            // Never 0: a belief must be able to come back from any reading.
            likelihood_[rung][i] = float(std::max(before - still, 1e-6));
            before = still;
        }
        likelihood_[rungs_][i] = float(std::max(before, 1e-6));
    }
}

BeliefUpdate::Next BeliefUpdate::successor(Belief belief, size_t outcome) const {
    const Tables& all = tables();
    const auto &shape = all.shapes[belief], &likelihood = likelihood_[outcome];
    float sum = 0, first = 0, second = 0;
    for (size_t i = 0; i < point_count; ++i) {
        float share = ((1 - forget_) * shape[i] + forget_ * all.prior[i]) * likelihood[i];
        auto at = float(i);
        sum += share;
        first += share * at;
        second += share * at * at;
    }
    double mean_point = first / sum;
    double variance = std::max(double(second / sum) - mean_point * mean_point, 0.0);
    double level = std::clamp(mean_point * point_step / mean_step, 0.0, mean_count - 1.001);
    double spread = std::sqrt(variance) * point_step;
    Next next;
    next.known = true;
    int spread_level = 0;
    while (spread_level < 2 && spread >= spreads[size_t(spread_level) + 1]) ++spread_level;
    double lower = spreads[size_t(spread_level)], upper = spreads[size_t(spread_level) + 1];
    double spread_part = std::clamp((spread - lower) / (upper - lower), 0.0, 1.0);
    next.belief = Belief(int(level) * 4 + spread_level);
    next.mean_up = uint16_t((level - std::floor(level)) * 65535);
    next.spread_up = uint16_t(spread_part * 65535);
    return next;
}

// Half of what is believed is the newest count: exact counts need no long memory, and what is
// believed still smooths what a short interval makes ragged.
Belief belief_counted(Belief belief, uint32_t count, double seconds) {
    double counted = double(count) / seconds;
    bool new_page = belief % 4 == 3;
    double rate = new_page ? counted : 0.5 * counted + 0.5 * rates_of(belief).mean;
    return belief_about(rate, count >= 16 ? 0 : 1);
}

}  // namespace libpool::tier
