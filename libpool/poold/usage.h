// SPDX-License-Identifier: Apache-2.0
// How much of a range of physical memory is in use, and who uses it. Reads only; needs root.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "poold/report.h"
#include "poold/tree.h"

namespace poold {

// A range of host physical addresses, page aligned.
struct PhysicalRange {
    uint64_t start = 0, len = 0;
    uint64_t end() const { return start + len; }
};

struct Usage {
    uint64_t used = 0;      // bytes that hold something
    uint64_t unmapped = 0;  // of them, mapped by no process: page cache, pipes, the kernel
};

// From /proc/kpageflags. Pages on the kernel's per-CPU free lists look the same as some rare kernel
// pages and count as free.
Result<Usage> read_usage(const Tree& tree, PhysicalRange range);

// Processes with pages in the range, largest first; a shared page counts for each of them. `node`
// is where the range lives: it spares the walk of everything that has no page there. `stop` ends
// early.
std::vector<Holder> find_holders(const Tree& tree, PhysicalRange range, int node,
                                 const std::function<bool()>& stop);

// Processes that have /dev/<dax> open or mapped; bytes = what they map of it. On a machine by the
// device's number: any user may have a file that is called like it.
std::vector<Holder> find_dax_holders(const Tree& tree, const std::string& dax);

// "37 of 256 MiB held: pid 812 python3 31 MiB, kernel 6 MiB".
std::string describe(const Held& held, uint64_t len);

}  // namespace poold
