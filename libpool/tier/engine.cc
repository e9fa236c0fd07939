// SPDX-License-Identifier: Apache-2.0
#include "tier/engine.h"

#include <algorithm>
#include <cmath>
#include <exception>

#include "uapi.h"

namespace libpool::tier {

namespace {

constexpr size_t refresh_pages = 512;      // asked about per decision, in turn
constexpr double carry_out_limit_s = 1.0;  // older decisions than this are not worth carrying out
constexpr double idle_wait_s = 0.1;        // nothing is tracked
constexpr double longest_wait_s = 0.5;     // then it is asked whether the pause is still right
constexpr uint64_t grown_times = 4;        // so much more memory, and it is not
constexpr double history_s = 10;
constexpr uint64_t block_span_bytes = block_pages * page_bytes;

bool contains(const std::vector<int>& nodes, int node) {
    return std::find(nodes.begin(), nodes.end(), node) != nodes.end();
}

uint64_t touched_pages(const Look& look) {
    return uint64_t(std::ranges::count_if(look.sights, [](Sight s) { return s < rung_limit; }));
}

unsigned long long hex(uint64_t address) { return address; }

}  // namespace

Engine::Engine(Sampler& sampler, TierPolicy& policy, Mover& mover, Kernel& kernel, Clock& clock,
               EngineConfig config)
    : sampler_(sampler),
      policy_(policy),
      mover_(mover),
      kernel_(kernel),
      clock_(clock),
      config_(std::move(config)),
      info_(sampler.info()),
      arm_cost_(info_.costs) {}

PageId Engine::allocate(uint32_t blocks) const {
    PageId at = 0;
    for (const auto& tracked : tracked_) {
        if (tracked->ids.first - at >= blocks * block_pages) return at;
        at = tracked->ids.end();
    }
    return at;
}

Result<void> Engine::add(const AddressRun& range) {
    std::lock_guard guard(lock_);
    if (range.pages == 0 || range.start % page_bytes != 0) {
        return fail(EINVAL, "0x%llx with %llu pages is no range of whole pages", hex(range.start),
                    hex(range.pages));
    }
    if (tracked_.size() == range_limit) {
        return fail(ENOSPC, "%zu ranges are tracked already: that is the limit", range_limit);
    }
    for (const auto& other : tracked_) {
        if (range.start < other->range.end() && other->range.start < range.end()) {
            return fail(EEXIST, "0x%llx overlaps a range that is tracked already",
                        hex(range.start));
        }
    }
    const uint64_t aligned = range.start / block_span_bytes * block_span_bytes;
    const uint64_t blocks = (range.end() - aligned + block_span_bytes - 1) / block_span_bytes;
    PageId first = allocate(uint32_t(std::min<uint64_t>(blocks, UINT32_MAX)));
    if (first + blocks * block_pages > UINT32_MAX) {
        return fail(ENOSPC, "%llu more pages are too many to track: the limit is 16 TiB in all",
                    hex(range.pages));
    }
    if (auto added = sampler_.add(range); !added) return added;

    auto tracked = std::make_unique<Tracked>();
    tracked->id = next_id_++;
    tracked->range = range;
    tracked->ids = {first, uint32_t(blocks * block_pages)};
    tracked->first = first + PageId((range.start - aligned) / page_bytes);
    tracked->placed.resize(range.pages);
    policy_.track(tracked->ids);
    if (huge_.size() < tracked->ids.end() / block_pages) {
        huge_.resize(tracked->ids.end() / block_pages);
    }
    std::vector<PageId> all(range.pages);
    for (size_t i = 0; i < all.size(); ++i) all[i] = tracked->first + PageId(i);
    auto place_in_order = std::find_if(tracked_.begin(), tracked_.end(),
                                       [&](const auto& other) { return other->ids.first > first; });
    tracked_.insert(place_in_order, std::move(tracked));
    ask(all);
    return {};
}

Result<void> Engine::remove(uint64_t start) {
    std::lock_guard guard(lock_);
    for (size_t i = 0; i < tracked_.size(); ++i) {
        if (tracked_[i]->range.start != start) continue;
        sampler_.remove(tracked_[i]->range);
        policy_.forget(tracked_[i]->ids);
        tracked_.erase(tracked_.begin() + static_cast<ptrdiff_t>(i));
        return {};
    }
    return fail(ENOENT, "no tracked range starts at 0x%llx", hex(start));
}

Engine::Tracked* Engine::find(PageId page) const {
    auto after =
        std::upper_bound(tracked_.begin(), tracked_.end(), page,
                         [](PageId id, const auto& tracked) { return id < tracked->first; });
    if (after == tracked_.begin()) return nullptr;
    Tracked* owner = std::prev(after)->get();
    return page - owner->first < owner->range.pages ? owner : nullptr;
}

const Engine::Tracked* Engine::find_address(uint64_t address) const {
    for (const auto& tracked : tracked_) {
        if (address >= tracked->range.start && address < tracked->range.end()) return tracked.get();
    }
    return nullptr;
}

uint64_t Engine::address_of(PageId page) const {
    const Tracked* owner = find(page);
    return owner ? owner->range.start + uint64_t(page - owner->first) * page_bytes : 0;
}

void Engine::run() {
    try {
        {
            std::lock_guard guard(lock_);
            first_program_cpu_s_ = clock_.program_cpu_s();
            first_thread_cpu_s_ = clock_.thread_cpu_s();
        }
        while (cycle()) {
        }
    } catch (const std::exception&) {
        ran_out_ = true;  // no sentence is made here: that takes memory
    }
}

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
    uint64_t deficit = 0;
    for (int node : config_.near_nodes) {
        deficit += kernel_.deficit_bytes(node).value_or(0) / page_bytes;
    }
    const uint64_t within = near_now + room;
    now.near_pages = std::min(limit, within > deficit ? within - deficit : 0);
    now.near_room_pages = std::min(room, limit > near_now ? limit - near_now : 0);
    now.far_room_pages = room_pages(config_.far_nodes);
    now.loss_ns = config_.loss_ns;
    now.move_ns = move_cost_.page_ns();
    now.split_ns = split_cost_.block_ns();
    now.can_split = why_no_split().empty();
    now.costs = arm_cost_.costs();
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
        std::lock_guard guard(lock_);
        if (!go_on) {
            sampler_.disarm();
            return false;
        }
        auto looked = sampler_.look(Sight(rung));
        if (!looked) {
            trouble(looked.error().sentence);
            sampler_.disarm();
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
        if (page % block_pages != 0) continue;
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
    std::vector<PageId> newborn, gone;
    size_t at = 0;
    for (const Run& run : reading.runs) {
        Tracked* owner = find(run.first);
        for (PageId page = run.first; page < run.end(); ++page, ++at) {
            bool present = reading.sights[at] != page_absent;
            bool placed = owner->placed[page - owner->first];
            if (present && !placed) newborn.push_back(page);
            if (!present && placed) gone.push_back(page);
        }
    }
    ask(newborn);
    ask(gone);
}

// Others move pages too (the kernel, a daemon): each decision asks about some, in turn.
void Engine::refresh_places() {
    uint64_t all = 0;
    for (const auto& tracked : tracked_) all += tracked->range.pages;
    if (all == 0) return;
    std::vector<PageId> pages;
    uint64_t at = refresh_at_ % all, skipped = 0;
    for (const auto& tracked : tracked_) {
        for (uint64_t i = at > skipped ? at - skipped : 0;
             i < tracked->range.pages && pages.size() < refresh_pages; ++i) {
            pages.push_back(tracked->first + PageId(i));
        }
        skipped += tracked->range.pages;
    }
    refresh_at_ = (at + pages.size()) % all;
    ask(pages);
}

void Engine::ask(std::span<const PageId> pages) {
    if (pages.empty()) return;
    std::vector<uint64_t> addresses;
    addresses.reserve(pages.size());
    for (PageId page : pages) addresses.push_back(address_of(page));
    std::vector<int> nodes = where(kernel_, config_.pid, addresses);
    std::vector<PageId> at[3];
    for (size_t i = 0; i < pages.size(); ++i) {
        Place place = nodes[i] < 0 ? Place::nowhere : place_of(nodes[i]);
        at[size_t(place)].push_back(pages[i]);
        Tracked* owner = find(pages[i]);
        owner->placed[pages[i] - owner->first] = place != Place::nowhere;
    }
    for (size_t place = 0; place < 3; ++place) policy_.place(at[place], Place(place));
}

void Engine::decide(double now_s) {
    if (config_.move_limit_bytes_per_s > 0 && last_decide_s_ >= 0) {
        auto limit = double(config_.move_limit_bytes_per_s);
        move_credit_bytes_ = std::min(move_credit_bytes_ + (now_s - last_decide_s_) * limit, limit);
    }
    const double since_s = last_decide_s_ >= 0 ? now_s - last_decide_s_ : 0;
    last_decide_s_ = now_s;
    refresh_places();
    Plan plan = policy_.decide(situation());
    again_s_ = plan.again_s;
    if (plan.promote.empty()) move_cost_.unused(since_s);
    ++totals_.decisions;
    totals_.wanted_pages += plan.demote.size() + plan.promote.size();
    double cpu_before_s = clock_.thread_cpu_s();
    split(plan);
    carry_out(plan);
    cpu_in_moves_s_ += clock_.thread_cpu_s() - cpu_before_s;
}

std::string Engine::why_no_split() const {
    if (!info_.parts) {
        return text("%s sees no parts of huge pages: none is split", info_.name.c_str());
    }
    return split_cost_.hopeless();
}

void Engine::split(const Plan& plan) {
    for (const auto& tracked : tracked_) {
        if (!plan.huge_again || !std::exchange(tracked->no_huge, false)) continue;
        // Where that is refused it was refused before, too.
        (void)kernel_.set_huge(config_.pid, tracked->range.start, tracked->range.pages * page_bytes,
                               HugePages::usual);
    }
    for (PageId page : plan.split) {
        Tracked* owner = find(page);
        if (!owner || find(page + block_pages - 1) != owner) continue;
        const double start_s = clock_.now_s();
        auto done = kernel_.split_huge(config_.pid, address_of(page));
        const double spent_s = clock_.now_s() - start_s;
        split_cost_.took(spent_s * 1e9, done);
        totals_.split_s += spent_s;
        if (!done) {
            ++totals_.unsplit_blocks;
            trouble(done.error().sentence);
            if (!split_cost_.hopeless().empty()) return;
            continue;
        }
        ++totals_.split_blocks;
        huge_[page / block_pages] = false;
        if (owner->no_huge) continue;
        // Else what was parted would be made one again within minutes, near or far. Once a range:
        // where it is not to be had, that is what happens.
        owner->no_huge = true;
        auto told = kernel_.set_huge(config_.pid, owner->range.start,
                                     owner->range.pages * page_bytes, HugePages::none);
        if (!told) totals_.split_note = told.error().sentence;
    }
}

// Room first, then move, in batches, with the room asked anew before each.
void Engine::carry_out(const Plan& plan) {
    const double start_s = clock_.now_s();
    const uint64_t limit = config_.near_limit_bytes / page_bytes;
    std::span<const PageId> demote = plan.demote, promote = plan.promote;
    const bool known = move_cost_.known();
    uint64_t near_pages = policy_.status().near_pages;
    uint64_t vacated = 0;  // by us just now: per-CPU lists hide such pages from MemFree
    while (!demote.empty() || !promote.empty()) {
        if (clock_.now_s() - start_s > carry_out_limit_s) break;
        if (config_.move_limit_bytes_per_s > 0 && move_credit_bytes_ < page_bytes) break;
        uint64_t room = near_pages < limit
                            ? std::min(limit - near_pages, room_pages(config_.near_nodes) + vacated)
                            : 0;
        const uint64_t batch = move_cost_.batch();
        uint64_t wanted = std::min<uint64_t>(promote.size(), batch);
        if (!demote.empty() && (room < wanted || wanted == 0)) {
            uint64_t count = std::min<uint64_t>(demote.size(), batch);
            uint64_t went = move_some(demote.first(count), config_.far_nodes, Place::far);
            near_pages -= std::min(near_pages, went);
            vacated += went;
            demote = demote.subspan(count);
            continue;
        }
        if (wanted == 0 || room == 0) break;
        uint64_t count = std::min(wanted, room);
        uint64_t came = move_some(promote.first(count), config_.near_nodes, Place::near);
        near_pages += came;
        vacated -= std::min(vacated, came);
        promote = promote.subspan(count);
        // Before the first move the plan rests on a guess of its cost: one batch, then decide anew.
        if (!known) break;
    }
    totals_.no_room_pages += demote.size() + promote.size();
}

// Moves pages to the target with the most room; returns how many are there now.
uint64_t Engine::move_some(std::span<const PageId> pages, const std::vector<int>& targets,
                           Place where) {
    if (targets.empty()) return 0;  // the last node of the tier is gone
    int target = targets.front();
    uint64_t best = 0;
    for (int node : targets) {
        uint64_t room = room_pages({node});
        if (room > best) {
            best = room;
            target = node;
        }
    }
    std::vector<uint64_t> small, huge;
    std::vector<PageId> small_ids, huge_ids;
    for (size_t i = 0; i < pages.size(); ++i) {
        bool whole = huge_[pages[i] / block_pages] && pages[i] % block_pages == 0 &&
                     i + block_pages <= pages.size() &&
                     pages[i + block_pages - 1] == pages[i] + block_pages - 1;
        if (!whole) {
            small.push_back(address_of(pages[i]));
            small_ids.push_back(pages[i]);
            continue;
        }
        huge.push_back(address_of(pages[i]));
        for (PageId page = pages[i]; page < pages[i] + block_pages; ++page)
            huge_ids.push_back(page);
        i += block_pages - 1;
    }
    learn_call_cost(small.empty() ? huge.front() : small.front());
    double start_s = clock_.now_s();
    MoveReport report;
    if (!small.empty()) report.add(mover_.move(config_.pid, small, target));
    if (!huge.empty()) report.add(mover_.move_huge(config_.pid, huge, target));
    double spent_ns = (clock_.now_s() - start_s) * 1e9;
    small_ids.insert(small_ids.end(), huge_ids.begin(), huge_ids.end());
    std::vector<PageId> at[3];
    for (size_t i = 0; i < small_ids.size(); ++i) {
        Place place = report.nodes[i] < 0 ? Place::nowhere : place_of(report.nodes[i]);
        at[size_t(place)].push_back(small_ids[i]);
        if (place == Place::nowhere) {
            Tracked* owner = find(small_ids[i]);
            owner->placed[small_ids[i] - owner->first] = false;
        }
    }
    for (size_t place = 0; place < 3; ++place) policy_.place(at[place], Place(place));

    (where == Place::near ? totals_.promoted_pages : totals_.demoted_pages) += report.moved;
    totals_.failed_pages += report.failed;
    totals_.move_s += spent_ns * 1e-9;
    for (auto [reason, failed] : report.reasons) totals_.reasons[reason] += failed;
    if (report.moved > 0) move_cost_.took(spent_ns, report.moved);
    move_credit_bytes_ -= double(report.moved) * page_bytes;
    return report.moved + report.already;
}

void Engine::learn_call_cost(uint64_t address) {
    if (!move_cost_.call_is_due()) return;
    int node = where(kernel_, config_.pid, {&address, 1}).front(), status = 0;
    if (node < 0) return;
    const double start_s = clock_.now_s();
    kernel_.move_pages(config_.pid, {&address, 1}, {&node, 1}, {&status, 1});
    move_cost_.call_took((clock_.now_s() - start_s) * 1e9);
}

Place Engine::place_of(int node) const {
    if (contains(config_.near_nodes, node)) return Place::near;
    return contains(config_.far_nodes, node) ? Place::far : Place::nowhere;
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

Result<void> Engine::hint(const AddressRun& range, Hint hint) {
    std::lock_guard guard(lock_);
    bool found = false;
    for (const auto& tracked : tracked_) {
        uint64_t start = std::max(range.start, tracked->range.start);
        uint64_t end = std::min(range.end(), tracked->range.end());
        if (start >= end) continue;
        found = true;
        policy_.hint({tracked->first + PageId((start - tracked->range.start) / page_bytes),
                      uint32_t((end - start) / page_bytes)},
                     hint);
    }
    if (!found) {
        return fail(ENOENT, "nothing of the %llu pages at 0x%llx is tracked", hex(range.pages),
                    hex(range.start));
    }
    return {};
}

void Engine::set_nodes(std::vector<int> near, std::vector<int> far) {
    std::lock_guard guard(lock_);
    config_.near_nodes = std::move(near);
    config_.far_nodes = std::move(far);
    for (const auto& tracked : tracked_) {
        std::vector<PageId> all(tracked->range.pages);
        for (size_t i = 0; i < all.size(); ++i) all[i] = tracked->first + PageId(i);
        ask(all);
    }
}

void Engine::set_near_limit(uint64_t bytes) {
    std::lock_guard guard(lock_);
    config_.near_limit_bytes = bytes;
}

void Engine::set_move_limit(uint64_t bytes_per_s) {
    std::lock_guard guard(lock_);
    config_.move_limit_bytes_per_s = bytes_per_s;
    move_credit_bytes_ = 0;
}

void Engine::set_cpu_share(double share) {
    std::lock_guard guard(lock_);
    policy_.set_cpu_share(share);
}

void Engine::set_loss_ns(double loss_ns) {
    std::lock_guard guard(lock_);
    config_.loss_ns = loss_ns;
}

EngineStatus Engine::status() const {
    std::lock_guard guard(lock_);
    EngineStatus status = totals_;
    status.policy = policy_.status();
    status.sampler = info_;
    status.sampler.costs = arm_cost_.costs();
    status.ranges = tracked_.size();
    for (const auto& tracked : tracked_) {
        status.tracked_bytes += tracked->range.pages * page_bytes;
        status.policy.memory_bytes += double(tracked->range.pages) / 8;
    }
    status.near_bytes = status.policy.near_pages * page_bytes;
    status.far_bytes = status.policy.far_pages * page_bytes;
    status.near_limit_bytes = config_.near_limit_bytes;
    status.move_limit_bytes_per_s = config_.move_limit_bytes_per_s;
    status.loss_ns = config_.loss_ns;
    status.move_ns = move_cost_.page_ns();
    if (auto why = why_no_split(); !why.empty()) status.split_note = why;
    status.trouble = trouble_;
    if (ran_out_) {
        status.trouble = "it has ended for lack of memory, the pages stay where they are";
    }
    return status;
}

Result<Explanation> Engine::explain(uint64_t address) const {
    std::lock_guard guard(lock_);
    const Tracked* owner = find_address(address);
    if (!owner) return fail(ENOENT, "0x%llx is in no tracked range", hex(address));
    return policy_.explain(owner->first + PageId((address - owner->range.start) / page_bytes));
}

std::vector<Engine::Rates> Engine::rates() const {
    std::lock_guard guard(lock_);
    std::vector<Rates> all;
    for (const auto& tracked : tracked_) {
        all.push_back({tracked->range.start,
                       policy_.rates({tracked->first, uint32_t(tracked->range.pages)})});
    }
    return all;
}

std::vector<TierPolicy::Step> Engine::benefit() const {
    std::lock_guard guard(lock_);
    return policy_.benefit();
}

}  // namespace libpool::tier
