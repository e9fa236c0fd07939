// SPDX-License-Identifier: Apache-2.0
// Empties a node, or a physical range, of the pages of one process: for agents that must give
// memory back. One pass: pages that arrive meanwhile are not chased, the caller decides whether to
// go on.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "mover.h"

namespace libpool {

// What is to be emptied: a node, or bytes of physical memory.
struct Site {
    int node = -1;                // used when it is >= 0
    uint64_t physical_start = 0;  // bytes
    uint64_t physical_bytes = 0;
};

struct Evacuation {
    uint64_t found_pages = 0;
    uint64_t done_pages = 0;
    uint64_t failed_pages = 0;
    bool stopped = false;
    Reasons reasons;  // ENOSPC: no room on the targets
};

// done and total pages; false = stop.
using Progress = std::function<bool(uint64_t, uint64_t)>;

// Addresses of the present pages of `pid` on the site, in rising order.
Result<std::vector<uint64_t>> find_pages(Kernel& kernel, pid_t pid, const Site& site);

Result<Evacuation> evacuate(Kernel& kernel, Mover& mover, pid_t pid, const Site& site,
                            const std::vector<int>& targets, const Progress& progress);

}  // namespace libpool
