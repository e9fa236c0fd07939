// SPDX-License-Identifier: Apache-2.0
#include "tier/engine.h"

#include <algorithm>
#include <exception>

#include "uapi.h"

namespace libpool::tier {

namespace {

constexpr uint64_t block_span_bytes = block_pages * page_bytes;

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

// A caller's way to the lock, which the engine's own thread takes again and again.
std::unique_lock<std::mutex> Engine::enter() const {
    ++waiting_;
    std::unique_lock guard(lock_);
    --waiting_;
    return guard;
}

Result<void> Engine::add(const AddressRun& range) {
    const auto guard = enter();
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
    policy_.track(tracked->ids);
    if (huge_.size() < tracked->ids.end() / block_pages) {
        huge_.resize(tracked->ids.end() / block_pages);
    }
    // Its page numbers may have been another range's.
    for (PageId page = first; page < tracked->ids.end(); page += block_pages) {
        huge_[page / block_pages] = false;
    }
    ++changes_;
    const Tracked& here = *tracked;
    auto place_in_order = std::find_if(tracked_.begin(), tracked_.end(),
                                       [&](const auto& other) { return other->ids.first > first; });
    tracked_.insert(place_in_order, std::move(tracked));
    ask_all(here);
    return {};
}

Result<void> Engine::remove(uint64_t start) {
    const auto guard = enter();
    for (size_t i = 0; i < tracked_.size(); ++i) {
        if (tracked_[i]->range.start != start) continue;
        sampler_.remove(tracked_[i]->range);
        policy_.forget(tracked_[i]->ids);
        tracked_.erase(tracked_.begin() + static_cast<ptrdiff_t>(i));
        ++changes_;
        return {};
    }
    return fail(ENOENT, "no tracked range starts at 0x%llx", hex(start));
}

void Engine::clear() {
    const auto guard = enter();
    for (const auto& tracked : tracked_) {
        sampler_.remove(tracked->range);
        policy_.forget(tracked->ids);
    }
    tracked_.clear();
    ++changes_;
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

Result<void> Engine::hint(const AddressRun& range, Hint hint) {
    const auto guard = enter();
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
    const auto guard = enter();
    config_.near_nodes = std::move(near);
    config_.far_nodes = std::move(far);
    ++changes_;
    for (const auto& tracked : tracked_) ask_all(*tracked);
}

void Engine::set_near_limit(uint64_t bytes) {
    const auto guard = enter();
    config_.near_limit_bytes = bytes;
}

void Engine::set_move_limit(uint64_t bytes_per_s) {
    const auto guard = enter();
    config_.move_limit_bytes_per_s = bytes_per_s;
    move_credit_bytes_ = 0;
}

void Engine::set_cpu_share(double share) {
    const auto guard = enter();
    policy_.set_cpu_share(share);
}

void Engine::set_loss_ns(double loss_ns) {
    const auto guard = enter();
    config_.loss_ns = loss_ns;
}

EngineStatus Engine::status() const {
    const auto guard = enter();
    EngineStatus status = totals_;
    status.policy = policy_.status();
    status.sampler = info_;
    status.sampler.costs = arm_cost_.costs();
    status.ranges = tracked_.size();
    for (const auto& tracked : tracked_) {
        status.tracked_bytes += tracked->range.pages * page_bytes;
    }
    status.policy.memory_bytes += double(huge_.size()) / 8;
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
    const auto guard = enter();
    const Tracked* owner = find_address(address);
    if (!owner) return fail(ENOENT, "0x%llx is in no tracked range", hex(address));
    return policy_.explain(owner->first + PageId((address - owner->range.start) / page_bytes));
}

std::vector<Engine::Rates> Engine::rates() const {
    const auto guard = enter();
    std::vector<Rates> all;
    for (const auto& tracked : tracked_) {
        all.push_back({tracked->range.start,
                       policy_.rates({tracked->first, uint32_t(tracked->range.pages)})});
    }
    return all;
}

std::vector<TierPolicy::Step> Engine::benefit() const {
    const auto guard = enter();
    return policy_.benefit();
}

}  // namespace libpool::tier
