// SPDX-License-Identifier: Apache-2.0
// The edge to the kernel for everything that moves pages: all that is asked of it.
// One real implementation; the tests' fake answers partially, wrongly and late, as kernels do.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <span>

#include "error.h"

namespace libpool {

enum class HugePages : uint8_t { usual, none };

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

    // The huge page at an aligned address of `pid` (0 = this process) becomes 512 pages, in place.
    // No error where it was none.
    virtual Result<void> split_huge(pid_t, uint64_t) {
        return fail(ENOTSUP, "huge pages cannot be split here");
    }
    // Whether huge pages are made from here on in that part of the address space; those there are
    // stay. ENOTSUP of another process: no call does that.
    virtual Result<void> set_huge(pid_t, uint64_t, uint64_t, HugePages) {
        return fail(ENOTSUP, "the kernel goes on making huge pages");
    }
};

std::unique_ptr<Kernel> make_kernel();

}  // namespace libpool
