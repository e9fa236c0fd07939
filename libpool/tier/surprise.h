// SPDX-License-Identifier: Apache-2.0
// Does a reading contradict what is believed? Compares the pages that were touched, near and far
// ones apart, with what beliefs promise. Unlike a share that is followed over many readings
// (change.h) one reading is enough, and our own moves change nothing: for where readings are rare.
// Pure.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>

#include "tier/pages.h"

namespace libpool::tier {

class Surprise {
  public:
    // telling: of its looks, the one that parts what is hot from what is cold. Three kinds: what is
    // near has gone cold (but not everything has: an idle program surprises nobody); where nothing
    // near is believed to be hot, far pages are touched; and else near and far pages part ways.
    // True: changed, just now.
    bool see(const Pages& pages, const Reading& reading, size_t telling) {
        telling = std::min(telling, reading.rungs_s.size() - 1);
        const double window_s = reading.rungs_s[telling];
        double seen[2] = {}, expected[2] = {};  // near, far
        std::array<std::array<uint64_t, belief_count>, 2> beliefs{};
        std::array<uint64_t, 2> touched{};
        size_t at = 0;
        for (const Run& run : reading.runs) {
            for (PageId page = run.first; page < run.end(); ++page, ++at) {
                if (reading.sights[at] == page_absent || page >= pages.states.size()) continue;
                const Place place = pages.states[page].place();
                if (place == Place::nowhere) continue;
                const bool far = place == Place::far;
                ++beliefs[far][pages.belief(page)];
                touched[far] += reading.sights[at] <= telling;
            }
        }
        for (const size_t far : {0, 1}) {
            seen[far] = double(touched[far]);
            // Of all rates that a page may have, not of the likeliest: a far page that was never
            // seen is touched several times as often as that.
            uint64_t pages_seen = 0;
            for (const uint64_t count : beliefs[far]) pages_seen += count;
            if (pages_seen == 0) continue;
            expected[far] = double(pages_seen) * touched_within(mixture_of(beliefs[far]), window_s);
        }
        if (expected[0] < least) return sees_far(seen[1], expected[1]);
        if (seen[0] + seen[1] > least &&
            times * seen[0] + deviations * std::sqrt(expected[0]) < expected[0]) {
            return true;
        }
        // Of the touched pages the far ones: their odds as seen, against those believed in.
        const double away =
            std::log((seen[1] + 1) * (expected[0] + 1) / (seen[0] + 1) / (expected[1] + 1));
        const double doubt = std::sqrt(1 / (seen[0] + 1) + 1 / (seen[1] + 1) +
                                       1 / (expected[0] + 1) + 1 / (expected[1] + 1));
        if (seen[0] < fewer * expected[0] && away - usual_ > std::log(times) &&
            away - usual_ > deviations * doubt) {
            return true;
        }
        // Who came near because they were believed to be hot are a little less hot than that.
        usual_ = std::max(0.0, usual_ + step * (away - usual_));
        return false;
    }

  private:
    // What is far is many and cold, and beliefs of how cold are the vaguest: against what far pages
    // did before.
    bool sees_far(double seen, double expected) {
        const double away = std::log((seen + 1) / (expected + 1));
        const bool usual = ++far_readings_ <= settle || away - usual_far_ < std::log(times) ||
                           seen < least + deviations * std::sqrt(expected + 1);
        if (usual) usual_far_ += std::max(step, 1.0 / far_readings_) * (away - usual_far_);
        return !usual;
    }

    static constexpr int settle = 2;
    static constexpr double times = 3, deviations = 5, least = 20;
    static constexpr double fewer = 0.7;  // near pages touched, of the expected ones
    static constexpr double step = 0.3;
    double usual_ = 0, usual_far_ = 0;
    int far_readings_ = 0;
};

}  // namespace libpool::tier
