// SPDX-License-Identifier: Apache-2.0
// Why one page is where it is: the numbers behind it, and one sentence.
#pragma once

#include "tier/choose.h"

namespace libpool::tier {

// What holds for all pages at the moment.
struct Circumstances {
    Situation situation;  // of the last call
    double stay_s = 0;
    double boundary_rate = 0;
    double victim_rate_high = 0;
    double bank_balance_s = 0;
    uint64_t near = 0, near_pages = 0;  // pages there, and capacity
};

Explanation explain_page(const Pages& pages, const std::vector<HintedRun>& hints, PageId page,
                         const Circumstances& now);

}  // namespace libpool::tier
