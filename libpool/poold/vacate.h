// SPDX-License-Identifier: Apache-2.0
// Before an extent is emptied by the kernel, which knows nothing of heat: the pages of tiered
// processes leave it, hottest first over all of them, to where they do the most good. What stays
// (other programs' pages, files, whatever was busy) is the kernel's to move.
//
// Asks the processes what they believe of their pages (their control sockets), and the kernel which
// of these lie in the range. Nothing is kept: killed at any point, pages are where they are.
#pragma once

#include <sys/types.h>

#include <functional>
#include <vector>

#include "poold/usage.h"
#include "tier/drain.h"

namespace poold {

// Pages of one process that are moved by one call.
struct VacateBatch {
    pid_t pid = 0;
    bool near = false;
    std::vector<libpool::tier::DrainUnit> units;  // either all small or one whole block
    friend bool operator==(const VacateBatch&, const VacateBatch&) = default;
};

// `units` have the index of their process as owner. Hottest first over all processes; pages of one
// process within a stretch of the order go together, so that a call moves many.
std::vector<VacateBatch> plan_vacating(std::vector<libpool::tier::DrainUnit> units,
                                       const std::vector<pid_t>& pids,
                                       const libpool::tier::DrainRoom& room, double worth_rate);

struct Vacated {
    size_t processes = 0;  // that have pages there
    uint64_t found_pages = 0;
    uint64_t moved_pages = 0;
};

// `leaving`: nodes that are no place to move to. `go_on` is asked between questions and between
// batches, from several threads. Who has not answered when the time for asking is over keeps its
// pages where they are, for the kernel to move.
Vacated vacate(const libpool::Site& range, const std::vector<int>& leaving,
               const std::function<bool()>& go_on);

}  // namespace poold
