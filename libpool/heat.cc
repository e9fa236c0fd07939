// SPDX-License-Identifier: Apache-2.0
#include "heat.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>

namespace libpool {

namespace {

// All in octaves (log2 of touches per second).
constexpr double lowest = -4;
constexpr int mean_count = 64;
constexpr double mean_step = 0.25;
constexpr std::array<double, 4> spreads = {0.5, 1, 2, 4};
constexpr int state_count = mean_count * static_cast<int>(spreads.size());

constexpr int point_count = 32;  // where a belief is looked at
constexpr double point_step = 0.5;

constexpr double forget = 0.01;     // share of the belief that returns to the prior per window
constexpr double prior_step = 0.8;  // cold pages are many: each point is less likely by this
constexpr double tail = 1.645;      // standard deviations that leave out 5 %

using Points = std::array<float, point_count>;

double point(int i) { return lowest + i * point_step; }
double mean_of(int state) { return lowest + state / 4 * mean_step; }
double spread_of(int state) { return spreads[static_cast<size_t>(state) % 4]; }

struct Tables {
    std::array<Points, state_count> beliefs;  // the prior's share included
    std::array<Rate, state_count> rates;
    uint8_t unknown;  // the belief of a page never seen
};

Tables make_tables() {
    Tables tables{};
    Points prior{};
    double sum = 0;
    for (int i = 0; i < point_count; ++i) sum += std::pow(prior_step, i);
    for (int i = 0; i < point_count; ++i) prior[i] = float(std::pow(prior_step, i) / sum);

    const double highest = point(point_count - 1);
    for (int state = 0; state < state_count; ++state) {
        double mean = mean_of(state), spread = spread_of(state), total = 0;
        std::array<double, point_count> shape{};
        for (int i = 0; i < point_count; ++i) {
            double away = (point(i) - mean) / spread;
            total += shape[i] = std::exp(-away * away / 2);
        }
        for (int i = 0; i < point_count; ++i) {
            tables.beliefs[state][i] =
                float((1 - forget) * shape[i] / total) + float(forget) * prior[i];
        }
        auto at = [&](double octave) {
            return float(std::exp2(std::clamp(octave, lowest, highest)));
        };
        tables.rates[state] = {at(mean - tail * spread), at(mean), at(mean + tail * spread)};
    }
    tables.unknown = uint8_t(int(4 / mean_step) * 4 + 3);  // once a second, give or take anything
    return tables;
}

const Tables& tables() {
    static const Tables made = make_tables();
    return made;
}

// A belief's successor: a state, and the chances (of 65536) to be one mean, one spread further up.
struct Next {
    uint8_t state = 0;
    uint16_t mean_up = 0;
    uint16_t spread_up = 0;
    bool known = false;
};

Next successor(const Points& belief, const Points& likelihood) {
    float sum = 0, first = 0, second = 0;
    for (int i = 0; i < point_count; ++i) {
        float share = belief[i] * likelihood[i];
        auto at = float(i);
        sum += share;
        first += share * at;
        second += share * at * at;
    }
    double mean_point = first / sum;
    double variance = std::max(double(second / sum) - mean_point * mean_point, 0.0);
    double mean_level = std::clamp(mean_point * point_step / mean_step, 0.0, mean_count - 1.001);
    double spread = std::sqrt(variance) * point_step;
    double spread_level =
        std::clamp(std::log2(std::max(spread, spreads[0]) / spreads[0]), 0.0, 2.999);
    Next next;
    next.state = uint8_t(int(mean_level) * 4 + int(spread_level));
    next.mean_up = uint16_t((mean_level - std::floor(mean_level)) * 65535);
    next.spread_up = uint16_t((spread_level - std::floor(spread_level)) * 65535);
    next.known = true;
    return next;
}

// xorshift64: rounding needs no better.
uint64_t step(uint64_t& random) {
    random ^= random << 13;
    random ^= random >> 7;
    return random ^= random << 17;
}

}  // namespace

Heat::Heat(size_t pages, uint64_t seed)
    : beliefs_(pages, tables().unknown),
      windows_(pages, 0),
      random_(seed * 0x9e3779b97f4a7c15ull | 1) {}

void Heat::observe(double seconds, std::span<const Seen> seen) {
    if (seen.size() != beliefs_.size()) std::abort();  // a mix-up of ranges
    std::array<Points, 2> likelihood{};                // idle, touched
    for (int i = 0; i < point_count; ++i) {
        // Never 0: a belief must be able to come back from any window.
        double idle = std::exp(-std::exp2(point(i)) * seconds);
        likelihood[0][i] = float(std::max(idle, 1e-6));
        likelihood[1][i] = float(std::max(1 - idle, 1e-6));
    }
    std::array<std::array<Next, 2>, state_count> nexts{};
    for (size_t page = 0; page < seen.size(); ++page) {
        if (seen[page] == Seen::absent) continue;
        int touched = seen[page] == Seen::touched;
        Next& next = nexts[beliefs_[page]][touched];
        if (!next.known) next = successor(tables().beliefs[beliefs_[page]], likelihood[touched]);
        uint64_t dice = step(random_);
        int up = (dice & 0xffff) < next.mean_up ? 4 : 0;
        int wider = (dice >> 16 & 0xffff) < next.spread_up ? 1 : 0;
        beliefs_[page] = uint8_t(next.state + up + wider);
        if (windows_[page] < 255) ++windows_[page];
    }
}

Rate Heat::rate(size_t page) const { return tables().rates[beliefs_[page]]; }

}  // namespace libpool
