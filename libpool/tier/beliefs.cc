// SPDX-License-Identifier: Apache-2.0
#include "tier/beliefs.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <numeric>

namespace libpool::tier {

namespace {

// All in octaves (log2 of touches per second).
constexpr double lowest = -4;
constexpr double highest = 16;
constexpr size_t spread_count = 5;
constexpr std::array<double, spread_count> spreads = {0.12, 0.3, 0.7, 1.5, 3};
constexpr std::array<int, spread_count> mean_counts = {500, 250, 100, 50, 36};
constexpr std::array<int, spread_count> first_of = {0, 500, 750, 850, 900};
static_assert(first_of.back() + mean_counts.back() == belief_count);
constexpr double memory_s = 4;           // of exact counts
constexpr double octaves_of_one = 1.44;  // deviation of log2 of a count, times its root
constexpr double choose_tail = 0.7;
constexpr double promise_tail = 1.645;

constexpr double point_step = 0.4;
constexpr double prior_step = 0.85;  // cold pages are many: each point is less likely by this

double step_of(int spread) { return (highest - lowest) / (mean_counts[size_t(spread)] - 1); }
double mean_of(Belief belief) {
    int spread = spread_of(belief);
    return lowest + (belief - first_of[size_t(spread)]) * step_of(spread);
}
double width_of(Belief belief) { return spreads[size_t(spread_of(belief))]; }

std::array<BeliefRates, belief_count> make_rates() {
    std::array<BeliefRates, belief_count> all{};
    auto at = [](double octave) {
        return float(std::exp2(std::clamp(octave, lowest - 2, highest)));
    };
    for (size_t i = 0; i < belief_count; ++i) {
        double mean = mean_of(Belief(i)), spread = width_of(Belief(i));
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
    auto kind = size_t(std::clamp(spread, 0, int(spread_count) - 1));
    double level = std::round((octave - lowest) / step_of(int(kind)));
    return Belief(first_of[kind] + int(std::clamp(level, 0.0, mean_counts[kind] - 1.0)));
}

int spread_of(Belief belief) {
    int spread = spread_count - 1;
    while (belief < first_of[size_t(spread)]) --spread;
    return spread;
}

const std::array<Belief, belief_count>& beliefs_by_mean() {
    static const std::array<Belief, belief_count> made = [] {
        std::array<Belief, belief_count> all;
        std::iota(all.begin(), all.end(), Belief(0));
        std::stable_sort(all.begin(), all.end(),
                         [](Belief a, Belief b) { return mean_of(a) > mean_of(b); });
        return all;
    }();
    return made;
}

// Once a second, give or take anything.
Belief belief_unknown() { return belief_about(1, 4); }

namespace {

// How likely each rate is under a belief, and the points that are likely at all.
struct Shape {
    Prior likely;
    size_t first, end;
};

const std::array<Shape, belief_count>& shapes() {
    static const std::array<Shape, belief_count> made = [] {
        constexpr double far_away = 5;  // deviations
        std::array<Shape, belief_count> shapes{};
        for (size_t belief = 0; belief < belief_count; ++belief) {
            Shape& shape = shapes[belief];
            const double mean = mean_of(Belief(belief)), width = width_of(Belief(belief));
            auto point_at = [&](double octave) {
                return std::clamp((octave - lowest) / point_step, 0.0, double(belief_points));
            };
            shape.first = size_t(point_at(mean - far_away * width));
            shape.end = std::max(size_t(std::ceil(point_at(mean + far_away * width))), size_t(1));
            float total = 0;
            for (size_t i = shape.first; i < shape.end; ++i) {
                const double away = (lowest + double(i) * point_step - mean) / width;
                total += shape.likely[i] = float(std::exp(-away * away / 2));
            }
            for (float& likely : shape.likely) likely /= total;
        }
        return shapes;
    }();
    return made;
}

}  // namespace

const Prior& prior_of_nothing() {
    static const Prior made = [] {
        Prior prior;
        double sum = 0;
        for (size_t i = 0; i < belief_points; ++i) sum += std::pow(prior_step, double(i));
        for (size_t i = 0; i < belief_points; ++i) {
            prior[i] = float(std::pow(prior_step, double(i)) / sum);
        }
        return prior;
    }();
    return made;
}

double point_rate(size_t point) {
    static const std::array<double, belief_points> rates = [] {
        std::array<double, belief_points> made;
        for (size_t i = 0; i < belief_points; ++i) {
            made[i] = std::exp2(lowest + double(i) * point_step);
        }
        return made;
    }();
    return rates[point];
}

Prior mixture_of(const std::array<uint64_t, belief_count>& pages) {
    Prior mixture{};
    const auto all = double(std::accumulate(pages.begin(), pages.end(), uint64_t{0}));
    for (size_t belief = 0; belief < belief_count; ++belief) {
        if (pages[belief] == 0) continue;
        const auto part = float(double(pages[belief]) / all);
        const Shape& shape = shapes()[belief];
        for (size_t i = shape.first; i < shape.end; ++i) mixture[i] += part * shape.likely[i];
    }
    return mixture;
}

double touched_within(const Prior& rates, double seconds) {
    double share = 0;
    for (size_t i = 0; i < belief_points; ++i) {
        if (rates[i] > 0) share += rates[i] * (1 - std::exp(-point_rate(i) * seconds));
    }
    return share;
}

Prior prior_among(const std::array<uint64_t, belief_count>& pages) {
    Prior prior = prior_of_nothing();
    const Prior mixture = mixture_of(pages);
    if (std::accumulate(mixture.begin(), mixture.end(), 0.0F) == 0) return prior;
    for (size_t i = 0; i < belief_points; ++i) prior[i] = (prior[i] + mixture[i]) / 2;
    return prior;
}

BeliefUpdate::BeliefUpdate(std::span<const double> rungs_s, double forget, const Prior& prior)
    : rungs_(rungs_s.size()), forget_(float(forget)) {
    if (rungs_ == 0 || rungs_ > rung_limit) std::abort();
    nexts_.resize(belief_count * (rungs_ + 1));
    for (size_t i = 0; i < belief_points; ++i) {
        const double rate = point_rate(i);
        double before = 1;  // chance of no touch up to the look before
        for (size_t rung = 0; rung < rungs_; ++rung) {
            double still = std::exp(-rate * rungs_s[rung]);
            // Never 0: a belief must be able to come back from any reading.
            likelihood_[rung][i] = float(std::max(before - still, 1e-6));
            before = still;
        }
        likelihood_[rungs_][i] = float(std::max(before, 1e-6));
    }
    for (size_t outcome = 0; outcome <= rungs_; ++outcome) {
        for (size_t i = 0; i < belief_points; ++i) {
            const float share = prior[i] * likelihood_[outcome][i];
            const auto at = float(i);
            prior_moments_[outcome].sum += share;
            prior_moments_[outcome].first += share * at;
            prior_moments_[outcome].second += share * at * at;
        }
    }
}

BeliefUpdate::Next BeliefUpdate::successor(Belief belief, size_t outcome) const {
    const Shape& shape = shapes()[belief];
    const Prior& likelihood = likelihood_[outcome];
    // Most beliefs are narrow, and the prior's part is the same for all of them.
    float sum = 0, first = 0, second = 0;
    for (size_t i = shape.first; i < shape.end; ++i) {
        const float share = shape.likely[i] * likelihood[i];
        const auto at = float(i);
        sum += share;
        first += share * at;
        second += share * at * at;
    }
    const Moments& prior = prior_moments_[outcome];
    sum = (1 - forget_) * sum + forget_ * prior.sum;
    first = (1 - forget_) * first + forget_ * prior.first;
    second = (1 - forget_) * second + forget_ * prior.second;
    double mean_point = first / sum;
    double variance = std::max(double(second / sum) - mean_point * mean_point, 0.0);
    const double octave = lowest + mean_point * point_step;
    const double width = std::sqrt(variance) * point_step;
    Next next;
    next.known = true;
    next.surprise = int32_t(surprise_unit * std::log(prior.sum / sum));
    size_t narrow = 0;
    while (narrow + 2 < spread_count && width >= spreads[narrow + 1]) ++narrow;
    double part = (width - spreads[narrow]) / (spreads[narrow + 1] - spreads[narrow]);
    next.wider = uint16_t(std::clamp(part, 0.0, 1.0) * 65535);
    for (size_t wider : {0, 1}) {
        const size_t kind = narrow + wider;
        double level = (octave - lowest) / step_of(int(kind));
        level = std::clamp(level, 0.0, mean_counts[kind] - 1.001);
        next.belief[wider] = Belief(first_of[kind] + int(level));
        next.mean_up[wider] = uint16_t((level - std::floor(level)) * 65535);
    }
    return next;
}

// A gamma belief: as if `shape` touches had been counted in shape/rate seconds before. It remembers
// at least memory_s of them, since the average is what counts of a page that is hot in bursts.
// Rejected: counts as normal in octaves, where one burst outweighs all the silence after it.
Belief belief_counted(Belief belief, uint32_t count, double seconds, double forget,
                      uint64_t& dice) {
    const double rate = rates_of(belief).mean, width = width_of(belief);
    const double shape = octaves_of_one * octaves_of_one / (width * width);
    double before_s = std::min(shape / rate, memory_s);
    if (spread_of(belief) == 0) before_s = memory_s;
    before_s *= 1 - forget;
    const double touches = rate * before_s + count;
    const double octave = std::log2(std::max(touches, 0.1) / (before_s + seconds));
    const double after = octaves_of_one / std::sqrt(touches + 0.5);
    size_t kind = 0;
    while (kind + 1 < spread_count && after > spreads[kind] * 1.4) ++kind;
    const double rounding = double(roll(dice) >> 11) * 0x1p-53 - 0.5;
    return belief_about(std::exp2(octave + rounding * step_of(int(kind))), int(kind));
}

}  // namespace libpool::tier
