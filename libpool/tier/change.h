// SPDX-License-Identifier: Apache-2.0
// Has the program changed its ways? A one-sided CUSUM (Page 1954) on the share of touches that went
// far: it rises when pages that were cold turn hot, whatever the level was. Pure.
#pragma once

#include <algorithm>
#include <cmath>

namespace libpool::tier {

class ChangeDetector {
  public:
    // One reading's share of far touches, 0…1, from `touches` of them. True: changed, just now.
    bool see(double far_share, double touches) {
        if (touches < touches_min) return false;
        if (seen_ < settle) {
            usual_ += (far_share - usual_) / ++seen_;
            return false;
        }
        // Few touches make a ragged share: what chance alone does to it is no news.
        double chance = std::sqrt(std::max(usual_ * (1 - usual_), 0.05) / touches);
        sum_ = std::max(0.0, sum_ + far_share - usual_ - slack - chance);
        if (sum_ > limit) {
            seen_ = 0;
            usual_ = sum_ = 0;
            return true;
        }
        // Falling is good news and becomes usual soon, rising slowly.
        usual_ += (far_share - usual_) * (far_share < usual_ ? 0.3 : 0.02);
        return false;
    }

  private:
    static constexpr double touches_min = 8;
    static constexpr int settle = 6;
    static constexpr double slack = 0.06;
    static constexpr double limit = 0.15;
    double usual_ = 0;
    double sum_ = 0;
    int seen_ = 0;
};

}  // namespace libpool::tier
