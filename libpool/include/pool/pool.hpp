// SPDX-License-Identifier: Apache-2.0
// The C++ face of libpool: owners and Result values over pool.h, nothing more. Header only, so that
// the ABI of the library stays the C one. Conventions (units, threads) are those of pool.h.
#pragma once

#include <pool/pool.h>

#include <cerrno>
#include <cstdint>
#include <expected>
#include <functional>
#include <memory>
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

enum class TierSource { kernel = 0, cpuless = 1, single = 2 };

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
            auto value = [&](pool_node_value v) {
                return pool_topology_node_value(get(), id, v);
            };
            all.push_back({id, pool_topology_node_tier(get(), id), value(POOL_NODE_TOTAL_BYTES),
                           value(POOL_NODE_FREE_BYTES), value(POOL_NODE_RECLAIMABLE_BYTES),
                           value(POOL_NODE_WATERMARK_BYTES), value(POOL_NODE_CPUS),
                           value(POOL_NODE_DISTANCE)});
        }
        return all;
    }

    const pool_topology* get() const { return raw_.get(); }

  private:
    explicit Topology(pool_topology* raw) : raw_(raw) {}
    detail::Owner<pool_topology, &pool_topology_free> raw_;
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
    void* base() const { return pool_arena_base(raw_.get()); }
    size_t size_bytes() const { return pool_arena_size_bytes(raw_.get()); }

  private:
    explicit Arena(pool_arena* raw) : raw_(raw) {}
    detail::Owner<pool_arena, &pool_arena_destroy> raw_;
};

// A reason why moves failed, and for how many pages. reason 0: no error reported, not there either.
struct Failure {
    int reason;
    uint64_t pages;
};

struct Options {
    std::vector<std::pair<pool_option, uint64_t>> values;  // defaults for all that is not named
    std::string record_to;
};

class Tiering {
  public:
    static Result<Tiering> start(const Topology& topology, const Options& options = {}) {
        pool_options* raw_options = nullptr;
        if (int rc = pool_options_new(&raw_options); rc < 0) return last_error(rc);
        detail::Owner<pool_options, &pool_options_free> owned(raw_options);
        for (auto [option, value] : options.values) {
            if (int rc = pool_options_set(raw_options, option, value); rc < 0) return last_error(rc);
        }
        if (!options.record_to.empty()) {
            int rc = pool_options_record_to(raw_options, options.record_to.c_str());
            if (rc < 0) return last_error(rc);
        }
        pool_tiering* raw = nullptr;
        if (int rc = pool_tiering_start(topology.get(), raw_options, &raw); rc < 0) {
            return last_error(rc);
        }
        return Tiering(raw);
    }

    Result<void> add(void* base, size_t bytes) { return done(pool_tiering_add(get(), base, bytes)); }
    Result<void> remove(void* base) { return done(pool_tiering_remove(get(), base)); }
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
        char text[512];
        pool_tiering_status(get(), text, sizeof text);
        return text;
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

inline Result<Moved> take(int rc, pool_moved* raw) {
    if (rc < 0 && rc != -ECANCELED) return last_error(rc);
    Owner<pool_moved, &pool_moved_free> owned(raw);
    Moved moved{pool_moved_found_pages(raw), pool_moved_done_pages(raw),
                pool_moved_failed_pages(raw), rc < 0, {}};
    Failure one{};
    while (pool_moved_failure(raw, moved.failures.size(), &one.reason, &one.pages) == 0) {
        moved.failures.push_back(one);
    }
    return moved;
}
}  // namespace detail

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
    int rc = pool_evacuate_physical(pid, start_bytes, length_bytes, to_nodes.data(),
                                    to_nodes.size(), &detail::call_progress,
                                    const_cast<Progress*>(&progress), &raw);
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
