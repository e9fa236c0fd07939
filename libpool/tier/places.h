// SPDX-License-Identifier: Apache-2.0
// Where all tracked pages are, where each would be without us (its baseline), and how many deviate.
// Pure.
#pragma once

#include <cstdint>
#include <span>

#include "tier/pages.h"

namespace libpool::tier {

struct PlaceCounts {
    uint64_t near = 0, far = 0;
    uint64_t home_near = 0;           // whose baseline is near
    uint64_t guests = 0, exiles = 0;  // near, baseline far; far, baseline near
    uint64_t all() const { return near + far; }
};

class Places {
  public:
    // book_against_last: a move makes the place before it the baseline (TierConfig).
    explicit Places(bool book_against_last) : book_against_last_(book_against_last) {}

    void track(Run run);
    void forget(Run run);
    // Pages came, went or were moved. near_pages: capacity. Returns how many changed places.
    uint64_t put(std::span<const PageId> pages, Place where, uint64_t near_pages);

    Pages& pages() { return pages_; }
    const Pages& pages() const { return pages_; }
    const PlaceCounts& counts() const { return counts_; }
    // As a choice has just counted them anew.
    void recount(uint64_t near, uint64_t far, uint64_t guests, uint64_t exiles) {
        counts_.near = near;
        counts_.far = far;
        counts_.guests = guests;
        counts_.exiles = exiles;
    }

  private:
    Pages pages_;
    PlaceCounts counts_;
    bool book_against_last_;
};

}  // namespace libpool::tier
