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
    // telling: of its looks, the one that parts what fits near from what does not. roomy: more may
    // fit than is hot. Then that look comes late, when cold pages are touched, too, and what is hot
    // is told by the first one. (Elsewhere the first one gives false alarms: its time is the least
    // known.) True: changed, just now.
    bool see(const Pages& pages, const Reading& reading, size_t telling, bool roomy) {
        telling = std::min(telling, reading.rungs_s.size() - 1);
        const std::array<size_t, 2> looks = {telling, 0};
        std::array<std::array<uint64_t, belief_count>, 2> beliefs{};  // of near, of far pages
        std::array<std::array<double, 2>, 2> touched{};               // by look; near, far
        std::array<uint64_t, 2> count{};
        size_t at = 0;
        for (const Run& run : reading.runs) {
            for (PageId page = run.first; page < run.end(); ++page, ++at) {
                if (reading.sights[at] == page_absent || page >= pages.states.size()) continue;
                const Place place = pages.states[page].place();
                if (place == Place::nowhere) continue;
                const bool far = place == Place::far;
                ++beliefs[far][pages.belief(page)];
                ++count[far];
                for (const size_t i : {0, 1}) touched[i][far] += reading.sights[at] <= looks[i];
            }
        }
        bool changed = false;
        for (const size_t i : {0, 1}) {
            if (i > 0 && (telling == 0 || !roomy)) break;
            std::array<double, 2> expected{};
            for (const size_t far : {0, 1}) {
                // Of all rates that a page may have, not of the likeliest: a far page that was
                // never seen is touched several times as often as that.
                if (count[far] == 0) continue;
                const double window_s = reading.rungs_s[looks[i]];
                expected[far] =
                    double(count[far]) * touched_within(mixture_of(beliefs[far]), window_s);
            }
            changed = by_look_[i].contradicts(touched[i], expected, i > 0) || changed;
        }
        return changed;
    }

  private:
    // Pages touched within one look, and as many as beliefs promise; near, far.
    using Touched = std::array<double, 2>;

    // Three kinds: what is near has gone cold (but not everything has: an idle program surprises
    // nobody); where nothing near is believed to be hot, far pages are touched; and else near and
    // far pages part ways.
    class Look {
      public:
        // early: of the first look. What is usual is learnt before anything can be a surprise:
        // who was chosen as the hottest of many that are alike is less hot than he seemed, and to
        // learn anew would choose others in the same way.
        bool contradicts(const Touched& seen, const Touched& expected, bool early) {
            const bool new_to_it = ++readings_ <= settle;
            const bool changed = parts(seen, expected, early, new_to_it) && !new_to_it;
            if (changed) readings_ = 0;
            return changed;
        }

      private:
        bool parts(const Touched& seen, const Touched& expected, bool early, bool new_to_it) {
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
            // Fewer near pages are touched; or, where most that are hot were not touched yet, so
            // that a program that is merely faster shows in both, far ones many times as often.
            const bool fewer_near =
                seen[0] <
                std::min(fewer * expected[0], expected[0] - deviations * std::sqrt(expected[0]));
            const double more = away - usual_;
            if (!new_to_it && more > deviations * doubt &&
                ((fewer_near && more > std::log(times)) ||
                 (early && more > std::log(many_times)))) {
                return true;
            }
            // Who came near because they were believed to be hot are a little less hot than that.
            usual_ = std::max(0.0, usual_ + (new_to_it ? 1.0 / readings_ : step) * (away - usual_));
            return false;
        }

        // What is far is many and cold, and beliefs of how cold are the vaguest: against what far
        // pages did before.
        bool sees_far(double seen, double expected) {
            const double away = std::log((seen + 1) / (expected + 1));
            const bool usual = ++far_readings_ <= settle || away - usual_far_ < std::log(times) ||
                               seen < least + deviations * std::sqrt(expected + 1);
            if (usual) usual_far_ += std::max(step, 1.0 / far_readings_) * (away - usual_far_);
            return !usual;
        }

        double usual_ = 0, usual_far_ = 0;
        int readings_ = 0, far_readings_ = 0;
    };

    static constexpr int settle = 2;
    static constexpr double times = 3, many_times = 8, deviations = 5, least = 20;
    static constexpr double fewer = 0.7;  // near pages touched, of the expected ones
    static constexpr double step = 0.3;
    std::array<Look, 2> by_look_;  // the telling one, the first one
};

}  // namespace libpool::tier
