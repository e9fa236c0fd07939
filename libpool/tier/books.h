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

// What one reading says of the touches per second of all guests (rather too few) and of all exiles
// (rather too many).
struct DeviantRates {
    double guests = 0, exiles = 0;
};

class Books {
  public:
    explicit Books(double delta) : bank_(delta) {}

    // Before a cycle: the pages that the books will rest on, rising. Of a huge page its first.
    std::vector<PageId> draw(const Places& places, uint64_t& dice);
    // For a cycle that looks at so much anyway that nothing need be drawn.
    void draw_none() { watched_.clear(); }
    // Adds what was seen of the drawn pages.
    void count(const Pages& pages, const Reading& reading, DeviantRates& rates) const;
    // Books rates that stand for so much time.
    void book(const DeviantRates& rates, const Situation& situation, double stands_for_s);
    void spend(uint64_t moved_pages, double move_ns);
    // A reading's touches per second of all pages.
    void see_rate(double touches_per_s);
    // Before a decision: the budget, the reserve, the allowance. longest_gap_s: between bookings.
    // introduction_s: of CPU, for looks without which nothing would be known, whatever they cost.
    void settle(const TierConfig& config, const Situation& situation, const PlaceCounts& counts,
                double longest_gap_s, double introduction_s);

    const Bank& bank() const { return bank_; }
    // What one exile more may lose until it is noticed, if it gets as hot as near pages are on
    // average.
    double risk_s(const Situation& situation, double longest_gap_s) const;
    double unnoticed_s() const { return unnoticed_s_; }
    double rate() const { return rate_; }  // touches/s of all pages, of the last readings

  private:
    // A guest or an exile (or a huge page of them), and how many it stands for.
    struct Watched {
        PageId page;
        float stands_for;
    };

    Bank bank_;
    std::vector<Watched> watched_;  // in the cycle under way; rising
    double rate_ = 0;               // touches/s of all pages, smoothed
    int rates_ = 0;
    double unnoticed_s_ = 0;  // the most that could be lost between two bookings, so far
};

}  // namespace libpool::tier
