// SPDX-License-Identifier: Apache-2.0
// What arming costs here and now. The sampler's own trial ran beside an idle program: a busy one
// makes each run dearer, since its CPUs have to be told (a few µs, under emulation milliseconds).
// So some pages of the program, far apart, are armed one by one now and then. Pure.
#pragma once

#include <algorithm>
#include <vector>

#include "tier/sampler.h"
#include "uapi.h"

namespace libpool::tier {

class ArmCost {
  public:
    explicit ArmCost(const SampleCosts& costs) : costs_(costs) {}

    const SampleCosts& costs() const { return costs_; }
    // tracked_pages: what was tried on little memory, of a program that had hardly begun, tells
    // nothing of one that has grown.
    bool trial_is_due(double now_s, uint64_t tracked_pages) const {
        return costs_.arm_page_ns > 0 &&
               (now_s >= tried_s_ + trial_every_s || tracked_pages > grown_times * tried_pages_);
    }
    // What to arm for it; rising.
    static std::vector<AddressRun> trial(const std::vector<AddressRun>& ranges) {
        uint64_t pages = 0;
        for (const AddressRun& range : ranges) pages += range.pages;
        const uint64_t spacing = std::max<uint64_t>(pages / trial_runs, 2 * trial_pages);
        std::vector<AddressRun> runs;
        for (const AddressRun& range : ranges) {
            for (uint64_t at = spacing / 2; at < range.pages && runs.size() < trial_runs;
                 at += spacing) {
                const AddressRun run = run_at(range, range.start + at * page_bytes);
                if (runs.empty() || run.start < runs.back().start || run.start >= runs.back().end())
                    runs.push_back(run);
            }
        }
        std::ranges::sort(runs, {}, &AddressRun::start);
        return runs;
    }
    // huge_blocks: of the runs, which are armed as one page.
    void tried(double now_s, double cpu_ns, const std::vector<AddressRun>& runs,
               uint64_t tracked_pages, uint64_t huge_blocks = 0) {
        tried_s_ = now_s;
        tried_pages_ = tracked_pages;
        if (runs.empty()) return;
        const double pages = pages_of(runs) - double(huge_blocks) * (block_pages - 1);
        const double left_ns = cpu_ns - pages * costs_.arm_page_ns;
        costs_.arm_run_ns = std::max(0.0, left_ns) / double(runs.size());
    }
    // What a cycle's arming took: of many pages it tells what a page costs, of few what a run does.
    void took(double cpu_ns, const std::vector<AddressRun>& runs) {
        if (runs.empty() || costs_.arm_page_ns <= 0) return;  // exact samplers arm nothing
        const double pages = pages_of(runs), of_runs_ns = costs_.arm_run_ns * double(runs.size());
        if (pages <= few_pages) {
            const double run_ns = (cpu_ns - pages * costs_.arm_page_ns) / double(runs.size());
            costs_.arm_run_ns += step * (std::max(run_ns, 0.0) - costs_.arm_run_ns);
        } else if (cpu_ns - of_runs_ns > of_runs_ns) {
            costs_.arm_page_ns += step * ((cpu_ns - of_runs_ns) / pages - costs_.arm_page_ns);
        }
    }

  private:
    // A part of a huge page cannot be armed, and what costs nothing was taken for cheap once: so
    // whole blocks, where there are some.
    static AddressRun run_at(const AddressRun& range, uint64_t start) {
        constexpr uint64_t block_bytes = block_pages * page_bytes;
        const uint64_t block = start / block_bytes * block_bytes;
        if (block >= range.start && block + block_bytes <= range.end()) return {block, block_pages};
        return {start, std::min(trial_pages, (range.end() - start) / page_bytes)};
    }
    static constexpr uint64_t trial_pages =
        64;  // more than the 33 up to which x86 flushes page by page
    static constexpr size_t trial_runs = 6;
    static constexpr double trial_every_s = 60;
    static constexpr double few_pages = 2048;
    static constexpr double step = 0.2;  // weight of the newest cycle
    static double pages_of(const std::vector<AddressRun>& runs) {
        double pages = 0;
        for (const AddressRun& run : runs) pages += double(run.pages);
        return pages;
    }
    SampleCosts costs_;
    static constexpr uint64_t grown_times = 4;
    double tried_s_ = -1e9;
    uint64_t tried_pages_ = 0;
};

}  // namespace libpool::tier
