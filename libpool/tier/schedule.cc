// SPDX-License-Identifier: Apache-2.0
#include "tier/schedule.h"

#include <cmath>

namespace libpool::tier {

namespace {

constexpr uint32_t glance_pages = 8;    // of a block
constexpr uint32_t uniform_pages = 16;  // of a uniform block in a full cycle
constexpr double audit_share = 0.06;  // of the uniform blocks, looked at as a whole in a full cycle
constexpr size_t glance_blocks = 64;
constexpr double glance_share = 0.3;  // of the budget
// Of the budget; the bank gets what is left.
constexpr double usual_part = 0.8, owing_part = 0.5, poor_part = 0.3;
constexpr int wide_turns = 8;    // every so many glances look over the whole ladder
constexpr double pause_cut = 3;  // of the mean
constexpr double shortest_pause_s = 0.02, longest_pause_s = 0.5;  // means
// A glance that takes so many times what it should (DAMON's files, say) may be as rare as those.
constexpr double dearer_times = 4, longest_rare_pause_s = 20;
constexpr double cost_step = 0.3;  // weight of the newest cycle in the cost of one
constexpr double shortest_s = 0.00025, shortest_huge_s = 0.0001, longest_s = 1.0;
constexpr double counting_s = 0.25;  // of exact counts: long enough to tell pages apart
constexpr double telling_touches =
    1.5;  // touches expected of a page at the boundary within the telling rung

}  // namespace

double Schedule::share_of(Mood mood) const {
    switch (mood) {
        case Mood::busy:
            return busy_share_;
        case Mood::owing:
            return owing_part * share_;
        case Mood::poor:
            return poor_part * share_;
        case Mood::usual:
            break;
    }
    return usual_part * share_;
}

// The budget is a share of the program's CPU time; what is not used in a second does not add up
// beyond a few full cycles.
void Schedule::charge(const Situation& situation, double share) {
    if (last_now_s_ >= 0 && situation.now_s > last_now_s_) {
        double passed_s = situation.now_s - last_now_s_;
        double used_s = situation.program_cpu_s - last_cpu_s_;
        double fade = std::exp(-passed_s / 2);
        cpu_rate_ = std::max(0.05, cpu_rate_ * fade + used_s / passed_s * (1 - fade));
        account_s_ += used_s * share;
        const double spent_s = situation.overhead_cpu_s - last_overhead_s_;
        account_s_ -= spent_s;
        if (!full_ || (scouting_ && introduced_ > 1)) {
            glance_cost_s_ += (glance_cost_s_ > 0 ? cost_step : 1) * (spent_s - glance_cost_s_);
        }
        account_s_ = std::min(account_s_, 0.05);
    }
    last_now_s_ = situation.now_s;
    last_cpu_s_ = situation.program_cpu_s;
    last_overhead_s_ = situation.overhead_cpu_s;
}

double Schedule::stands_for(uint32_t block, uint32_t armed) const {
    if (armed == block) return 1;
    const uint32_t part = full_ ? uniform_pages : glance_pages;
    return (block + part - 1) / part;
}

// The telling rung parts what is above the boundary from what is below. Shorter ones rank the hot;
// longer ones separate cool from cold, cost a fault for every page they catch, and come seldom.
void Schedule::choose_rungs(Aim& aim, double boundary_rate, bool all_huge) {
    const double least = all_huge ? shortest_huge_s : shortest_s;
    if (all_huge) boundary_rate *= block_pages;
    const double jitter = 0.75 + 0.5 * uniform();
    const double telling_s =
        std::clamp(telling_touches / std::max(boundary_rate, 1e-3), least, longest_s);
    auto add = [&](double at_s) {
        if (at_s < least || at_s > longest_s) return;
        if (!aim.rungs_s.empty() && at_s * jitter < aim.rungs_s.back() * 1.5) return;
        aim.rungs_s.push_back(at_s * jitter);
    };
    const bool wide = !full_ && (introduced_ <= introduction || turn_ % wide_turns == 0);
    add(least);  // the bank's books are kept by the shortest look
    if (wide) {
        for (double at_s = least * 4; at_s < telling_s / 2; at_s *= 4) add(at_s);
    } else {
        add(telling_s / 16);
        add(telling_s / 4);
        add(telling_s / 2);
    }
    add(telling_s);
    if (aim.rungs_s.empty()) aim.rungs_s.push_back(telling_s * jitter);
    telling_rung_ = aim.rungs_s.size() - 1;
    if (wide && introduced_ > introduction) {
        add(telling_s * 4);
        add(telling_s * 16);
    }
}

void Schedule::add_pages(const Pages& pages, std::span<const PageId> also, std::vector<Run>& runs) {
    if (also.empty()) return;
    std::vector<Run> all;
    all.reserve(runs.size() + also.size());
    size_t next = 0;
    auto add_before = [&](PageId end) {
        for (; next < also.size() && also[next] < end; ++next) {
            const PageId page = also[next];
            if (!all.empty() && page < all.back().end()) continue;
            const Block& block = pages.blocks[page / block_pages];
            all.push_back({page, block.huge ? block.pages : 1u});
            added_.push_back(page);
        }
    };
    for (const Run& run : runs) {
        add_before(run.first);
        all.push_back(run);
    }
    add_before(UINT32_MAX);
    runs = std::move(all);
}

// Counting costs nothing: all pages, all the time.
Aim Schedule::count_all(const Pages& pages) {
    Aim aim;
    for (size_t i = 0; i < pages.blocks.size(); ++i) {
        const Run run{PageId(i * block_pages), pages.blocks[i].pages};
        if (run.pages == 0) continue;
        if (!aim.runs.empty() && aim.runs.back().end() == run.first) {
            aim.runs.back().pages += run.pages;
        } else {
            aim.runs.push_back(run);
        }
    }
    aim.rungs_s = {counting_s};
    added_.clear();
    full_ = true;
    blocks_share_ = 1;
    telling_rung_ = 0;
    weight_s_ = mean_pause_s_ = 0;
    introduced_ = introduction + 1;
    return aim;
}

Aim Schedule::next(const Pages& pages, std::span<const PageId> also, const Situation& situation,
                   double boundary_rate, Mood mood, bool dear) {
    if (situation.costs.free()) return count_all(pages);
    const double share = share_of(mood);
    charge(situation, share);

    if (dear != dear_) glance_cost_s_ = 0;
    dear_ = dear;
    added_.clear();
    if (dear) return next_dear(pages, situation, mood);

    Aim aim;
    scouting_ = false;
    if (introduced_ <= introduction) ++introduced_;
    full_ = account_s_ >= 0 && introduced_ > introduction;
    size_t tracked = 0;
    for (const Block& block : pages.blocks) tracked += block.pages > 0;
    blocks_share_ = full_ || tracked <= glance_blocks ? 1 : double(glance_blocks) / double(tracked);

    bool all_huge = tracked > 0;
    for (size_t i = 0; i < pages.blocks.size(); ++i) {
        const Block& block = pages.blocks[i];
        if (block.pages == 0) continue;
        all_huge = all_huge && block.huge;
        if (blocks_share_ < 1 && uniform() > blocks_share_) continue;
        uint32_t wanted = block.pages;
        const bool audit = full_ && uniform() < audit_share;
        if (!block.huge && (!full_ || (block.uniform && !audit))) {
            wanted = std::min<uint32_t>(wanted, full_ ? uniform_pages : glance_pages);
        }
        // One of the block's parts, each as likely: an offset of any page would look at the
        // block's ends less often, and the books would not be right for pages there.
        const uint32_t parts = (block.pages + wanted - 1) / wanted;
        const uint32_t offset = uint32_t(uniform() * parts) * wanted;
        wanted = std::min(wanted, block.pages - offset);
        Run run{PageId(i * block_pages) + offset, wanted};
        // Neighbours become one run: a run is a system call.
        if (!aim.runs.empty() && aim.runs.back().end() == run.first && wanted >= block_pages) {
            aim.runs.back().pages += wanted;
        } else {
            aim.runs.push_back(run);
        }
    }
    add_pages(pages, also, aim.runs);
    choose_rungs(aim, boundary_rate, all_huge);
    ++turn_;

    const SampleCosts& costs = situation.costs;
    double glance_cost_s =
        1e-9 *
        (double(std::min(tracked, glance_blocks)) *
             (costs.arm_run_ns +
              glance_pages * (costs.arm_page_ns + costs.fault_ns * 0.3 + 2 * costs.look_page_ns)) +
         double(also.size()) * (costs.arm_run_ns + costs.arm_page_ns + costs.fault_ns * 0.5) +
         50e3);
    // What glances really cost, when that is more than they should.
    const bool dearer = glance_cost_s_ > dearer_times * glance_cost_s;
    glance_cost_s = std::max(glance_cost_s, glance_cost_s_);
    const double rate = (mood == Mood::poor ? share_of(Mood::usual) : share) * glance_share *
                        std::max(cpu_rate_, 0.05);
    mean_pause_s_ = std::clamp(glance_cost_s / std::max(rate, 1e-6), shortest_pause_s,
                               dearer ? longest_rare_pause_s : longest_pause_s);
    if (mood == Mood::busy && !dearer) mean_pause_s_ = std::min(mean_pause_s_, 0.1);
    aim.pause_s = -mean_pause_s_ * std::log(1 - uniform());
    weight_s_ = aim.pause_s < pause_cut * mean_pause_s_ ? mean_pause_s_ : 0;
    aim.pause_s = std::min(aim.pause_s, pause_cut * mean_pause_s_);
    return aim;
}

}  // namespace libpool::tier
