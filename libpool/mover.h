// SPDX-License-Identifier: Apache-2.0
// Moves pages to a node and reports what became true, never what was asked for: every page that the
// kernel did not confirm on its target is asked about again.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "kernel.h"

namespace libpool {

// Pages of one call. move_pages drains the LRU caches of every CPU per call, so fewer is wasteful;
// more would make stopping and progress slow where a node takes 2 MB/s.
inline constexpr size_t move_batch = 512;

// Why pages are not where they should be: errno → pages. 0 = the kernel reported no error.
using Reasons = std::map<int, uint64_t>;

struct MoveReport {
    uint64_t moved = 0;      // were elsewhere, are on the target now
    uint64_t already = 0;    // were there before
    uint64_t failed = 0;     // are elsewhere or absent
    Reasons reasons;         // of the failed ones; their sum is `failed`
    std::vector<int> nodes;  // per page: its node now, or a negative errno

    void add(const MoveReport& other);
};

class Mover {
  public:
    virtual ~Mover() = default;
    virtual MoveReport move(pid_t pid, std::span<const uint64_t> pages, int target) = 0;
};

// The real one. Pages are page-aligned addresses in `pid` (0 = this process), any number of them.
class KernelMover final : public Mover {
  public:
    explicit KernelMover(Kernel& kernel) : kernel_(kernel) {}
    MoveReport move(pid_t pid, std::span<const uint64_t> pages, int target) override;

  private:
    MoveReport move_batch_of(pid_t pid, std::span<const uint64_t> pages, int target);
    Kernel& kernel_;
};

// Moves nothing and says so: every page that is not on the target fails with ECANCELED.
class DryMover final : public Mover {
  public:
    explicit DryMover(Kernel& kernel) : kernel_(kernel) {}
    MoveReport move(pid_t pid, std::span<const uint64_t> pages, int target) override;

  private:
    Kernel& kernel_;
};

// The true node (or negative errno) of each page. A page that the kernel leaves unanswered is asked
// once more by itself, then reported as -EAGAIN.
std::vector<int> where(Kernel& kernel, pid_t pid, std::span<const uint64_t> pages);

}  // namespace libpool
