// SPDX-License-Identifier: Apache-2.0
// What the bank is told: how much guests earned and exiles lost since the last booking, by the
// sights of some of them, drawn for it; what moves and looking cost; and how large the allowance
// is. Pure but for the dice it is handed.
#pragma once

#include <cstdint>
#include <vector>

#include "tier/bank.h"
#include "tier/places.h"
#include "tier/tier_policy.h"

namespace libpool::tier {

// Guests and exiles that one reading found touched, and how many others each stands for.
struct DeviantSums {
    double guests = 0, exiles = 0;
};

class Books {
  public:
    explicit Books(double delta) : bank_(delta) {}

    // Before a cycle: the pages that the books will rest on, rising. Of a huge page its first.
    std::vector<PageId> draw(const Places& places, uint64_t& dice);
    // For a cycle that looks at so much anyway that nothing need be drawn.
    void draw_none() { watched_.clear(); }
    // Adds the drawn pages that the reading found touched at its first look.
    void count(const Pages& pages, const Reading& reading, DeviantSums& sums) const;
    // Books the reading. look_s: of the first look, or all the time that was counted; stands_for_s:
    // how much time its rates stand for.
    void book(const DeviantSums& sums, const Situation& situation, double look_s,
              double stands_for_s, bool exact);
    void spend(uint64_t moved_pages, double move_ns);
    // Before a decision: the budget, the reserve, the allowance. longest_gap_s: between bookings.
    void settle(const TierConfig& config, const Situation& situation, const PlaceCounts& counts,
                double total_rate, double longest_gap_s);

    const Bank& bank() const { return bank_; }
    double unnoticed_s() const { return unnoticed_s_; }
    double resolved_rate() const { return resolved_rate_; }

  private:
    // A guest or an exile (or a huge page of them), and how many it stands for.
    struct Watched {
        PageId page;
        float stands_for;
    };

    Bank bank_;
    std::vector<Watched> watched_;  // in the cycle under way; rising
    double unnoticed_s_ = 0;        // the most that could be lost between two bookings, so far
    double resolved_rate_ = 0;      // touches/s of one page up to which the books are right
};

}  // namespace libpool::tier
