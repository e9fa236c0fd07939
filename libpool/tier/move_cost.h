// SPDX-License-Identifier: Apache-2.0
// What moving a page costs here and now: as measured on the program's own moves. Pure.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "mover.h"

namespace libpool::tier {

class MoveCost {
  public:
    double page_ns() const { return page_ns_; }
    // Until then it is a guess, and one batch is to be tried.
    bool known() const { return known_; }
    // Pages of the next call. Full batches, but where a page takes milliseconds: there what a call
    // costs by itself is nothing, and who wants to stop has to wait for it.
    uint64_t batch() const {
        if (!known_) return trial_pages;
        return uint64_t(std::clamp(call_limit_ns / page_ns_, 64.0, double(move_batch)));
    }

    // A call has a large part that does not depend on its pages: it drains every CPU's LRU caches.
    // Whether that is to be measured before the next call, with one that moves nothing.
    bool call_is_due() { return calls_++ % call_every == 0; }
    void call_took(double ns) { call_ns_ = ns; }

    void took(double ns, uint64_t pages) {
        double page_ns = std::max(ns - call_ns_, 0.2 * ns) / double(pages);
        // One batch that was held up for seconds is no reason to move nothing for minutes.
        if (known_) page_ns = std::min(page_ns, most_times * std::max(page_ns_, least_ns));
        // Of a few pages the call is most, and somebody else's time: they tell little. One slow
        // call with eight pages once stopped all moves for a minute.
        const double weight = std::min(1.0, double(pages) / trial_pages);
        const bool enough = pages >= least_pages;
        page_ns_ += (known_ || !enough ? 0.3 * weight * weight : 1) * (page_ns - page_ns_);
        known_ = known_ || enough;
        measured_ns_ = page_ns_;
    }
    // A cost that was measured at a bad moment must not keep all pages where they are for ever:
    // unused, it fades, and from a quarter of it on it is a guess again.
    void unused(double seconds) {
        if (!known_) return;
        page_ns_ *= std::exp2(-seconds / half_life_s);
        if (page_ns_ < measured_ns_ / 4) known_ = false;
    }

  private:
    static constexpr uint64_t trial_pages = move_batch / 2, least_pages = 64;
    static constexpr uint64_t call_every = 64;
    static constexpr double call_limit_ns = 1e9, half_life_s = 60, most_times = 4;
    static constexpr double least_ns = 100;  // of a page: to copy it alone takes that
    double page_ns_ = 2000, measured_ns_ = 0;
    double call_ns_ = 0;  // of a move_pages call without its pages
    uint64_t calls_ = 0;
    bool known_ = false;
};

}  // namespace libpool::tier
