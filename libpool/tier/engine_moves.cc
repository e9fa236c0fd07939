// SPDX-License-Identifier: Apache-2.0
// Of the engine: where pages are, and the moves and splits that were decided on.
#include <algorithm>
#include <numeric>
#include <utility>

#include "one_cpu.h"
#include "tier/engine.h"
#include "uapi.h"

namespace libpool::tier {

namespace {

constexpr size_t asked_at_once = 16384;    // pages
constexpr size_t refresh_pages = 512;      // asked about per decision, in turn
constexpr double carry_out_limit_s = 1.0;  // older decisions than this are not worth carrying out
// Callers are waited for until none is left, but not for longer than a batch or two may take.
constexpr double let_in_s = 1e-4;
constexpr int let_in_most = 50;

// Gives a lock up for its lifetime, however that ends.
class Unlocked {
  public:
    explicit Unlocked(std::mutex& lock) : lock_(lock) { lock_.unlock(); }
    ~Unlocked() { lock_.lock(); }
    Unlocked(const Unlocked&) = delete;

  private:
    std::mutex& lock_;
};

bool contains(const std::vector<int>& nodes, int node) {
    return std::find(nodes.begin(), nodes.end(), node) != nodes.end();
}

}  // namespace

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

// In parts: the lists for all pages of a large range would be half a percent of its memory.
void Engine::ask_all(const Tracked& tracked) {
    std::vector<PageId> pages;
    for (uint64_t at = 0; at < tracked.range.pages; at += pages.size()) {
        pages.resize(std::min<uint64_t>(asked_at_once, tracked.range.pages - at));
        std::iota(pages.begin(), pages.end(), tracked.first + PageId(at));
        ask(pages);
    }
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
    if (split(plan)) {
        carry_out(plan);
    } else {
        totals_.no_room_pages += plan.demote.size() + plan.promote.size();
    }
    cpu_in_moves_s_ += clock_.thread_cpu_s() - cpu_before_s;
}

// Between two batches, with the lock held: moves take as long as they take, and who adds memory or
// gives a hint meanwhile is not to wait for them. False: what is left of the plan is void.
bool Engine::let_callers_in() {
    if (clock_.stopped()) return false;
    if (waiting_ == 0) return true;
    const uint64_t changes = changes_;
    bool go_on = true;
    {
        const Unlocked others_come(lock_);
        for (int i = 0; go_on && waiting_ > 0 && i < let_in_most; ++i) {
            go_on = clock_.wait(let_in_s);
        }
    }
    return go_on && changes_ == changes;
}

std::string Engine::why_no_split() const {
    if (!info_.parts) {
        return text("%s sees no parts of huge pages: none is split", info_.name.c_str());
    }
    return split_cost_.hopeless();
}

// False: the rest of the plan is void.
bool Engine::split(const Plan& plan) {
    for (const auto& tracked : tracked_) {
        if (!plan.huge_again || !std::exchange(tracked->no_huge, false)) continue;
        // Where that is refused it was refused before, too.
        (void)kernel_.set_huge(config_.pid, tracked->range.start, tracked->range.pages * page_bytes,
                               HugePages::usual);
    }
    for (PageId page : plan.split) {
        if (!let_callers_in()) return false;
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
            if (!split_cost_.hopeless().empty()) return true;
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
    return true;
}

// The first `wanted` pages or a few more, `most` at most, without cutting a huge one: it moves
// whole whatever part of it is asked for.
uint64_t Engine::whole_units(std::span<const PageId> pages, uint64_t wanted, uint64_t most) const {
    auto cuts = [&](uint64_t count) {
        return count > 0 && count < pages.size() && huge_[pages[count] / block_pages] &&
               pages[count] / block_pages == pages[count - 1] / block_pages;
    };
    uint64_t count = std::min<uint64_t>(wanted, pages.size());
    while (cuts(count)) ++count;
    if (count <= most) return count;
    for (count = std::min<uint64_t>(wanted, pages.size()); cuts(count);) --count;
    return count;
}

// Room first, then move, in batches, with the room asked anew before each.
void Engine::carry_out(const Plan& plan) {
    const double start_s = clock_.now_s();
    std::span<const PageId> demote = plan.demote, promote = plan.promote;
    const bool known = move_cost_.known();
    uint64_t near_pages = policy_.status().near_pages;
    // Pages that leave are free for us, though a CPU's list of free pages may hide them from
    // MemFree: so there is room by our own account, as long as MemFree may be that far off.
    auto room_now = [&] {
        return int64_t(room_pages(config_.near_nodes)) - int64_t(deficit_pages());
    };
    int64_t own_room = room_now(), vacated = 0;
    const OneCpu stay;
    while ((!demote.empty() || !promote.empty()) && let_callers_in()) {
        const uint64_t limit = config_.near_limit_bytes / page_bytes;
        if (clock_.now_s() - start_s > carry_out_limit_s) break;
        if (config_.move_limit_bytes_per_s > 0 && move_credit_bytes_ < page_bytes) break;
        const int64_t free = std::min(own_room, room_now() + vacated);
        const uint64_t room =
            near_pages < limit ? std::min(limit - near_pages, uint64_t(std::max<int64_t>(free, 0)))
                               : 0;
        const uint64_t batch = move_cost_.batch();
        const uint64_t wanted = std::min<uint64_t>(promote.size(), batch);
        const uint64_t count = whole_units(promote, std::min(wanted, room), room);
        if (!demote.empty() && (wanted == 0 || count < wanted)) {
            const uint64_t leave = whole_units(demote, batch, demote.size());
            uint64_t went = move_some(demote.first(leave), config_.far_nodes, Place::far);
            near_pages -= std::min(near_pages, went);
            own_room += int64_t(went);
            vacated += int64_t(went);
            demote = demote.subspan(leave);
            continue;
        }
        if (count == 0) break;
        uint64_t came = move_some(promote.first(count), config_.near_nodes, Place::near);
        near_pages += came;
        own_room -= int64_t(came);
        // Too few: it is not where we thought.
        vacated = came < count ? 0 : std::max<int64_t>(vacated - int64_t(came), 0);
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
    const double start_s = clock_.now_s(), cpu_s = clock_.thread_cpu_s();
    MoveReport report;
    if (!small.empty()) report.add(mover_.move(config_.pid, small, target));
    if (!huge.empty()) report.add(mover_.move_huge(config_.pid, huge, target));
    totals_.move_s += clock_.now_s() - start_s;
    // What it takes from the program. On a busy machine the clock counts the program's turns, too.
    const double spent_ns = (clock_.thread_cpu_s() - cpu_s) * 1e9;
    small_ids.insert(small_ids.end(), huge_ids.begin(), huge_ids.end());
    std::vector<PageId> at[3];
    for (size_t i = 0; i < small_ids.size(); ++i) {
        Place place = report.nodes[i] < 0 ? Place::nowhere : place_of(report.nodes[i]);
        at[size_t(place)].push_back(small_ids[i]);
    }
    for (size_t place = 0; place < 3; ++place) policy_.place(at[place], Place(place));

    (where == Place::near ? totals_.promoted_pages : totals_.demoted_pages) += report.moved;
    totals_.failed_pages += report.failed;
    for (auto [reason, failed] : report.reasons) totals_.reasons[reason] += failed;
    // Those that failed took their part of it.
    if (report.moved > 0) move_cost_.took(spent_ns, report.moved + report.failed);
    move_credit_bytes_ -= double(report.moved) * page_bytes;
    return report.moved + report.already;
}

void Engine::learn_call_cost(uint64_t address) {
    if (!move_cost_.call_is_due()) return;
    int node = where(kernel_, config_.pid, {&address, 1}).front(), status = 0;
    if (node < 0) return;
    const double cpu_s = clock_.thread_cpu_s();
    kernel_.move_pages(config_.pid, {&address, 1}, {&node, 1}, {&status, 1});
    move_cost_.call_took((clock_.thread_cpu_s() - cpu_s) * 1e9);
}

Place Engine::place_of(int node) const {
    if (contains(config_.near_nodes, node)) return Place::near;
    return contains(config_.far_nodes, node) ? Place::far : Place::nowhere;
}

// What the kernel itself lacks of near memory.
uint64_t Engine::deficit_pages() {
    uint64_t pages = 0;
    for (int node : config_.near_nodes) {
        pages += kernel_.deficit_bytes(node).value_or(0) / page_bytes;
    }
    return pages;
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

}  // namespace libpool::tier
