// SPDX-License-Identifier: Apache-2.0
#include "engine.h"

#include <algorithm>
#include <cmath>
#include <exception>

#include "uapi.h"

namespace libpool {

namespace {

constexpr size_t refresh_pages = 512;        // asked about per decision, in turn
constexpr double carry_out_limit_s = 1.0;    // older decisions than this are not worth carrying out
constexpr double idle_wait_s = 0.1;          // nothing is tracked
constexpr int learning_windows = 16;         // of a new range: beyond the CPU budget,
constexpr double learning_cpu_s = 3;         // but no more than this
constexpr uint64_t trial_pages = 64;         // the first move: to learn what moving costs here
constexpr double batch_limit_ns = 1e9;       // of one call: stop() waits for it
constexpr double cost_half_life_s = 60;      // of a measured cost that nothing was moved on
constexpr uint64_t measured_pages_min = 16;  // fewer say little about that

bool contains(const std::vector<int>& nodes, int node) {
    return std::find(nodes.begin(), nodes.end(), node) != nodes.end();
}

// Full batches, but where a page takes milliseconds: there the overhead of a call is nothing.
uint64_t batch_pages(double move_ns) {
    return static_cast<uint64_t>(
        std::clamp(batch_limit_ns / move_ns, double(trial_pages), double(move_batch)));
}

double mib(uint64_t pages) { return double(pages) * page_bytes / (1 << 20); }

}  // namespace

Engine::Engine(Sampler& sampler, Mover& mover, Kernel& kernel, Clock& clock, EngineConfig config,
               std::ostream* record)
    : sampler_(sampler),
      mover_(mover),
      kernel_(kernel),
      clock_(clock),
      config_(std::move(config)),
      record_(record),
      budget_(config_.cpu_share),
      ladder_(config_.seed) {
    if (record_) write_header(*record_);
    boundary_rate_ = move_ns_ / (config_.gain_ns * config_.stay_s);
    set(Stat::gain_ns, static_cast<uint64_t>(config_.gain_ns));
}

Result<void> Engine::add(const Range& range) {
    std::lock_guard guard(lock_);
    if (range.pages == 0) return fail(EINVAL, "a range of 0 bytes cannot be tracked");
    if (tracked_.size() == range_limit) {
        return fail(ENOSPC, "%zu ranges are tracked already: that is the limit", range_limit);
    }
    uint64_t end = range.start + range.pages * page_bytes;
    for (auto& other : tracked_) {
        uint64_t other_end = other->range.start + other->range.pages * page_bytes;
        if (range.start < other_end && other->range.start < end) {
            return fail(EEXIST, "0x%llx overlaps a range that is tracked already",
                        static_cast<unsigned long long>(range.start));
        }
    }
    if (auto added = sampler_.add(range); !added) return added;
    auto tracked = std::make_unique<Tracked>(range, next_id_++);
    std::vector<size_t> all(range.pages);
    for (size_t i = 0; i < all.size(); ++i) all[i] = i;
    ask(*tracked, all);
    if (record_) {
        write_line(*record_, RecordedRange{tracked->id, range.pages});
        write_line(*record_, RecordedNodes{tracked->id, tracked->nodes});
    }
    tracked_.push_back(std::move(tracked));
    learning_windows_ = learning_windows;
    learning_cpu_s_ = learning_cpu_s;
    count(Stat::tracked_bytes, range.pages * page_bytes);
    return {};
}

Result<void> Engine::remove(uint64_t start) {
    std::lock_guard guard(lock_);
    for (size_t i = 0; i < tracked_.size(); ++i) {
        if (tracked_[i]->range.start != start) continue;
        sampler_.remove(tracked_[i]->range);
        set(Stat::tracked_bytes, stat(Stat::tracked_bytes) - tracked_[i]->range.pages * page_bytes);
        tracked_.erase(tracked_.begin() + static_cast<ptrdiff_t>(i));
        return {};
    }
    return fail(ENOENT, "no tracked range starts at 0x%llx",
                static_cast<unsigned long long>(start));
}

void Engine::run() {
    try {
        sample_and_decide();
    } catch (const std::exception&) {
        ran_out_ = true;  // no sentence is made here: that takes memory
    }
}

void Engine::sample_and_decide() {
    double last_s = clock_.now_s();
    double last_cpu_s = clock_.thread_cpu_s();
    uint64_t last_touched = 0;
    while (true) {
        bool empty = false;
        {
            std::lock_guard guard(lock_);
            empty = tracked_.empty();
            if (!empty) arm_all();
        }
        if (!clock_.wait(empty ? idle_wait_s : ladder_.next_s(boundary_rate_, affordable_s_)))
            return;
        if (!empty) {
            std::lock_guard guard(lock_);
            scan_all();
        }
        if (!empty && clock_.now_s() - last_decision_s_ >= config_.decide_s) decide();

        // The bill: our CPU time without moving, and the faults that the program paid.
        double cpu_s = clock_.thread_cpu_s() - cpu_in_moves_s_;
        uint64_t touched = stat(Stat::touched);
        double faults_s = double(touched - last_touched) * sampler_.fault_ns() * 1e-9;
        if (!empty) reckon_window(cpu_s - last_cpu_s, faults_s);
        count(Stat::thread_cpu_ns, static_cast<uint64_t>((cpu_s - last_cpu_s) * 1e9));
        count(Stat::fault_cpu_ns, static_cast<uint64_t>(faults_s * 1e9));
        double now = clock_.now_s();
        budget_.pass(now - last_s);
        budget_.spend(cpu_s - last_cpu_s + faults_s);
        if (!empty && learning_windows_ > 0) {
            --learning_windows_;
            double grant_s = std::min(cpu_s - last_cpu_s + faults_s, learning_cpu_s_.load());
            learning_cpu_s_ = learning_cpu_s_ - grant_s;
            budget_.grant(grant_s);
        }
        last_s = now;
        last_cpu_s = cpu_s;
        last_touched = touched;
        if (double pause_s = budget_.wait_s(); pause_s > 0 && !clock_.wait(pause_s)) return;
    }
}

// How long a window may be before its faults cost more than arming and scanning do.
void Engine::reckon_window(double fixed_s, double faults_s) {
    fixed_cost_s_ = fixed_cost_s_ == 0 ? fixed_s : 0.8 * fixed_cost_s_ + 0.2 * fixed_s;
    fault_share_ = std::max(0.8 * fault_share_, faults_s / std::max(window_s_, 1e-6));
    affordable_s_ = fault_share_ > 0 ? fixed_cost_s_ / fault_share_ : Ladder::longest_s;
}

void Engine::arm_all() {
    for (size_t i = tracked_.size(); i-- > 0;) {
        auto armed = sampler_.arm(tracked_[i]->range);
        tracked_[i]->armed = armed.has_value();
        if (!armed) drop(i, armed.error());
    }
}

void Engine::scan_all() {
    for (size_t i = tracked_.size(); i-- > 0;) {
        if (!tracked_[i]->armed) continue;  // came during the window
        scan_one(*tracked_[i]);
    }
    count(Stat::windows, 1);
}

void Engine::scan_one(Tracked& tracked) {
    tracked.armed = false;
    std::vector<Seen> seen;
    auto window_s = sampler_.scan(tracked.range, seen);
    if (!window_s) return trouble(window_s.error().sentence);

    window_s_ = *window_s;
    uint64_t present = 0, touched = 0;
    std::vector<size_t> newborn;  // seen, but we do not know where
    for (size_t page = 0; page < seen.size(); ++page) {
        present += seen[page] != Seen::absent;
        touched += seen[page] == Seen::touched;
        if (seen[page] != Seen::absent && tracked.nodes[page] < 0) newborn.push_back(page);
        if (seen[page] == Seen::absent) tracked.nodes[page] = -1;
        if (tracked.rested[page] < 255) ++tracked.rested[page];
    }
    tracked.heat.observe(*window_s, seen);
    ask(tracked, newborn);
    count(Stat::armed, present);
    count(Stat::touched, touched);
    if (record_) {
        auto window_ns = static_cast<uint64_t>(*window_s * 1e9);
        write_line(*record_, RecordedWindow{tracked.id, window_ns, std::move(seen)});
    }
}

// Others move pages too (the kernel, a daemon): each decision asks about some, in turn.
void Engine::refresh_places() {
    size_t budget = refresh_pages;
    for (auto& tracked : tracked_) {
        size_t count = std::min(budget, static_cast<size_t>(tracked->range.pages));
        std::vector<size_t> pages;
        for (size_t i = 0; i < count; ++i) {
            pages.push_back((tracked->refresh_at + i) % tracked->range.pages);
        }
        tracked->refresh_at = (tracked->refresh_at + count) % tracked->range.pages;
        ask(*tracked, pages);
        budget -= count;
        if (budget == 0) break;
    }
}

void Engine::ask(Tracked& tracked, const std::vector<size_t>& pages) {
    std::vector<uint64_t> addresses;
    addresses.reserve(pages.size());
    for (size_t page : pages) addresses.push_back(tracked.range.start + page * page_bytes);
    std::vector<int> nodes = where(kernel_, 0, addresses);
    for (size_t i = 0; i < pages.size(); ++i)
        tracked.nodes[pages[i]] = nodes[i] < 0 ? -1 : nodes[i];
}

void Engine::decide() {
    std::unique_lock guard(lock_);
    double now = clock_.now_s();
    const double since_last_s = now - last_decision_s_;
    move_credit_bytes_ += since_last_s * double(config_.move_limit_bytes_per_s);
    move_credit_bytes_ = std::min(move_credit_bytes_, double(config_.move_limit_bytes_per_s));
    last_decision_s_ = now;
    refresh_places();

    std::vector<PageView> views;
    std::vector<PageRef> refs;
    for (auto& tracked : tracked_) {
        for (size_t page = 0; page < tracked->range.pages; ++page) {
            views.push_back({place_of(tracked->nodes[page]), tracked->heat.windows(page),
                             tracked->rested[page], tracked->heat.rate(page)});
            refs.push_back({tracked.get(), page});
        }
    }
    Situation situation;
    situation.near_limit_pages = config_.near_limit_bytes / page_bytes;
    situation.near_room_pages = room_pages(config_.near_nodes);
    situation.far_room_pages = room_pages(config_.far_nodes);
    situation.gain_ns = config_.gain_ns;
    situation.move_ns = move_ns_;
    situation.stay_s = config_.stay_s;
    Plan plan = libpool::decide(views, situation);
    boundary_rate_ = plan.boundary_rate;
    count(Stat::decisions, 1);
    count(Stat::wanted, plan.demote.size() + plan.promote.size());

    age_move_cost(plan, since_last_s);
    double cpu_before_s = clock_.thread_cpu_s();
    carry_out(plan, refs);
    set(Stat::move_cost_ns, static_cast<uint64_t>(move_ns_));
    cpu_in_moves_s_ += clock_.thread_cpu_s() - cpu_before_s;

    uint64_t far = 0;
    for (auto& tracked : tracked_) {
        for (int node : tracked->nodes) far += place_of(node) == Place::far;
    }
    set(Stat::near_pages, near_count());
    set(Stat::far_pages, far);
}

// A cost that was measured at a bad moment must not keep all pages where they are for ever: unused,
// it fades, and from half of it on it is a guess again, to be tried on a few pages.
void Engine::age_move_cost(const Plan& plan, double seconds) {
    if (!plan.promote.empty() || !move_cost_known_) return;
    move_ns_ *= std::exp2(-seconds / cost_half_life_s);
    if (move_ns_ < measured_move_ns_ / 2) move_cost_known_ = false;
}

// Room first, then move, in batches, with the room asked anew before each.
void Engine::carry_out(const Plan& plan, const std::vector<PageRef>& refs) {
    const double start_s = clock_.now_s();
    const uint64_t limit = config_.near_limit_bytes / page_bytes;
    auto demote = plan.demote.begin();
    auto promote = plan.promote.begin();
    auto left = [](auto at, const auto& list) { return static_cast<uint64_t>(list.end() - at); };
    const bool known = move_cost_known_;
    uint64_t near_pages = near_count();
    while (demote != plan.demote.end() || promote != plan.promote.end()) {
        if (clock_.now_s() - start_s > carry_out_limit_s) break;
        if (config_.move_limit_bytes_per_s > 0 && move_credit_bytes_ < page_bytes) break;
        uint64_t room =
            near_pages < limit ? std::min(limit - near_pages, room_pages(config_.near_nodes)) : 0;
        // Before the first move the plan rests on a guess of its cost: try a few, then decide anew.
        uint64_t batch = move_cost_known_ ? batch_pages(move_ns_) : trial_pages;
        uint64_t wanted = std::min<uint64_t>(left(promote, plan.promote), batch);
        if (demote != plan.demote.end() && (room < wanted || wanted == 0)) {
            uint64_t count = std::min<uint64_t>(left(demote, plan.demote), batch);
            near_pages -= move_some(demote, count, refs, config_.far_nodes, Stat::demoted);
        } else {
            if (wanted == 0 || room == 0) break;
            near_pages += move_some(promote, std::min(wanted, room), refs, config_.near_nodes,
                                    Stat::promoted);
        }
        if (!known) break;
    }
    count(Stat::no_room, left(demote, plan.demote) + left(promote, plan.promote));
}

// Moves the next `count` pages of a list to the first target with the most room; returns how many
// are there now.
uint64_t Engine::move_some(std::vector<uint32_t>::const_iterator& at, uint64_t count,
                           const std::vector<PageRef>& refs, const std::vector<int>& targets,
                           Stat counter) {
    int target = targets.front();
    uint64_t best = 0;
    for (int node : targets) {
        uint64_t room = room_pages({node});
        if (room > best) {
            best = room;
            target = node;
        }
    }
    std::vector<PageRef> pages;
    std::vector<uint64_t> addresses;
    for (uint64_t i = 0; i < count; ++i, ++at) {
        pages.push_back(refs[*at]);
        addresses.push_back(refs[*at].owner->range.start + refs[*at].page * page_bytes);
    }
    double start_s = clock_.now_s();
    MoveReport report = mover_.move(0, addresses, target);
    double spent_ns = (clock_.now_s() - start_s) * 1e9;
    for (size_t i = 0; i < pages.size(); ++i) {
        int node = report.nodes[i];
        pages[i].owner->nodes[pages[i].page] = node < 0 ? -1 : node;
        pages[i].owner->rested[pages[i].page] = 0;
    }
    this->count(counter, report.moved);
    this->count(Stat::failed, report.failed);
    this->count(Stat::move_ns, static_cast<uint64_t>(spent_ns));
    if (report.moved >= measured_pages_min) {
        double measured_ns = spent_ns / double(report.moved);
        move_ns_ = move_cost_known_ ? 0.7 * move_ns_ + 0.3 * measured_ns : measured_ns;
        move_cost_known_ = true;
        measured_move_ns_ = move_ns_;
    }
    move_credit_bytes_ -= double(report.moved) * page_bytes;
    std::lock_guard guard(words_lock_);
    for (auto [reason, failed] : report.reasons) reasons_[reason] += failed;
    return report.moved + report.already;
}

Place Engine::place_of(int node) const {
    if (contains(config_.near_nodes, node)) return Place::near;
    return contains(config_.far_nodes, node) ? Place::far : Place::unknown;
}

uint64_t Engine::room_pages(const std::vector<int>& nodes) {
    uint64_t pages = 0;
    for (int node : nodes) {
        auto room = kernel_.room_bytes(node);
        if (room) {
            pages += *room / page_bytes;
        } else {
            trouble(room.error().sentence);  // the node is gone: no room there
        }
    }
    return pages;
}

uint64_t Engine::near_count() const {
    uint64_t pages = 0;
    for (auto& tracked : tracked_) {
        for (int node : tracked->nodes) pages += place_of(node) == Place::near;
    }
    return pages;
}

void Engine::drop(size_t index, const Error& why) {
    trouble(why.sentence + "; no longer tracked");
    sampler_.remove(tracked_[index]->range);
    set(Stat::tracked_bytes, stat(Stat::tracked_bytes) - tracked_[index]->range.pages * page_bytes);
    tracked_.erase(tracked_.begin() + static_cast<ptrdiff_t>(index));
}

void Engine::trouble(std::string sentence) {
    std::lock_guard guard(words_lock_);
    trouble_ = std::move(sentence);
}

uint64_t Engine::stat(Stat stat) const { return stats_[static_cast<size_t>(stat)]; }

Reasons Engine::reasons() const {
    std::lock_guard guard(words_lock_);
    return reasons_;
}

std::string Engine::status() const {
    std::string out = text(
        "%llu windows by %s; %.1f MiB of the tracked pages are near, %.1f MiB far; %llu promoted, "
        "%llu demoted, %llu failed",
        static_cast<unsigned long long>(stat(Stat::windows)), sampler_.describe().c_str(),
        mib(stat(Stat::near_pages)), mib(stat(Stat::far_pages)),
        static_cast<unsigned long long>(stat(Stat::promoted)),
        static_cast<unsigned long long>(stat(Stat::demoted)),
        static_cast<unsigned long long>(stat(Stat::failed)));
    if (stat(Stat::tracked_bytes) == 0) out += "; nothing is tracked";
    if (ran_out_) out += "; it has ended for lack of memory, the pages stay where they are";
    std::lock_guard guard(words_lock_);
    if (!trouble_.empty()) out += "; last trouble: " + trouble_;
    return out;
}

}  // namespace libpool
