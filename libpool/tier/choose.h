// SPDX-License-Identifier: Apache-2.0
// Which pages change places. Beliefs are few, so pages are counted by belief and never sorted: two
// passes over two bytes a page, whatever is decided. Pure but for the dice of credits.
//
//  1. Over capacity: the coldest near pages leave. That is no matter of taste: nothing protects.
//  2. Ski rental: a far page earns what its touches cost too much; it is a newcomer when it has
//     earned one move.
//  3. Room first. Without room a newcomer takes the place of the coldest near page when the lower
//     bound of its rate beats that page's upper bound by two moves within the expected stay.
//  4. Whatever leaves the baseline further behind needs money from the bank; what returns does not.
//     Where reads are not seen, no page that is near in the baseline gives up its place to another:
//     what looks idle may be read all the time. (1 holds for all, if too few others are near.)
//  5. While the bank's balance is negative, deviations are returned, the worst first.
#pragma once

#include <array>

#include "tier/pages.h"
#include "tier/tier_policy.h"

namespace libpool::tier {

struct HintedRun {
    Run run;
    Hint hint;
};

struct Choice {
    Plan plan;
    double boundary_rate = 0;     // touches/s of the page that would just fit near
    double victim_rate_high = 0;  // of the coldest near page that stays, 0: none
    uint64_t near = 0, far = 0, guests = 0, exiles = 0;
    double near_rate = 0;                        // touches/s of all near pages, as believed
    std::array<uint64_t, belief_count> pages{};  // of each belief
    uint64_t waiting = 0;   // hot enough to come, but have not earned their move yet
    uint64_t returned = 0;  // of the plan: undone because the balance is negative
};

struct Terms {
    double stay_s = 30;
    bool wary = false;       // little is known yet: equals look different by chance
    double passed_s = 0.25;  // since the last choice: what credits grow by
    double balance_s = 0;    // of the bank; endless without one
    double risk_s = 0;       // what one exile more may lose until it is noticed
    bool rare = false;       // readings are
    double kept_s = 0;       // of it, not to be spent, so that small losses do not undo everything
};

Choice choose(Pages& pages, const std::vector<HintedRun>& hints, const Situation& situation,
              const Terms& terms, uint64_t& dice);

// Touches/s from which a move pays for itself within the stay.
double admission_rate(const Situation& situation, double stay_s);

}  // namespace libpool::tier
