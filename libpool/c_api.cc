// SPDX-License-Identifier: Apache-2.0
// The C face: checks arguments, turns Results into (negative errno, sentence). No exception leaves
// it: what the standard library throws is lack of memory.
#include <pool/pool.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <iterator>
#include <limits>

#include "arena.h"
#include "evacuate.h"
#include "tier/sampler_choice.h"
#include "tier/tiering.h"
#include "tiers.h"
#include "topology.h"
#include "uapi.h"

using namespace libpool;

struct pool_topology {
    Topology value;
};
struct pool_arena {
    Arena value;
};
struct pool_options {
    tier::TieringWish wish;
};
struct pool_moved {
    Evacuation value;
};

namespace {

thread_local std::string last_sentence;

int report(const Error& error) {
    last_sentence = error.sentence;
    return -error.code;
}

template <typename T>
int report(const Result<T>& result) {
    return result ? 0 : report(result.error());
}

int refuse(const char* sentence, int code = EINVAL) { return report(Error{code, sentence}); }

// Runs `body`, which returns 0 or a negative errno.
template <typename Body>
int guarded(Body body) {
    try {
        return body();
    } catch (const std::exception& trouble) {
        return report(Error{ENOMEM, text("libpool ran out of a resource: %s", trouble.what())});
    }
}

// Counts are the whole interface: node sums, sorted by errno.
int nth_reason(const Reasons& reasons, size_t index, int* reason, uint64_t* pages) {
    if (!reason || !pages) return refuse("reason and pages must not be NULL");
    if (index >= reasons.size()) return -ENOENT;
    auto at = std::next(reasons.begin(), static_cast<ptrdiff_t>(index));
    *reason = at->first;
    *pages = at->second;
    return 0;
}

Progress forwarded(pool_progress progress, void* context) {
    if (!progress) return {};
    return [=](uint64_t done, uint64_t total) { return progress(context, done, total) == 0; };
}

int run_evacuation(pid_t pid, const Site& site, const int* to_nodes, size_t to_count,
                   pool_progress progress, void* context, pool_moved** out) {
    if (!out || (!to_nodes && to_count > 0)) return refuse("out and to_nodes must not be NULL");
    return guarded([&] {
        auto kernel = make_kernel();
        KernelMover mover(*kernel);
        for (size_t i = 0; i < to_count; ++i) {
            // Also where nothing lies there to be moved: a slip of the pen is none of the success.
            if (to_nodes[i] >= 0 && kernel->room_bytes(to_nodes[i])) continue;
            return refuse(
                text("node %d has no memory to which pages could go", to_nodes[i]).c_str(), ENOENT);
        }
        auto result = evacuate(*kernel, mover, pid, site, {to_nodes, to_nodes + to_count},
                               forwarded(progress, context));
        if (!result) return report(result);
        bool stopped = result->stopped;
        *out = new pool_moved{std::move(*result)};
        return stopped ? refuse("the progress function stopped the evacuation", ECANCELED) : 0;
    });
}

// What the environment says of tiers.
Result<void> obey(Topology& topology, const char* words) {
    auto declared = parse_declaration(words, "POOL_TIERS");
    if (!declared) return std::unexpected(declared.error());
    return declared->measure ? measure_tiers(topology) : declare_tiers(topology, *declared);
}

template <typename Make>
int make_arena(const pool_topology* topology, unsigned flags, pool_arena** out, Make make) {
    constexpr unsigned known = POOL_ARENA_BIND | POOL_ARENA_SMALL | POOL_ARENA_POPULATE;
    if (!topology || !out) return refuse("topology and out must not be NULL");
    if (flags & ~known) return refuse("unknown arena flags");
    return guarded([&] {
        ArenaWish wish;
        wish.bind = (flags & POOL_ARENA_BIND) != 0;
        wish.small = (flags & POOL_ARENA_SMALL) != 0;
        wish.populate = (flags & POOL_ARENA_POPULATE) != 0;
        auto arena = make(topology->value, wish);
        if (!arena) return report(arena);
        *out = new pool_arena{std::move(*arena)};
        return 0;
    });
}

struct OptionRange {
    uint64_t low;
    uint64_t high;
};

// By enum pool_option.
constexpr OptionRange option_ranges[] = {
    {0, std::numeric_limits<uint64_t>::max()},  // near limit
    {100, 1000000},                             // CPU budget
    {POOL_MOVER_KERNEL, POOL_MOVER_DRY},        // mover
    {0, std::numeric_limits<uint64_t>::max()},  // move limit
    {0, 1000000},                               // gain
    {1, 86400000},                              // stay
    {10, 60000},                                // decide
    {0, std::numeric_limits<uint64_t>::max()},  // seed
    {0, 1},                                     // control socket
};

}  // namespace

struct pool_tiering {
    std::unique_ptr<tier::Tiering> value;
    pid_t owner = getpid();
};

// A forked child has a copy of it and none of its threads: its locks may be held for ever, so
// nothing of it is touched there.
static bool is_a_copy(const pool_tiering* tiering) { return tiering->owner != getpid(); }

// As guarded().
template <typename Body>
static int with(const pool_tiering* tiering, Body body) {
    return guarded([&] {
        if (!is_a_copy(tiering)) return body(*tiering->value);
        return report(Error{ECHILD, text("process %d has begun this tiering: a forked child is not "
                                         "tiered, and may only stop it",
                                         tiering->owner)});
    });
}

const char* pool_version(void) { return "0.2"; }
const char* pool_last_error(void) { return last_sentence.c_str(); }

// ---- topology ----

int pool_topology_read(const char* root, pool_topology** out) {
    if (!out) return refuse("out must not be NULL");
    return guarded([&] {
        auto topology = read_topology(root ? root : "");
        if (!topology) return report(topology);
        if (const char* words = root ? nullptr : std::getenv("POOL_TIERS")) {
            if (auto obeyed = obey(*topology, words); !obeyed) return report(obeyed);
        }
        *out = new pool_topology{std::move(*topology)};
        return 0;
    });
}

void pool_topology_free(pool_topology* topology) { delete topology; }

pool_tier_source pool_topology_source(const pool_topology* topology) {
    return static_cast<pool_tier_source>(topology->value.source);
}

const char* pool_topology_reason(const pool_topology* topology) {
    return topology->value.reason.c_str();
}

size_t pool_topology_tier_count(const pool_topology* topology) {
    return topology->value.tier_names.size();
}

int pool_topology_declare(pool_topology* topology, const int* near_nodes, size_t near_count,
                          const int* far_nodes, size_t far_count) {
    bool lists = (near_nodes || near_count == 0) && (far_nodes || far_count == 0);
    if (!topology || !lists) return refuse("topology and the lists of nodes must not be NULL");
    return guarded([&] {
        Declaration declared{
            {near_nodes, near_nodes + near_count}, {far_nodes, far_nodes + far_count}, false};
        return report(declare_tiers(topology->value, declared));
    });
}

int pool_topology_measure(pool_topology* topology) {
    if (!topology) return refuse("topology must not be NULL");
    return guarded([&] { return report(measure_tiers(topology->value)); });
}

const char* pool_topology_tier_name(const pool_topology* topology, size_t tier) {
    const auto& names = topology->value.tier_names;
    return tier < names.size() ? names[tier].c_str() : nullptr;
}

size_t pool_topology_node_count(const pool_topology* topology) {
    return topology->value.nodes.size();
}

int pool_topology_node(const pool_topology* topology, size_t index) {
    const auto& nodes = topology->value.nodes;
    return index < nodes.size() ? nodes[index].id : -ENOENT;
}

int pool_topology_node_tier(const pool_topology* topology, int node) {
    const Node* found = topology->value.find(node);
    return found ? static_cast<int>(found->tier) : -ENOENT;
}

uint64_t pool_topology_node_value(const pool_topology* topology, int node, pool_node_value value) {
    const Node* found = topology->value.find(node);
    if (!found) return 0;
    switch (value) {
        case POOL_NODE_TOTAL_BYTES:
            return found->total_bytes;
        case POOL_NODE_FREE_BYTES:
            return found->free_bytes;
        case POOL_NODE_RECLAIMABLE_BYTES:
            return found->reclaimable_bytes;
        case POOL_NODE_WATERMARK_BYTES:
            return found->watermark_bytes;
        case POOL_NODE_CPUS:
            return found->cpus;
        case POOL_NODE_DISTANCE:
            return found->distance;
        case POOL_NODE_READ_LATENCY_NS:
            return found->read_latency_ns;
        case POOL_NODE_WRITE_LATENCY_NS:
            return found->write_latency_ns;
        case POOL_NODE_READ_MB_PER_S:
            return found->read_mb_per_s;
        case POOL_NODE_WRITE_MB_PER_S:
            return found->write_mb_per_s;
        case POOL_NODE_LOAD_NS:
            return static_cast<uint64_t>(found->load_ns);
    }
    return 0;
}

int pool_node_room_bytes(int node, uint64_t* room_bytes) {
    if (!room_bytes) return refuse("room_bytes must not be NULL");
    return guarded([&] {
        auto room = read_node_room("", node);
        if (room) *room_bytes = *room;
        return report(room);
    });
}

// ---- arena ----

int pool_arena_create(const pool_topology* topology, size_t tier, size_t size_bytes, unsigned flags,
                      pool_arena** out) {
    return pool_arena_create_growing(topology, tier, size_bytes, size_bytes, flags, out);
}

int pool_arena_create_growing(const pool_topology* topology, size_t tier, size_t size_bytes,
                              size_t most_bytes, unsigned flags, pool_arena** out) {
    return make_arena(topology, flags, out, [&](const Topology& nodes, ArenaWish wish) {
        wish.bytes = size_bytes;
        wish.most_bytes = most_bytes;
        return Arena::create(nodes, tier, wish);
    });
}

int pool_arena_create_weighted(const pool_topology* topology, const int* nodes,
                               const unsigned* weights, size_t count, size_t size_bytes,
                               size_t most_bytes, unsigned flags, pool_arena** out) {
    if (!nodes || !weights) return refuse("nodes and weights must not be NULL");
    return make_arena(topology, flags, out, [&](const Topology& all, ArenaWish wish) {
        wish.bytes = size_bytes;
        wish.most_bytes = most_bytes;
        std::vector<NodeWeight> list;
        for (size_t i = 0; i < std::min(count, weighted_nodes_limit + 1); ++i) {
            list.push_back({nodes[i], weights[i]});
        }
        return Arena::create_weighted(all, list, wish);
    });
}

int pool_arena_grow(pool_arena* arena, size_t bytes) {
    if (!arena) return refuse("arena must not be NULL");
    return guarded([&] { return report(arena->value.grow(bytes)); });
}

size_t pool_arena_most_bytes(const pool_arena* arena) { return arena->value.most_bytes(); }
size_t pool_arena_grain_bytes(const pool_arena* arena) { return arena->value.grain(); }

void pool_arena_destroy(pool_arena* arena) { delete arena; }
void* pool_arena_base(const pool_arena* arena) { return arena->value.base(); }
size_t pool_arena_size_bytes(const pool_arena* arena) { return arena->value.bytes(); }

// ---- tiering ----

int pool_sampler_probe(pool_sampler_kind kind) {
    if (kind != POOL_SAMPLER_RWP) return refuse("there is no such sampler");
    return guarded([&] {
        for (const tier::SamplerState& state : tier::probe_samplers("")) {
            if (state.name == "rwp")
                return state.usable ? 0 : refuse(state.why.c_str(), EOPNOTSUPP);
        }
        return refuse("there is no such sampler");
    });
}

int pool_options_new(pool_options** out) {
    if (!out) return refuse("out must not be NULL");
    return guarded([&] {
        *out = new pool_options{};
        return 0;
    });
}

void pool_options_free(pool_options* options) { delete options; }

int pool_options_set(pool_options* options, pool_option option, uint64_t value) {
    if (!options) return refuse("options must not be NULL");
    if (option < 0 || static_cast<size_t>(option) >= std::size(option_ranges)) {
        return refuse("there is no such option");
    }
    auto [low, high] = option_ranges[option];
    if (value < low || value > high) {
        return report(Error{EINVAL, text("option %d takes %llu to %llu, not %llu", option,
                                         static_cast<unsigned long long>(low),
                                         static_cast<unsigned long long>(high),
                                         static_cast<unsigned long long>(value))});
    }
    tier::TieringWish& wish = options->wish;
    switch (option) {
        case POOL_OPTION_NEAR_LIMIT_BYTES:
            wish.engine.near_limit_bytes = value;
            break;
        case POOL_OPTION_CPU_BUDGET_PPM:
            wish.policy.set_budget(double(value) * 1e-6);
            break;
        case POOL_OPTION_MOVER:
            wish.dry = value == POOL_MOVER_DRY;
            break;
        case POOL_OPTION_MOVE_LIMIT_BYTES_PER_S:
            wish.engine.move_limit_bytes_per_s = value;
            break;
        case POOL_OPTION_GAIN_NS:
            wish.loss_ns = double(value);
            break;
        case POOL_OPTION_STAY_MS:  // the policy finds that out itself
            break;
        case POOL_OPTION_DECIDE_MS:
            wish.engine.decide_s = double(value) * 1e-3;
            break;
        case POOL_OPTION_SEED:
            wish.policy.seed = value;
            break;
        case POOL_OPTION_CONTROL:
            wish.control = value == 1;
            break;
    }
    return 0;
}

int pool_options_record_to(pool_options* options, const char* path) {
    if (!options || !path) return refuse("options and path must not be NULL");
    return refuse("since 0.2 the library writes no recordings: `pooltier record` does", ENOTSUP);
}

int pool_tiering_start(const pool_topology* topology, const pool_options* options,
                       pool_tiering** out) {
    if (!topology || !out) return refuse("topology and out must not be NULL");
    return guarded([&] {
        const pool_options defaults{};
        auto started = tier::Tiering::start(topology->value, (options ? *options : defaults).wish);
        if (!started) return report(started);
        *out = new pool_tiering{std::move(*started)};
        return 0;
    });
}

void pool_tiering_stop(pool_tiering* tiering) {
    if (tiering && is_a_copy(tiering)) return;
    delete tiering;
}

int pool_tiering_add(pool_tiering* tiering, void* base, size_t bytes) {
    auto start = reinterpret_cast<uint64_t>(base);
    if (!tiering || !base) return refuse("tiering and base must not be NULL");
    if (start % page_bytes != 0 || bytes % page_bytes != 0) {
        return refuse("base and bytes must be multiples of 4096");
    }
    return with(tiering, [&](tier::Tiering& running) {
        return report(running.engine().add({start, bytes / page_bytes}));
    });
}

int pool_tiering_remove(pool_tiering* tiering, void* base) {
    if (!tiering) return refuse("tiering must not be NULL");
    return with(tiering, [&](tier::Tiering& running) {
        return report(running.engine().remove(reinterpret_cast<uint64_t>(base)));
    });
}

int pool_hint(pool_tiering* tiering, const void* base, size_t bytes, pool_hint_kind hint) {
    if (!tiering || !base) return refuse("tiering and base must not be NULL");
    if (bytes == 0 || bytes > SIZE_MAX / 2) return refuse("a hint is about 1 byte at least");
    static constexpr tier::Hint hints[] = {tier::Hint::none, tier::Hint::hot, tier::Hint::cold,
                                           tier::Hint::pinned_near, tier::Hint::stream};
    if (hint < 0 || static_cast<size_t>(hint) >= std::size(hints)) {
        return refuse("there is no such hint");
    }
    uint64_t start = reinterpret_cast<uint64_t>(base) & ~(page_bytes - 1);
    uint64_t end = reinterpret_cast<uint64_t>(base) + bytes;
    tier::AddressRun range{start, (end - start + page_bytes - 1) / page_bytes};
    return with(tiering, [&](tier::Tiering& running) {
        return report(running.engine().hint(range, hints[hint]));
    });
}

uint64_t pool_tiering_stat(const pool_tiering* tiering, pool_stat stat) {
    auto ns = [](double seconds) { return static_cast<uint64_t>(std::max(seconds, 0.0) * 1e9); };
    if (is_a_copy(tiering)) return 0;
    const tier::EngineStatus now = tiering->value->engine().status();
    switch (stat) {
        case POOL_STAT_WINDOWS:
            return now.cycles;
        case POOL_STAT_ARMED_PAGES:
            return now.armed_pages;
        case POOL_STAT_TOUCHED_PAGES:
            return now.touched_pages;
        case POOL_STAT_PROMOTED_PAGES:
            return now.promoted_pages;
        case POOL_STAT_DEMOTED_PAGES:
            return now.demoted_pages;
        case POOL_STAT_FAILED_PAGES:
            return now.failed_pages;
        case POOL_STAT_WANTED_PAGES:
            return now.wanted_pages;
        case POOL_STAT_NO_ROOM_PAGES:
            return now.no_room_pages;
        case POOL_STAT_NEAR_PAGES:
            return now.near_bytes / page_bytes;
        case POOL_STAT_FAR_PAGES:
            return now.far_bytes / page_bytes;
        case POOL_STAT_THREAD_CPU_NS:
            return ns(now.thread_cpu_s);
        case POOL_STAT_FAULT_CPU_NS:
            return ns(now.fault_cpu_s);
        case POOL_STAT_MOVE_NS:
            return ns(now.move_s);
        case POOL_STAT_DECISIONS:
            return now.decisions;
        case POOL_STAT_TRACKED_BYTES:
            return now.tracked_bytes;
        case POOL_STAT_GAIN_NS:
            return static_cast<uint64_t>(std::max(now.loss_ns, 0.0));
        case POOL_STAT_MOVE_COST_NS:
            return static_cast<uint64_t>(now.move_ns);
    }
    return 0;
}

int pool_tiering_failure(const pool_tiering* tiering, size_t index, int* reason, uint64_t* pages) {
    return with(tiering, [&](tier::Tiering& running) {
        return nth_reason(running.engine().status().reasons, index, reason, pages);
    });
}

int pool_tiering_status(const pool_tiering* tiering, char* buffer, size_t buffer_bytes) {
    return with(tiering, [&](tier::Tiering& running) {
        const std::string status = running.describe();
        if (buffer && buffer_bytes > 0) {
            size_t copied = std::min(status.size(), buffer_bytes - 1);
            std::memcpy(buffer, status.data(), copied);
            buffer[copied] = '\0';
        }
        return static_cast<int>(status.size());
    });
}

int pool_drain(pool_tiering* tiering, int node, uint64_t deadline_ms, pool_progress progress,
               void* context, pool_moved** out) {
    if (!tiering || !out) return refuse("tiering and out must not be NULL");
    return with(tiering, [&](tier::Tiering& running) {
        Progress forward = forwarded(progress, context);
        auto result = running.drain(node, double(deadline_ms) * 1e-3, forward);
        if (!result) return report(result);
        bool stopped = result->stopped;
        *out = new pool_moved{std::move(*result)};
        return stopped ? refuse("the progress function stopped the drain", ECANCELED) : 0;
    });
}

int pool_readmit(pool_tiering* tiering, int node) {
    if (!tiering) return refuse("tiering must not be NULL");
    return with(tiering, [&](tier::Tiering& running) { return report(running.readmit(node)); });
}

// ---- pages ----

int pool_where(const void* base, size_t count, int* node) {
    auto start = reinterpret_cast<uint64_t>(base) & ~(page_bytes - 1);
    if (!node && count > 0) return refuse("node must not be NULL");
    return guarded([&] {
        constexpr size_t batch = 4096;
        auto kernel = make_kernel();
        std::vector<uint64_t> pages;
        for (size_t at = 0; at < count; at += batch) {
            pages.clear();
            for (size_t i = at; i < std::min(count, at + batch); ++i) {
                pages.push_back(start + i * page_bytes);
            }
            std::vector<int> nodes = where(*kernel, 0, pages);
            std::copy(nodes.begin(), nodes.end(), node + at);
        }
        return 0;
    });
}

int pool_evacuate_node(pid_t pid, int from_node, const int* to_nodes, size_t to_count,
                       pool_progress progress, void* context, pool_moved** out) {
    if (from_node < 0) return refuse("from_node must not be negative");
    return run_evacuation(pid, Site{from_node, 0, 0}, to_nodes, to_count, progress, context, out);
}

int pool_evacuate_physical(pid_t pid, uint64_t start_bytes, uint64_t length_bytes,
                           const int* to_nodes, size_t to_count, pool_progress progress,
                           void* context, pool_moved** out) {
    return run_evacuation(pid, Site{-1, start_bytes, length_bytes}, to_nodes, to_count, progress,
                          context, out);
}

void pool_moved_free(pool_moved* moved) { delete moved; }
uint64_t pool_moved_found_pages(const pool_moved* moved) { return moved->value.found_pages; }
uint64_t pool_moved_done_pages(const pool_moved* moved) { return moved->value.done_pages; }
uint64_t pool_moved_failed_pages(const pool_moved* moved) { return moved->value.failed_pages; }

int pool_moved_failure(const pool_moved* moved, size_t index, int* reason, uint64_t* pages) {
    return nth_reason(moved->value.reasons, index, reason, pages);
}

int pool_held_bytes(pid_t pid, uint64_t start_bytes, uint64_t length_bytes, uint64_t* held_bytes) {
    if (!held_bytes) return refuse("held_bytes must not be NULL");
    return guarded([&] {
        auto kernel = make_kernel();
        auto pages = find_pages(*kernel, pid, Site{-1, start_bytes, length_bytes});
        if (pages) *held_bytes = pages->size() * page_bytes;
        return report(pages);
    });
}
