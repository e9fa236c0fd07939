// SPDX-License-Identifier: Apache-2.0
// Moves pages to a node and reports what became true, never what was asked for: every page that the
// kernel did not confirm on its target is asked about again.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <vector>

#include "kernel.h"

namespace libpool {

// Pages of one call. move_pages drains the LRU caches of every CPU per call, so fewer is wasteful;
// more would make stopping and progress slow where a node takes 2 MB/s.
inline constexpr size_t move_batch = 512;

// Small pages of one huge page (2 MiB).
inline constexpr size_t huge_pages = 512;

// Why pages are not where they should be: errno → pages. 0 = the kernel reported no error.
using Reasons = std::map<int, uint64_t>;

// What one batch asked for and what came of it. Pages are of 4 KiB, also those of huge ones.
struct Batch {
    uint64_t asked = 0;  // all of the batch, also what was there already
    uint64_t moved = 0;
    uint64_t failed = 0;
    unsigned calls = 0;  // of move_pages that move: 0 when nothing was left to do, up to 3
    double seconds = 0;  // wall time, the asking included
};

struct MoveReport {
    uint64_t moved = 0;          // were elsewhere, are on the target now
    uint64_t already = 0;        // were there before
    uint64_t failed = 0;         // are elsewhere or absent
    Reasons reasons;             // of the failed ones; their sum is `failed`
    std::vector<int> nodes;      // per page: its node now, or a negative errno
    std::vector<Batch> batches;  // in the order in which they were carried out

    void add(const MoveReport& other);
};

class Mover {
  public:
    virtual ~Mover() = default;
    virtual MoveReport move(pid_t pid, std::span<const uint64_t> pages, int target) = 0;

    // Blocks of 2 MiB that were one huge page each when last looked at, by their first address. The
    // report counts, and its `nodes` list, their small pages. This one moves them as 512 of those.
    virtual MoveReport move_huge(pid_t pid, std::span<const uint64_t> blocks, int target);
};

// The real one. Pages are page-aligned addresses in `pid` (0 = this process), any number of them. A
// batch is one system call (and up to two more for what it left untried). The program runs on
// meanwhile: only who touches the very page that is being copied waits for it. Pages that other
// processes map too stay (EACCES).
class KernelMover final : public Mover {
  public:
    // now_s: of any steady clock, for the batches' times.
    explicit KernelMover(Kernel& kernel, std::function<double()> now_s = steady_now_s)
        : kernel_(kernel), now_s_(std::move(now_s)) {}
    MoveReport move(pid_t pid, std::span<const uint64_t> pages, int target) override;

    // Asks the kernel for a huge page once, by its first address; all 512 would be one move and 511
    // refusals. One a batch. What turns out to be no huge page any more is then moved page by page.
    MoveReport move_huge(pid_t pid, std::span<const uint64_t> blocks, int target) override;

    static double steady_now_s();

  private:
    MoveReport move_batch_of(pid_t pid, std::span<const uint64_t> pages, int target);
    MoveReport move_one_huge(pid_t pid, uint64_t block, int target);
    Kernel& kernel_;
    std::function<double()> now_s_;
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
