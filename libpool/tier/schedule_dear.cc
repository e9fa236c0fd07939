// SPDX-License-Identifier: Apache-2.0
// The part of the schedule for where runs are dear.
#include <algorithm>
#include <array>
#include <cmath>

#include "tier/progress.h"
#include "tier/schedule.h"

namespace libpool::tier {

namespace {

// A run that costs as much as so many pages is dear. A scout's stretch is so long that its pages
// cost some times what its run does, and a part of all at most; large memory has several.
constexpr double dear_pages = 24, longest_dear_pause_s = 6;
constexpr double dear_worth = 2;
constexpr size_t scout_part = 12, dear_stretches = 8;
constexpr size_t dear_whole_blocks = 256;  // up to 512 MiB a whole cycle is one run over everything
constexpr double shortest_dear_pause_s = 0.02;
constexpr double near_scouts = 0.5;  // share of the scouts
// The looks of a cycle, in times of its pace; and of the first one, in which nothing is known. A
// whole cycle goes on looking while too little was touched: arming all is what costs, and where
// the program was held up meanwhile (by others on the CPU, say) it would be for nothing.
constexpr std::array<double, 6> paces = {0.06, 0.5, 1.5, 2.4, 3.8, 6.1};
constexpr size_t usual_looks = 3;
constexpr double early_part =
    0.2;  // of the pace, up to which a look that comes late is still an early one
constexpr double enough_part = 1.25;  // of as many as fit near, touched: then a cycle ends
constexpr std::array<double, 5> wide_s = {0.004, 0.016, 0.064, 0.25, 1};
// Who does little in a second is not held up: three cycles of some seconds each would be waited
// for.
constexpr double shortest_look_s = 0.0005, longest_look_s = 0.7, longest_last_s = 1;
constexpr double least_touched = 32;
constexpr double pace_step = 0.3;  // weight of the newest scout

// What a page and a run cost in a cycle: arming, disarming, some looks, some faults.
double page_ns(const SampleCosts& costs) {
    return 2 * costs.arm_page_ns + 0.3 * costs.fault_ns + 3 * costs.look_page_ns;
}
double run_ns(const SampleCosts& costs) { return 2 * costs.arm_run_ns; }

}  // namespace

bool runs_are_dear(const SampleCosts& costs, bool so_far) {
    const double pages = so_far ? dear_pages / 4 : dear_pages;
    return run_ns(costs) > pages * page_ns(costs) && costs.arm_page_ns > 0;
}

// Stretches of whole blocks, evenly spaced. Half of the scouts begin anywhere, half of them about a
// near page: what is near going cold shows a change, and may be all in one place.
void Schedule::add_stretches(const Pages& pages, size_t length, size_t count,
                             std::vector<Run>& runs) {
    std::vector<uint32_t> tracked;
    std::vector<double> near;  // of each tracked block: pages
    double all_near = 0;
    for (size_t i = 0; i < pages.blocks.size(); ++i) {
        if (pages.blocks[i].pages == 0) continue;
        tracked.push_back(uint32_t(i));
        near.push_back(double(pages.blocks[i].near));
        all_near += near.back();
    }
    const size_t all = tracked.size();
    auto around = [&](size_t at) { return at % all; };
    const double biased = length * count < all && all_near > 0 ? near_scouts : 0;
    auto start = std::min(size_t(uniform() * double(all)), all - 1);
    if (uniform() < biased) {
        double left = uniform() * all_near;
        size_t middle = 0;
        while (middle + 1 < all && left >= near[middle]) left -= near[middle++];
        start = around(middle + all - std::min(size_t(uniform() * double(length)), length - 1));
    }
    // The chances of each start, and with that of each block to be in a stretch: what is booked for
    // it is divided by that.
    std::vector<double> starts(all, (1 - biased) / double(all));
    for (size_t at = 0; at < all && biased > 0; ++at) {
        for (size_t i = 0; i < length; ++i) {
            starts[at] += biased * near[around(at + i)] / (all_near * double(length));
        }
    }
    std::vector<bool> chosen(all);
    chances_.assign(pages.blocks.size(), 0);
    for (size_t stretch = 0; stretch < count; ++stretch) {
        const size_t offset = stretch * all / count;
        for (size_t i = 0; i < length; ++i) chosen[around(start + offset + i)] = true;
        for (size_t at = 0; at < all; ++at) {
            for (size_t i = 0; i < length; ++i) {
                chances_[tracked[around(at + offset + i)]] += float(starts[at]);
            }
        }
    }
    for (size_t i = 0; i < all; ++i) {
        if (!chosen[i]) continue;
        Run run{PageId(tracked[i] * block_pages), pages.blocks[tracked[i]].pages};
        if (!runs.empty() && runs.back().end() == run.first) {
            runs.back().pages += run.pages;
        } else {
            runs.push_back(run);
        }
    }
}

// A cycle's pace is the time after which as many of its pages were touched as fit near: a look then
// parts the pages best. It is measured by the wall clock, with all that the faults take.
void Schedule::learn_pace(const Reading& reading, double near_share) {
    std::array<double, rung_limit> touched{}, touched_huge{};
    double present = 0, present_huge = 0;
    size_t at = 0;
    for (const Run& run : reading.runs) {
        bool huge = false;
        for (PageId page = run.first; page < run.end(); ++page, ++at) {
            const Sight sight = reading.sights[at];
            if (page == run.first || page % block_pages == 0) {
                const PageId block = page / block_pages * block_pages;
                huge = std::ranges::binary_search(reading.huge, block);
            }
            (huge ? present_huge : present) += sight != page_absent;
            if (sight < rung_limit) ++(huge ? touched_huge : touched)[sight];
        }
    }
    // Huge pages are touched by far the soonest, and would leave the others no time.
    if (present == 0) {
        present = present_huge;
        touched = touched_huge;
    }
    const double wanted = std::max(near_share * present, 1.0);
    double before = 0, before_s = 0, pace_s = 0;
    for (size_t rung = 0; rung < reading.rungs_s.size() && pace_s == 0; ++rung) {
        const double now = before + touched[rung], now_s = reading.rungs_s[rung];
        if (now >= wanted)
            pace_s = before_s + (wanted - before) / (now - before) * (now_s - before_s);
        before = now;
        before_s = now_s;
    }
    // Not so many at all: as if it went on like this.
    if (pace_s == 0) pace_s = before_s * wanted / std::max(before, least_touched);
    pace_s = std::clamp(pace_s, shortest_look_s, longest_look_s);
    double& known_s = scouting_ ? scout_pace_s_ : whole_pace_s_;
    // A stretch may be all hot or all cold.
    const double step = scouting_ ? pace_step : 1;
    known_s = known_s > 0 ? known_s * std::pow(pace_s / known_s, step) : pace_s;
    if (scouting_) scout_pages_ = present;
}

void Schedule::choose_dear_rungs(Aim& aim, double armed, double near_share,
                                 const SampleCosts& costs) {
    // Until all of it is armed and looked at once: a look before that comes too late anyway.
    const double first_s =
        std::max(shortest_look_s, 0.5e-9 * armed * (costs.arm_page_ns + costs.look_page_ns));
    const double jitter = 0.9 + 0.2 * uniform();
    double pace_s = scouting_ ? scout_pace_s_ : whole_pace_s_;
    auto add = [&](double at_s) {
        if (at_s < first_s && first_s > early_part * pace_s) return;
        at_s = std::max(at_s, first_s);
        if (!aim.rungs_s.empty() && at_s * jitter < aim.rungs_s.back() * 1.3) return;
        aim.rungs_s.push_back(at_s * jitter);
    };
    if (pace_s == 0 && scout_pace_s_ > 0) {
        // More faults come first.
        const double more = std::max(armed - scout_pages_, 0.0) * near_share;
        pace_s = scout_pace_s_ + usual_fault * 1e-9 * costs.fault_ns * more;
    }
    if (pace_s == 0) {
        for (const double at_s : wide_s) add(at_s);
    } else {
        if (some_huge_) add(first_s / 0.9);
        // One touch of a huge page shows all of it touched: no end is called by those.
        const bool goes_on = !scouting_ && !some_huge_;
        for (size_t i = 0; i < paces.size(); ++i) {
            const double at_s = paces[i] * pace_s;
            if (i < usual_looks || (goes_on && at_s <= longest_last_s)) add(at_s);
        }
    }
    if (aim.rungs_s.empty()) aim.rungs_s.push_back(first_s * jitter);
    telling_rung_ = aim.rungs_s.size() - 1;
    if (!some_huge_) aim.enough = uint64_t(enough_part * near_share * armed);
}

Aim Schedule::next_dear(const Pages& pages, const Situation& situation, Mood mood) {
    size_t tracked = 0;
    for (const Block& block : pages.blocks) tracked += block.pages > 0;
    Aim aim;
    if (tracked == 0) return aim;
    scouting_ = introduced_ == 0 || wholes_ == 0;
    introduced_ = std::min(introduced_ + 1, introduction + 1);
    full_ = true;
    size_t length, count;
    if (scouting_) {
        const double worth =
            dear_worth * run_ns(situation.costs) / page_ns(situation.costs) / block_pages;
        const size_t most = std::max<size_t>(tracked / scout_part, 1);
        length = std::clamp<size_t>(size_t(std::ceil(worth)), 1, most);
        count = std::clamp<size_t>(most / length, 1, dear_stretches);
    } else {
        --wholes_;
        const bool one = tracked <= dear_whole_blocks;
        length = one ? tracked : dear_whole_blocks / dear_stretches;
        count = one ? 1 : dear_stretches;
    }
    blocks_share_ = double(length * count) / double(tracked);
    add_stretches(pages, length, count, aim.runs);
    double armed = 0;
    some_huge_ = false;
    for (const Run& run : aim.runs) {
        for (PageId page = run.first; page < run.end(); page += block_pages) {
            const Block& block = pages.blocks[page / block_pages];
            armed += block.huge ? 1 : block.pages;
            some_huge_ = some_huge_ || block.huge;
        }
    }
    const double near_share =
        std::min(1.0, double(situation.near_pages) / (double(tracked) * block_pages));
    choose_dear_rungs(aim, armed, near_share, situation.costs);
    ++turn_;

    const double rate = share_of(mood) * std::max(cpu_rate_, 0.05);
    const double modelled_s = 1e-9 * double(length * count) * block_pages * (1 + 1 / dear_worth) *
                              page_ns(situation.costs);
    const double cost_s = glance_cost_s_ > 0 ? glance_cost_s_ : modelled_s;
    mean_pause_s_ =
        std::clamp(cost_s / std::max(rate, 1e-6), shortest_dear_pause_s, longest_dear_pause_s);
    if (!scouting_ || introduced_ == 1) mean_pause_s_ = shortest_dear_pause_s;
    // So few cycles that exponential pauses would leave gaps of a minute: evenly around the mean.
    // What a booking stands for is then right on average only for rates that last that long.
    aim.pause_s = mean_pause_s_ * (0.5 + uniform());
    weight_s_ = mean_pause_s_;
    return aim;
}

}  // namespace libpool::tier
