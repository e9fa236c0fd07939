// SPDX-License-Identifier: Apache-2.0
#include "heat.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>

namespace libpool {

namespace {

// Share of the belief that returns to the prior before each window.
constexpr float forget = 0.02f;
constexpr float tail = 0.05f;

// Cold pages are many and hot ones few: each step up is less likely by this.
constexpr double prior_step = 0.6;

const Belief& prior() {
    static const Belief made = [] {
        Belief belief{};
        double sum = 0;
        for (size_t i = 0; i < rate_count; ++i) sum += std::pow(prior_step, double(i));
        for (size_t i = 0; i < rate_count; ++i) {
            belief[i] = static_cast<float>(std::pow(prior_step, double(i)) / sum);
        }
        return belief;
    }();
    return made;
}

void update(Belief& belief, const Belief& returned, const Belief& likelihood) {
    float sum = 0;
    for (size_t i = 0; i < rate_count; ++i) {
        belief[i] = ((1 - forget) * belief[i] + returned[i]) * likelihood[i];
        sum += belief[i];
    }
    float scale = 1 / sum;
    for (size_t i = 0; i < rate_count; ++i) belief[i] *= scale;
}

}  // namespace

double rate_step(size_t index) { return std::ldexp(1.0, static_cast<int>(index) - 4); }

Heat::Heat(size_t pages) : beliefs_(pages, prior()), windows_(pages, 0) {}

void Heat::observe(double seconds, std::span<const Seen> seen) {
    if (seen.size() != beliefs_.size()) std::abort();  // a mix-up of ranges
    Belief idle{}, touched{}, returned{};
    for (size_t i = 0; i < rate_count; ++i) {
        // Never 0 or 1: a belief must be able to come back from any window.
        double stays_idle = std::exp(-rate_step(i) * seconds);
        idle[i] = static_cast<float>(std::max(stays_idle, 1e-6));
        touched[i] = static_cast<float>(std::max(1 - stays_idle, 1e-6));
        returned[i] = forget * prior()[i];
    }
    for (size_t page = 0; page < seen.size(); ++page) {
        if (seen[page] == Seen::absent) continue;
        update(beliefs_[page], returned, seen[page] == Seen::touched ? touched : idle);
        if (windows_[page] < 255) ++windows_[page];
    }
}

Rate Heat::rate(size_t page) const {
    const Belief& belief = beliefs_[page];
    Rate rate;
    float below = 0;
    bool lower_found = false, upper_found = false;
    for (size_t i = 0; i < rate_count; ++i) {
        auto step = static_cast<float>(rate_step(i));
        below += belief[i];
        rate.mean += belief[i] * step;
        if (!lower_found && below > tail) {
            rate.lower = step;
            lower_found = true;
        }
        if (!upper_found && below >= 1 - tail) {
            rate.upper = step;
            upper_found = true;
        }
    }
    if (!upper_found) rate.upper = static_cast<float>(rate_step(rate_count - 1));
    return rate;
}

}  // namespace libpool
