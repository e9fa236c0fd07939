// SPDX-License-Identifier: Apache-2.0
#include "tier/schedule.h"

#include <cmath>

namespace libpool::tier {

namespace {

constexpr uint32_t glance_pages = 8;    // of a block
constexpr uint32_t uniform_pages = 16;  // of a uniform block in a full cycle
constexpr size_t glance_blocks = 128;
constexpr double glance_share = 0.3;                              // of the budget
constexpr double shortest_pause_s = 0.02, longest_pause_s = 1.0;  // means
constexpr double shortest_s = 0.001, shortest_huge_s = 0.0001, longest_s = 1.0;
constexpr double telling_touches =
    0.7;  // touches expected of a page at the boundary within the telling rung

}  // namespace

// The budget is a share of the program's CPU time; what is not used in a second does not add up
// beyond a few full cycles.
void Schedule::charge(const Situation& situation, bool busy) {
    if (last_now_s_ >= 0 && situation.now_s > last_now_s_) {
        double passed_s = situation.now_s - last_now_s_;
        double used_s = situation.program_cpu_s - last_cpu_s_;
        double fade = std::exp(-passed_s / 2);
        cpu_rate_ = std::max(0.05, cpu_rate_ * fade + used_s / passed_s * (1 - fade));
        account_s_ += used_s * (busy ? busy_share_ : share_);
        account_s_ -= situation.overhead_cpu_s - last_overhead_s_;
        account_s_ = std::min(account_s_, 0.05);
    }
    last_now_s_ = situation.now_s;
    last_cpu_s_ = situation.program_cpu_s;
    last_overhead_s_ = situation.overhead_cpu_s;
}

// The telling rung parts what is above the boundary from what is below. Shorter ones rank the hot;
// longer ones separate cool from cold, cost a fault for every page they catch, and come seldom.
void Schedule::choose_rungs(Aim& aim, double boundary_rate, bool all_huge) {
    double least = all_huge ? shortest_huge_s : shortest_s;
    if (all_huge) boundary_rate *= block_pages;
    double jitter = 0.75 + 0.5 * uniform();
    double telling_s =
        std::clamp(telling_touches / std::max(boundary_rate, 1e-3), least, longest_s) * jitter;
    auto add = [&](double at_s) {
        if (at_s < least / 2 || at_s > longest_s * 1.25) return;
        if (!aim.rungs_s.empty() && at_s < aim.rungs_s.back() * 1.5) return;
        aim.rungs_s.push_back(at_s);
    };
    if (full_) add(telling_s / 16);
    add(telling_s / 4);
    add(telling_s);
    if (aim.rungs_s.empty()) aim.rungs_s.push_back(telling_s);
    telling_rung_ = aim.rungs_s.size() - 1;
    if (full_ && turn_ % 4 == 1) {
        add(telling_s * 4);
        add(telling_s * 16);
    }
}

Aim Schedule::next(const Pages& pages, const Situation& situation, double boundary_rate,
                   bool busy) {
    charge(situation, busy);
    Aim aim;
    full_ = account_s_ >= 0;
    size_t tracked = 0;
    for (const Block& block : pages.blocks) tracked += block.pages > 0;
    blocks_share_ = full_ || tracked <= glance_blocks ? 1 : double(glance_blocks) / double(tracked);

    uint64_t armed = 0;
    bool all_huge = tracked > 0;
    for (size_t i = 0; i < pages.blocks.size(); ++i) {
        const Block& block = pages.blocks[i];
        if (block.pages == 0) continue;
        all_huge = all_huge && block.huge;
        if (blocks_share_ < 1 && uniform() > blocks_share_) continue;
        uint32_t wanted = block.pages;
        if (!block.huge && (!full_ || block.uniform)) {
            wanted = std::min<uint32_t>(wanted, full_ ? uniform_pages : glance_pages);
        }
        auto offset = uint32_t(uniform() * (block.pages - wanted + 1));
        Run run{PageId(i * block_pages) + offset, wanted};
        armed += block.huge ? 1 : wanted;
        // Neighbours become one run: a run is a system call.
        if (!aim.runs.empty() && aim.runs.back().end() == run.first && wanted >= block_pages) {
            aim.runs.back().pages += wanted;
        } else {
            aim.runs.push_back(run);
        }
    }
    choose_rungs(aim, boundary_rate, all_huge);
    ++turn_;

    const SampleCosts& costs = situation.costs;
    double glance_cost_s =
        1e-9 * (double(std::min(tracked, glance_blocks)) *
                    (costs.arm_run_ns + glance_pages * (costs.arm_page_ns + costs.fault_ns * 0.3 +
                                                        2 * costs.look_page_ns)) +
                50e3);
    double rate = (busy ? busy_share_ : share_) * glance_share * std::max(cpu_rate_, 0.05);
    mean_pause_s_ =
        std::clamp(glance_cost_s / std::max(rate, 1e-6), shortest_pause_s, longest_pause_s);
    if (busy) mean_pause_s_ = std::min(mean_pause_s_, 0.1);
    aim.pause_s = 2 * mean_pause_s_ * uniform();
    weight_s_ = 2 * mean_pause_s_ - aim.pause_s;
    return aim;
}

}  // namespace libpool::tier
