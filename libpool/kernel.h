// SPDX-License-Identifier: Apache-2.0
// The edge to the kernel for everything that moves pages: the three things that are asked of it.
// One real implementation; the tests' fake answers partially, wrongly and late, as kernels do.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <span>

#include "error.h"

namespace libpool {

class Kernel {
  public:
    virtual ~Kernel() = default;

    // move_pages(2) with MPOL_MF_MOVE; nodes empty = only ask where the pages are. Returns what the
    // system call returns, but -errno instead of -1. May leave entries of `status` unwritten.
    virtual long move_pages(pid_t pid, std::span<const uint64_t> pages, std::span<const int> nodes,
                            std::span<int> status) = 0;

    // Live free memory of a node minus its watermark.
    virtual Result<uint64_t> room_bytes(int node) = 0;
    // By how much it is below that: until so much is freed, no page can be moved there.
    virtual Result<uint64_t> deficit_bytes(int) { return 0; }
    // Of all memory of the process (0: this one) in RAM; 0 when that is not known.
    virtual uint64_t resident_bytes(pid_t) { return 0; }
};

std::unique_ptr<Kernel> make_kernel();

}  // namespace libpool
