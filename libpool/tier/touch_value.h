// SPDX-License-Identifier: Apache-2.0
// What one sight of a page says of its touches per second, for the bank: right on average on the
// side that does no harm, whatever the rate is. Pure.
//
// A page with n touches expected in the first look (length w) is seen in it with 1 - exp(-n).
//   low    1/w when it was: never too much on average, since that chance is at most n.
//   high   a/w when it was, less b/w when it was touched up to the second look only: looks that
//          find no more than the first did speak for few pages that are touched often, looks that
//          find many more for many that are touched seldom. Chosen so that the mean is right for
//          n -> 0 and for n = most_touches, and too high in between: by 18 % at most when the
//          second look is twice as long. Rejected: 2/w of the first look alone; guests and exiles
//          that were equally hot were booked as a loss of all that the guests earned.
#pragma once

#include <cmath>
#include <span>

#include "tier/policy.h"

namespace libpool::tier {

class TouchValue {
  public:
    // Touches expected in the first look, up to which `high` is not too low.
    static constexpr double most_touches = 1.59;

    // The times of the looks, at least one, rising.
    explicit TouchValue(std::span<const double> rungs_s) : look_s_(rungs_s.front()) {
        const double seen = 1 - std::exp(-most_touches);
        if (rungs_s.size() < 2) {
            first_ = most_touches / seen;
            return;
        }
        // f(n) = c (1 - exp(-n)) - b (1 - exp(-ratio n)) with f'(0) = 1, f(most) = most.
        const double ratio = rungs_s[1] / look_s_;
        const double seen_second = 1 - std::exp(-ratio * most_touches);
        const double b = (most_touches / seen - 1) / (ratio - seen_second / seen);
        second_ = -b;
        first_ = 1 + (ratio - 1) * b;
    }

    double low(Sight sight) const { return sight == 0 ? 1 / look_s_ : 0; }
    double high(Sight sight) const {
        return sight == 0 ? first_ / look_s_ : sight == 1 ? second_ / look_s_ : 0;
    }
    double resolved_rate() const { return most_touches / look_s_; }

  private:
    double look_s_;
    double first_ = 0, second_ = 0;
};

}  // namespace libpool::tier
