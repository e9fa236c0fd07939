// SPDX-License-Identifier: Apache-2.0
// Has the program changed its ways? A one-sided CUSUM (Page 1954) on the share of accesses that go
// far: it rises when pages that were cold turn hot, whatever the level was. It is counted in
// standard deviations as measured on this program, since a share that rests on a few very hot pages
// (zipf) is ragged for ever, and one of many alike is not. Rejected: fixed limits, which fired each
// second on the former and slept through changes of the latter. Pure.
#pragma once

#include <algorithm>
#include <cmath>

namespace libpool::tier {

class ChangeDetector {
  public:
    // One reading's share of far accesses, 0…1. True: changed, just now.
    bool see(double far_share) {
        const double away = far_share - usual_;
        if (seen_ < settle) {
            const double step = 1.0 / ++seen_;
            usual_ += away * step;
            variance_ += (away * (far_share - usual_) - variance_) * step;
            return false;
        }
        // One reading alone proves nothing, however far off.
        const double deviations =
            std::clamp(away / std::sqrt(variance_ + least * least), -widest, widest);
        sum_ = std::max(0.0, sum_ + deviations - slack);
        if (sum_ > limit) {
            *this = {};
            return true;
        }
        // Falling is our own work and becomes usual soon, rising slowly.
        usual_ += away * (away < 0 ? 0.1 : 0.03);
        const double seen = deviations * deviations * (variance_ + least * least);
        variance_ += (std::max(seen - least * least, 0.0) - variance_) * 0.03;
        return false;
    }

  private:
    static constexpr int settle = 12;
    static constexpr double least = 0.03;  // deviation: less is no change worth 10 s of 3 % CPU
    static constexpr double widest = 4, slack = 1, limit = 10;
    double usual_ = 0, variance_ = 0;
    double sum_ = 0;
    int seen_ = 0;
};

}  // namespace libpool::tier
