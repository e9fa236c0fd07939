// SPDX-License-Identifier: Apache-2.0
// Of the engine: one cycle, and what it costs.
#include <algorithm>
#include <cmath>

#include "tier/engine.h"
#include "uapi.h"

namespace libpool::tier {

namespace {

constexpr double idle_wait_s = 0.1;     // nothing is tracked
constexpr double longest_wait_s = 0.5;  // then it is asked whether the pause is still right
constexpr uint64_t grown_times = 4;     // so much more memory, and it is not
constexpr double history_s = 10;

uint64_t touched_pages(const Look& look) {
    return uint64_t(std::ranges::count_if(look.sights, [](Sight s) { return s < rung_limit; }));
}

}  // namespace

// What sampling and deciding have cost so far. With the lock held.
void Engine::settle_overhead(double now_s) {
    totals_.thread_cpu_s = clock_.thread_cpu_s() - first_thread_cpu_s_ - cpu_in_moves_s_;
    totals_.fault_cpu_s = double(totals_.touched_pages) * arm_cost_.costs().fault_ns * 1e-9;
    totals_.program_cpu_s = std::max(0.0, clock_.program_cpu_s() - first_program_cpu_s_);
    if (config_.pid == 0) {  // our thread is one of the process, and no part of the program
        totals_.program_cpu_s =
            std::max(0.0, totals_.program_cpu_s - totals_.thread_cpu_s - cpu_in_moves_s_);
    }
    history_.push_back({now_s, totals_.thread_cpu_s + totals_.fault_cpu_s, totals_.program_cpu_s});
    while (history_.size() > 1 && history_.front().now_s < now_s - history_s) history_.pop_front();
    const Sample &from = history_.front(), &to = history_.back();
    double program_s = to.program_s - from.program_s;
    totals_.overhead_share = program_s > 0 ? (to.overhead_s - from.overhead_s) / program_s : 0;
}

Situation Engine::situation() {
    Situation now;
    now.now_s = clock_.now_s();
    settle_overhead(now.now_s);
    const uint64_t limit = config_.near_limit_bytes / page_bytes;
    const uint64_t near_now = policy_.status().near_pages;
    const uint64_t room = room_pages(config_.near_nodes);
    // What the kernel lacks is taken from what we may fill: some pages leave before any can come.
    const uint64_t deficit = deficit_pages();
    const uint64_t within = near_now + room;
    now.near_pages = std::min(limit, within > deficit ? within - deficit : 0);
    now.near_room_pages = std::min(room, limit > near_now ? limit - near_now : 0);
    now.far_room_pages = room_pages(config_.far_nodes);
    now.loss_ns = config_.loss_ns;
    now.move_ns = move_cost_.page_ns();
    now.split_ns = split_cost_.block_ns();
    now.can_split = why_no_split().empty();
    now.costs = arm_cost_.costs();
    now.writes_only = info_.writes_only;
    now.overhead_cpu_s = totals_.thread_cpu_s + totals_.fault_cpu_s;
    now.program_cpu_s = totals_.program_cpu_s;
    if (config_.move_limit_bytes_per_s > 0) {
        now.move_pages = uint64_t(std::max(move_credit_bytes_, 0.0)) / page_bytes;
    }
    return now;
}

// Waits until the next cycle. What the last decision could not do yet may be done meanwhile.
bool Engine::pause(double seconds) {
    const double end_s = clock_.now_s() + seconds;
    double again_at_s = clock_.now_s() + again_s_;
    for (double now_s = clock_.now_s(); now_s < end_s; now_s = clock_.now_s()) {
        const double decide_s = again_s_ > 0 ? again_at_s : end_s;
        const double next_s = std::min({end_s, decide_s, now_s + longest_wait_s});
        if (!clock_.wait(next_s - now_s)) return false;
        if (next_s == end_s) break;
        std::lock_guard guard(lock_);
        // How long to pause was said of a program that was much smaller.
        if (tracked_pages() > grown_times * aimed_pages_) break;
        if (next_s < decide_s) continue;
        decide(next_s);
        again_at_s = next_s + again_s_;
    }
    return true;
}

uint64_t Engine::tracked_pages() const {
    uint64_t pages = 0;
    for (const auto& tracked : tracked_) pages += tracked->range.pages;
    return pages;
}

bool Engine::cycle() {
    Aim aim;
    {
        std::lock_guard guard(lock_);
        if (!tracked_.empty()) {
            aimed_pages_ = tracked_pages();
            if (arm_cost_.trial_is_due(clock_.now_s(), aimed_pages_)) learn_run_cost();
            Situation now = situation();
            now.resident_pages = kernel_.resident_bytes(config_.pid) / page_bytes;
            aim = policy_.aim(now);
        }
    }
    if (!pause(aim.runs.empty() ? std::max(idle_wait_s, aim.pause_s) : aim.pause_s)) return false;
    if (aim.runs.empty()) return true;
    {
        std::lock_guard guard(lock_);
        if (tracked_pages() > grown_times * aimed_pages_) return true;
    }

    double start_s = clock_.now_s();
    {
        std::lock_guard guard(lock_);
        if (!arm(aim, start_s)) return true;
    }
    Look last;
    std::vector<double> rungs_s;
    for (size_t rung = 0; rung < aim.rungs_s.size(); ++rung) {
        double left_s = start_s + aim.rungs_s[rung] - clock_.now_s();
        bool go_on = left_s <= 0 || clock_.wait(left_s);
        std::unique_lock guard(lock_);
        if (!go_on) {
            sampler_.disarm();
            return false;
        }
        auto looked = sampler_.look(Sight(rung));
        if (!looked) {
            trouble(looked.error().sentence);
            sampler_.disarm();
            guard.unlock();
            return clock_.wait(idle_wait_s);
        }
        rungs_s.push_back(looked->at_s);
        last = std::move(*looked);
        if (touched_pages(last) >= aim.enough) break;
    }
    std::lock_guard guard(lock_);
    sampler_.disarm();
    finish(last, std::move(rungs_s), start_s);
    return true;
}

// Clips the policy's blocks to what is tracked, and arms that.
bool Engine::arm(const Aim& aim, double& start_s) {
    armed_.clear();
    size_t at = 0;
    for (const Run& run : aim.runs) {
        while (at < tracked_.size() && tracked_[at]->ids.end() <= run.first) ++at;
        for (size_t i = at; i < tracked_.size() && tracked_[i]->ids.first < run.end(); ++i) {
            const Tracked& owner = *tracked_[i];
            PageId first = std::max(run.first, owner.first);
            PageId end = std::min(run.end(), PageId(owner.first + owner.range.pages));
            if (first >= end) continue;
            uint64_t start = owner.range.start + uint64_t(first - owner.first) * page_bytes;
            armed_.push_back({owner.id, {first, end - first}, {start, end - first}});
        }
    }
    std::vector<AddressRun> memory;
    for (const Armed& armed : armed_) {
        memory.push_back(armed.memory);
        totals_.armed_pages += armed.run.pages;
    }
    start_s = clock_.now_s();
    const double cpu_s = clock_.thread_cpu_s();
    if (auto done = sampler_.arm(memory); !done) {
        trouble(done.error().sentence);
        return false;
    }
    arm_cost_.took((clock_.thread_cpu_s() - cpu_s) * 1e9, memory);
    return true;
}

void Engine::learn_run_cost() {
    std::vector<AddressRun> ranges;
    for (const auto& tracked : tracked_) ranges.push_back(tracked->range);
    const std::vector<AddressRun> runs = ArmCost::trial(ranges);
    const double cpu_s = clock_.thread_cpu_s();
    const bool armed = !runs.empty() && sampler_.arm(runs).has_value();
    const double spent_ns = (clock_.thread_cpu_s() - cpu_s) * 1e9;
    if (!armed) return arm_cost_.tried(clock_.now_s(), 0, {}, aimed_pages_);
    const auto look = sampler_.look(0);
    sampler_.disarm();
    // Arming what the program has not touched yet is no call at all: to be tried again soon.
    if (look && uint64_t(std::ranges::count(look->sights, page_absent)) * 2 > look->sights.size()) {
        return;
    }
    const uint64_t huge_blocks = look ? look->huge.size() : 0;
    arm_cost_.tried(clock_.now_s(), spent_ns, runs, aimed_pages_, huge_blocks);
}

void Engine::finish(const Look& look, std::vector<double> rungs_s, double start_s) {
    Reading reading;
    reading.start_s = start_s;
    reading.rungs_s = std::move(rungs_s);
    for (size_t i = 1; i < reading.rungs_s.size(); ++i) {  // rising, whatever the clock says
        reading.rungs_s[i] = std::max(reading.rungs_s[i], reading.rungs_s[i - 1] + 1e-6);
    }
    size_t pages = 0;
    for (const Armed& armed : armed_) pages += armed.run.pages;
    if (look.sights.size() != pages) {
        return trouble("the sampler gave another number of pages than it was asked for");
    }
    // A range may have gone since, and another one may have its page numbers.
    size_t from = 0;
    for (const Armed& armed : armed_) {
        const Tracked* owner = find(armed.run.first);
        const size_t to = from + armed.run.pages;
        if (owner && owner->id == armed.owner) {
            reading.runs.push_back(armed.run);
            reading.sights.insert(reading.sights.end(), look.sights.begin() + ptrdiff_t(from),
                                  look.sights.begin() + ptrdiff_t(to));
            if (!look.counts.empty()) {
                reading.counts.insert(reading.counts.end(), look.counts.begin() + ptrdiff_t(from),
                                      look.counts.begin() + ptrdiff_t(to));
            }
        }
        from = to;
    }
    for (const Run& run : reading.runs) {
        for (PageId block = run.first / block_pages; block * block_pages < run.end(); ++block) {
            huge_[block] = false;
        }
    }
    for (uint64_t address : look.huge) {
        const Tracked* owner = find_address(address);
        if (!owner) continue;
        PageId page = owner->first + PageId((address - owner->range.start) / page_bytes);
        // One that reaches beyond what is tracked (the mapping has grown) is none of ours as a
        // whole.
        if (page % block_pages != 0 || find(page + block_pages - 1) != owner) continue;
        huge_[page / block_pages] = true;
    }
    for (size_t block = 0; block < huge_.size(); ++block) {
        if (huge_[block]) reading.huge.push_back(PageId(block * block_pages));
    }
    for (size_t i = 0, at = 0; i < reading.runs.size(); ++i) {
        const Run& run = reading.runs[i];
        for (PageId page = run.first; page < run.end(); ++page, ++at) {
            bool touched = reading.sights[at] < rung_limit;
            bool counted = !huge_[page / block_pages] || page % block_pages == 0;
            totals_.touched_pages += touched && counted;
        }
    }
    ++totals_.cycles;
    place_newborn(reading);
    Situation now = situation();
    policy_.observe(reading, now);
    if (now.now_s - last_decide_s_ >= config_.decide_s) decide(now.now_s);
}

void Engine::place_newborn(const Reading& reading) {
    const auto [newborn, gone] = policy_.contradicted(reading);
    ask(newborn);
    ask(gone);
}

}  // namespace libpool::tier
