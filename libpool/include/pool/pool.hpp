// SPDX-License-Identifier: Apache-2.0
// The C++ face of libpool: owners and Result values over pool.h, nothing more. Header only, so that
// the ABI of the library stays the C one. Conventions (units, threads) are those of pool.h.
#pragma once

#include <pool/pool.h>
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <expected>
#include <functional>
#include <map>
#include <memory>
#include <memory_resource>
#include <mutex>
#include <new>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace pool {

struct Error {
    int code;             // positive errno
    std::string message;  // one sentence
};

template <typename T>
using Result = std::expected<T, Error>;

inline std::unexpected<Error> last_error(int negative_errno) {
    return std::unexpected(Error{-negative_errno, pool_last_error()});
}

namespace detail {
template <auto Free>
struct Deleter {
    template <typename T>
    void operator()(T* object) const {
        Free(object);
    }
};
template <typename T, auto Free>
using Owner = std::unique_ptr<T, Deleter<Free>>;
}  // namespace detail

enum class TierSource { kernel = 0, cpuless = 1, single = 2, declared = 3, measured = 4 };

// One node at the time of the snapshot.
struct Node {
    int id;
    int tier;
    uint64_t total_bytes;
    uint64_t free_bytes;
    uint64_t reclaimable_bytes;
    uint64_t watermark_bytes;
    uint64_t cpus;
    uint64_t distance;
    // 0 = not known: what the firmware says, and what Topology::measure() found.
    uint64_t read_latency_ns;
    uint64_t write_latency_ns;
    uint64_t read_mb_per_s;
    uint64_t write_mb_per_s;
    uint64_t load_ns;
};

class Topology {
  public:
    // root: a folder with sys/ and proc/; empty = this machine.
    static Result<Topology> read(const std::string& root = {}) {
        pool_topology* raw = nullptr;
        if (int rc = pool_topology_read(root.empty() ? nullptr : root.c_str(), &raw); rc < 0) {
            return last_error(rc);
        }
        return Topology(raw);
    }

    TierSource source() const { return static_cast<TierSource>(pool_topology_source(get())); }
    std::string reason() const { return pool_topology_reason(get()); }
    size_t tier_count() const { return pool_topology_tier_count(get()); }
    std::string tier_name(size_t tier) const {
        const char* name = pool_topology_tier_name(get(), tier);
        return name ? name : "";
    }

    std::vector<Node> nodes() const {
        std::vector<Node> all;
        for (size_t i = 0; i < pool_topology_node_count(get()); ++i) {
            int id = pool_topology_node(get(), i);
            auto value = [&](pool_node_value v) { return pool_topology_node_value(get(), id, v); };
            all.push_back({id, pool_topology_node_tier(get(), id), value(POOL_NODE_TOTAL_BYTES),
                           value(POOL_NODE_FREE_BYTES), value(POOL_NODE_RECLAIMABLE_BYTES),
                           value(POOL_NODE_WATERMARK_BYTES), value(POOL_NODE_CPUS),
                           value(POOL_NODE_DISTANCE), value(POOL_NODE_READ_LATENCY_NS),
                           value(POOL_NODE_WRITE_LATENCY_NS), value(POOL_NODE_READ_MB_PER_S),
                           value(POOL_NODE_WRITE_MB_PER_S), value(POOL_NODE_LOAD_NS)});
        }
        return all;
    }

    // Tiers by the caller's word, or by how long loads take: as pool_topology_declare(),
    // _measure().
    Result<void> declare(const std::vector<int>& near_nodes, const std::vector<int>& far_nodes) {
        int rc = pool_topology_declare(raw_.get(), near_nodes.data(), near_nodes.size(),
                                       far_nodes.data(), far_nodes.size());
        if (rc < 0) return last_error(rc);
        return {};
    }
    Result<void> measure() {
        if (int rc = pool_topology_measure(raw_.get()); rc < 0) return last_error(rc);
        return {};
    }

    const pool_topology* get() const { return raw_.get(); }

  private:
    explicit Topology(pool_topology* raw) : raw_(raw) {}
    detail::Owner<pool_topology, &pool_topology_free> raw_;
};

// A node and its part of an arena, 1…255.
struct NodeWeight {
    int node;
    unsigned weight;
};

class Arena {
  public:
    static Result<Arena> create(const Topology& topology, size_t tier, size_t size_bytes,
                                unsigned flags = POOL_ARENA_PREFER) {
        pool_arena* raw = nullptr;
        if (int rc = pool_arena_create(topology.get(), tier, size_bytes, flags, &raw); rc < 0) {
            return last_error(rc);
        }
        return Arena(raw);
    }
    static Result<Arena> create_growing(const Topology& topology, size_t tier, size_t size_bytes,
                                        size_t most_bytes, unsigned flags = POOL_ARENA_PREFER) {
        pool_arena* raw = nullptr;
        int rc =
            pool_arena_create_growing(topology.get(), tier, size_bytes, most_bytes, flags, &raw);
        if (rc < 0) return last_error(rc);
        return Arena(raw);
    }
    static Result<Arena> create_weighted(const Topology& topology,
                                         const std::vector<NodeWeight>& weights, size_t size_bytes,
                                         unsigned flags = POOL_ARENA_PREFER,
                                         size_t most_bytes = 0) {
        std::vector<int> nodes;
        std::vector<unsigned> ratio;
        for (auto [node, weight] : weights) {
            nodes.push_back(node);
            ratio.push_back(weight);
        }
        pool_arena* raw = nullptr;
        int rc = pool_arena_create_weighted(topology.get(), nodes.data(), ratio.data(),
                                            weights.size(), size_bytes, most_bytes, flags, &raw);
        if (rc < 0) return last_error(rc);
        return Arena(raw);
    }
    Result<void> grow(size_t bytes) {
        if (int rc = pool_arena_grow(raw_.get(), bytes); rc < 0) return last_error(rc);
        return {};
    }
    void* base() const { return pool_arena_base(raw_.get()); }
    size_t size_bytes() const { return pool_arena_size_bytes(raw_.get()); }
    size_t most_bytes() const { return pool_arena_most_bytes(raw_.get()); }
    size_t grain_bytes() const { return pool_arena_grain_bytes(raw_.get()); }

  private:
    explicit Arena(pool_arena* raw) : raw_(raw) {}
    detail::Owner<pool_arena, &pool_arena_destroy> raw_;
};

// A reason why moves failed, and for how many pages. reason 0: no error reported, not there either.
struct Failure {
    int reason;
    uint64_t pages;
};

// What an evacuation found and did. `stopped`: the progress function asked to stop.
struct Moved {
    uint64_t found_pages = 0;
    uint64_t done_pages = 0;
    uint64_t failed_pages = 0;
    bool stopped = false;
    std::vector<Failure> failures;
};

// Called between batches with pages done and in total; false stops.
using Progress = std::function<bool(uint64_t, uint64_t)>;

namespace detail {
inline int call_progress(void* context, uint64_t done_pages, uint64_t total_pages) {
    auto& progress = *static_cast<const Progress*>(context);
    return progress && !progress(done_pages, total_pages);
}

// A deadline that has passed leaves no time, not all of it.
constexpr uint64_t left_ms(std::chrono::milliseconds deadline) {
    return deadline.count() > 0 ? uint64_t(deadline.count()) : 0;
}

inline Result<Moved> take(int rc, pool_moved* raw) {
    if (rc < 0 && rc != -ECANCELED) return last_error(rc);
    Owner<pool_moved, &pool_moved_free> owned(raw);
    Moved moved{pool_moved_found_pages(raw),
                pool_moved_done_pages(raw),
                pool_moved_failed_pages(raw),
                rc < 0,
                {}};
    Failure one{};
    while (pool_moved_failure(raw, moved.failures.size(), &one.reason, &one.pages) == 0) {
        moved.failures.push_back(one);
    }
    return moved;
}
}  // namespace detail

struct Options {
    std::vector<std::pair<pool_option, uint64_t>> values;  // defaults for all that is not named
};

class Tiering {
  public:
    static Result<Tiering> start(const Topology& topology, const Options& options = {}) {
        pool_options* raw_options = nullptr;
        if (int rc = pool_options_new(&raw_options); rc < 0) return last_error(rc);
        detail::Owner<pool_options, &pool_options_free> owned(raw_options);
        for (auto [option, value] : options.values) {
            if (int rc = pool_options_set(raw_options, option, value); rc < 0)
                return last_error(rc);
        }
        pool_tiering* raw = nullptr;
        if (int rc = pool_tiering_start(topology.get(), raw_options, &raw); rc < 0) {
            return last_error(rc);
        }
        return Tiering(raw);
    }

    Result<void> add(void* base, size_t bytes) {
        return done(pool_tiering_add(get(), base, bytes));
    }
    Result<void> remove(void* base) { return done(pool_tiering_remove(get(), base)); }
    Result<void> hint(const void* base, size_t bytes, pool_hint_kind kind) {
        return done(pool_hint(get(), base, bytes, kind));
    }
    // Empties a node that must go, and uses it no more; readmit() takes that back.
    Result<Moved> drain(int node, std::chrono::milliseconds deadline,
                        const Progress& progress = {}) {
        pool_moved* raw = nullptr;
        int rc = pool_drain(get(), node, detail::left_ms(deadline), &detail::call_progress,
                            const_cast<Progress*>(&progress), &raw);
        return detail::take(rc, raw);
    }
    Result<void> readmit(int node) { return done(pool_readmit(get(), node)); }
    uint64_t stat(pool_stat stat) const { return pool_tiering_stat(get(), stat); }

    std::vector<Failure> failures() const {
        std::vector<Failure> all;
        Failure one{};
        while (pool_tiering_failure(get(), all.size(), &one.reason, &one.pages) == 0) {
            all.push_back(one);
        }
        return all;
    }

    std::string status() const {
        std::string words(2048, '\0');
        const int length = pool_tiering_status(get(), words.data(), words.size());
        words.resize(std::min(words.size() - 1, size_t(std::max(length, 0))));
        return words;
    }

  private:
    explicit Tiering(pool_tiering* raw) : raw_(raw) {}
    static Result<void> done(int rc) {
        if (rc < 0) return last_error(rc);
        return {};
    }
    pool_tiering* get() const { return raw_.get(); }
    detail::Owner<pool_tiering, &pool_tiering_stop> raw_;
};

struct ResourceOptions {
    unsigned flags = POOL_ARENA_PREFER;
    size_t first_bytes = 4 << 20;
    size_t most_bytes = 0;       // 0: as much as all nodes of the topology have
    Tiering* tiering = nullptr;  // tracks all of it, if given; outlives the resource
};

// std::pmr memory of one tier: an arena that doubles as it fills, first fit with neighbours joined.
// It is made to stand below a std::pmr::monotonic_buffer_resource or one of the pool resources,
// which ask it for few and large pieces; its own books are on the ordinary heap, so that free
// memory in a slow tier is not touched.
//
// Threads: allocate and deallocate may be called by any at once. What stands above has rules of its
// own: monotonic_buffer_resource and unsynchronized_pool_resource serve one thread at a time,
// synchronized_pool_resource any.
//
// Whole huge pages of a piece of 2 MiB or more go back to the kernel when it is deallocated; the
// addresses do not, until the resource ends.
class TierResource final : public std::pmr::memory_resource {
  public:
    static Result<std::unique_ptr<TierResource>> create(const Topology& topology, size_t tier,
                                                        const ResourceOptions& options = {}) {
        size_t most = options.most_bytes;
        if (most == 0) {
            for (const Node& node : topology.nodes()) most += node.total_bytes;
        }
        auto arena = Arena::create_growing(topology, tier, std::min(options.first_bytes, most),
                                           most, options.flags);
        if (!arena) return std::unexpected(arena.error());
        return std::unique_ptr<TierResource>(new TierResource(std::move(*arena), options.tiering));
    }
    TierResource(const TierResource&) = delete;
    ~TierResource() override {
        for (void* range : tracked_) (void)tiering_->remove(range);
    }

    // All of it is [base, base + size_bytes): where hints and questions go.
    void* base() const { return arena_.base(); }
    size_t size_bytes() const {
        std::lock_guard guard(lock_);
        return arena_.size_bytes();
    }
    size_t used_bytes() const {
        std::lock_guard guard(lock_);
        return used_bytes_;
    }
    // Why a part of it is not tracked, "" when all of it is or no tiering was given.
    std::string trouble() const {
        std::lock_guard guard(lock_);
        return trouble_;
    }

  private:
    using Pieces = std::map<size_t, size_t>;  // offset → bytes
    static constexpr size_t unit = 64;
    static constexpr size_t huge = 2 << 20;

    TierResource(Arena arena, Tiering* tiering) : arena_(std::move(arena)), tiering_(tiering) {
        free_.emplace(0, arena_.size_bytes());
        track(0);
    }

    void* do_allocate(size_t bytes, size_t alignment) override {
        if (alignment > huge || bytes > SIZE_MAX / 4) throw std::bad_alloc();
        bytes = std::max((bytes + unit - 1) / unit * unit, unit);
        std::lock_guard guard(lock_);
        void* taken = take(bytes, alignment);
        if (!taken && grow(bytes + alignment)) taken = take(bytes, alignment);
        if (!taken) throw std::bad_alloc();
        return taken;
    }

    void do_deallocate(void* pointer, size_t, size_t) override {
        std::lock_guard guard(lock_);
        size_t offset = size_t(static_cast<char*>(pointer) - at(0));
        auto piece = taken_.extract(offset);  // moved over, since freeing must not allocate
        size_t bytes = piece.mapped();
        used_bytes_ -= bytes;
        give_back(offset, bytes);
        join(free_.insert(std::move(piece)).position);
    }

    bool do_is_equal(const std::pmr::memory_resource& other) const noexcept override {
        return this == &other;
    }

    char* at(size_t offset) const { return static_cast<char*>(arena_.base()) + offset; }

    void* take(size_t bytes, size_t alignment) {
        for (auto piece = free_.begin(); piece != free_.end(); ++piece) {
            auto [start, length] = *piece;
            size_t aligned = (start + alignment - 1) / alignment * alignment;  // base is, to 2 MiB
            if (aligned - start > length || length - (aligned - start) < bytes) continue;
            size_t end = start + length;
            // Where there is no memory for one book's entry, the other must not have one either.
            auto entry = taken_.emplace(aligned, bytes).first;
            try {
                if (end > aligned + bytes) free_.emplace(aligned + bytes, end - aligned - bytes);
            } catch (...) {
                taken_.erase(entry);
                throw;
            }
            if (aligned > start) {
                piece->second = aligned - start;
            } else {
                free_.erase(piece);
            }
            used_bytes_ += bytes;
            return at(aligned);
        }
        return nullptr;
    }

    bool grow(size_t least_bytes) {
        size_t before = arena_.size_bytes(), left = arena_.most_bytes() - before;
        size_t wished = std::min(std::max(least_bytes, before), left);
        // What takes memory comes first: an arena that has grown must get into the books.
        Pieces more{{before, 0}};
        if (tiering_) tracked_.reserve(tracked_.size() + 1);
        if (wished == 0 || (!arena_.grow(wished) && !arena_.grow(least_bytes))) return false;
        more.begin()->second = arena_.size_bytes() - before;
        join(free_.insert(more.extract(before)).position);
        track(before);
        return true;
    }

    void join(Pieces::iterator piece) {
        auto next = std::next(piece);
        if (next != free_.end() && piece->first + piece->second == next->first) {
            piece->second += next->second;
            free_.erase(next);
        }
        if (piece == free_.begin()) return;
        auto last = std::prev(piece);
        if (last->first + last->second != piece->first) return;
        last->second += piece->second;
        free_.erase(piece);
    }

    void give_back(size_t offset, size_t bytes) {
        size_t from = (offset + huge - 1) / huge * huge, to = (offset + bytes) / huge * huge;
        if (from < to) madvise(at(from), to - from, MADV_DONTNEED);
    }

    void track(size_t from) {
        if (!tiering_) return;
        void* start = at(from);
        if (auto added = tiering_->add(start, arena_.size_bytes() - from); added) {
            tracked_.push_back(start);
        } else {
            trouble_ = added.error().message;
        }
    }

    mutable std::mutex lock_;
    Arena arena_;
    Tiering* tiering_;
    Pieces free_;
    Pieces taken_;
    size_t used_bytes_ = 0;
    std::vector<void*> tracked_;
    std::string trouble_;
};

inline Result<void> probe_sampler(pool_sampler_kind kind = POOL_SAMPLER_RWP) {
    if (int rc = pool_sampler_probe(kind); rc < 0) return last_error(rc);
    return {};
}

inline Result<uint64_t> node_room_bytes(int node) {
    uint64_t room = 0;
    if (int rc = pool_node_room_bytes(node, &room); rc < 0) return last_error(rc);
    return room;
}

inline Result<std::vector<int>> where(const void* base, size_t pages) {
    std::vector<int> nodes(pages);
    if (int rc = pool_where(base, pages, nodes.data()); rc < 0) return last_error(rc);
    return nodes;
}

inline Result<Moved> evacuate_node(pid_t pid, int from_node, const std::vector<int>& to_nodes,
                                   const Progress& progress = {}) {
    pool_moved* raw = nullptr;
    int rc = pool_evacuate_node(pid, from_node, to_nodes.data(), to_nodes.size(),
                                &detail::call_progress, const_cast<Progress*>(&progress), &raw);
    return detail::take(rc, raw);
}

inline Result<Moved> evacuate_physical(pid_t pid, uint64_t start_bytes, uint64_t length_bytes,
                                       const std::vector<int>& to_nodes,
                                       const Progress& progress = {}) {
    pool_moved* raw = nullptr;
    int rc =
        pool_evacuate_physical(pid, start_bytes, length_bytes, to_nodes.data(), to_nodes.size(),
                               &detail::call_progress, const_cast<Progress*>(&progress), &raw);
    return detail::take(rc, raw);
}

inline Result<uint64_t> held_bytes(pid_t pid, uint64_t start_bytes, uint64_t length_bytes) {
    uint64_t held = 0;
    if (int rc = pool_held_bytes(pid, start_bytes, length_bytes, &held); rc < 0) {
        return last_error(rc);
    }
    return held;
}

}  // namespace pool
