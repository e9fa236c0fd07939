// SPDX-License-Identifier: Apache-2.0
// What one reading teaches: new beliefs about the pages that were looked at, which blocks are
// uniform or have turned as a whole, and how the touches divide among near and far. Made for one
// reading, and gone with it. Pure but for the dice it is handed.
#pragma once

#include <array>
#include <optional>
#include <vector>

#include "tier/books.h"
#include "tier/pages.h"
#include "tier/schedule.h"
#include "tier/touch_value.h"

namespace libpool::tier {

// What is known before the reading is looked at.
struct Background {
    double forgetting;     // share of each belief that returns to the prior
    double boundary_rate;  // touches/s that part what fits near from what does not
    bool dear;             // runs are: the books rest on all pages, not on drawn ones
    bool boundary_learnt;  // blocks may be judged by it
    const Prior& prior;
};

// What the reading adds up to. Touches stand for pages that were not armed, too.
struct Sums {
    double near = 0, far = 0;  // touches in the booking window, as believed
    double touches_per_s = 0;  // of all pages, whatever is believed of them; rather too many
    DeviantRates deviants;
    uint32_t blocks = 0, outdated = 0;  // looked at; of them, whose sights contradict the beliefs
};

class Lesson {
  public:
    Lesson(Pages& pages, const Schedule& schedule, const Reading& reading,
           const Background& background, uint64_t& dice);
    Sums learn();
    // What near and far were counted in.
    double booking_s() const { return booking_s_; }

  private:
    void learn_segment(Run segment, const Sight* sights, const uint32_t* counts);
    void learn_counts(Run segment, const uint32_t* counts);
    bool contradicted(Run segment, const Sight* sights);
    void learn_sample(Run segment, const Sight* sights, bool contradicted);
    void judge_block(size_t index);
    void count_touch(PageId page, Sight sight, double weight, bool huge);
    enum Sides : uint8_t { unsure = 0, above = 1, below = 2 };
    const std::vector<uint8_t>& sides();

    Pages& pages_;
    const Schedule& schedule_;
    const Reading& reading_;
    Background background_;
    uint64_t& dice_;
    size_t telling_, booking_;          // rungs
    double telling_s_, booking_s_;      // their times
    BeliefUpdate small_;                // of pages
    std::optional<BeliefUpdate> huge_;  // of huge pages: made when there is one
    TouchValue value_;
    // By belief, made when needed: what a touch stands for (of small and of huge pages), and on
    // which sides of the boundary its page may be. Floating point for each page would be dear,
    // under emulation dearer than all else.
    std::array<std::vector<double>, 2> multiplicities_;
    std::vector<uint8_t> sides_;
    Sums sums_;
};

}  // namespace libpool::tier
