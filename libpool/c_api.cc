// SPDX-License-Identifier: Apache-2.0
// The C face: checks arguments, turns Results into (negative errno, sentence), and owns the thread
// of a tiering. No exception leaves it: what the standard library throws is lack of memory.
#include <pool/pool.h>
#include <time.h>

#include <algorithm>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <fstream>
#include <iterator>
#include <limits>
#include <thread>

#include "arena.h"
#include "engine.h"
#include "evacuate.h"
#include "latency.h"
#include "signals.h"
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
    EngineConfig config;
    pool_mover_kind mover = POOL_MOVER_KERNEL;
    std::string record_to;
    double gain_ns = 0;  // 0: measured at start
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

// Real time, and a wait that stop() ends.
class ThreadClock final : public Clock {
  public:
    double now_s() override { return read(CLOCK_MONOTONIC); }
    double thread_cpu_s() override { return read(CLOCK_THREAD_CPUTIME_ID); }
    bool wait(double seconds) override {
        std::unique_lock guard(lock_);
        return !changed_.wait_for(guard, std::chrono::duration<double>(seconds),
                                  [this] { return stop_; });
    }
    void stop() {
        std::lock_guard guard(lock_);
        stop_ = true;
        changed_.notify_all();
    }

  private:
    static double read(clockid_t clock) {
        timespec time{};
        clock_gettime(clock, &time);
        return double(time.tv_sec) + double(time.tv_nsec) * 1e-9;
    }
    std::mutex lock_;
    std::condition_variable changed_;
    bool stop_ = false;
};

Result<void> check_moving_works(Kernel& kernel) {
    int on_stack = 0;
    uint64_t page = reinterpret_cast<uint64_t>(&on_stack) & ~(page_bytes - 1);
    int node = where(kernel, 0, {&page, 1}).front();
    if (node >= 0) return {};
    return fail(-node, "move_pages is refused: %s (a seccomp profile of the container may do that)",
                errno_text(-node).c_str());
}

// The wished gain, else the measured one, else (no room, another CPU) what CXL memory typically
// costs.
double gain_of(double wished_ns, const EngineConfig& config) {
    constexpr double typical_ns = 150;
    if (wished_ns > 0) return wished_ns;
    return measure_gain_ns(config.near_nodes.front(), config.far_nodes.front())
        .value_or(typical_ns);
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

int run_evacuation(pid_t pid, const Site& site, const int* to_nodes, size_t to_count,
                   pool_progress progress, void* context, pool_moved** out) {
    if (!out || (!to_nodes && to_count > 0)) return refuse("out and to_nodes must not be NULL");
    return guarded([&] {
        auto kernel = make_kernel();
        KernelMover mover(*kernel);
        Progress forward;
        if (progress) {
            forward = [&](uint64_t done, uint64_t total) {
                return progress(context, done, total) == 0;
            };
        }
        auto result = evacuate(*kernel, mover, pid, site, {to_nodes, to_nodes + to_count}, forward);
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
};

}  // namespace

struct pool_tiering {
    std::ofstream record;
    std::unique_ptr<Kernel> kernel;
    std::unique_ptr<Sampler> sampler;
    std::unique_ptr<Mover> mover;
    ThreadClock clock;
    std::unique_ptr<Engine> engine;
    std::thread thread;
};

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
    return guarded([&] { return report(probe_rwp()); });
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
    EngineConfig& config = options->config;
    switch (option) {
        case POOL_OPTION_NEAR_LIMIT_BYTES:
            config.near_limit_bytes = value;
            break;
        case POOL_OPTION_CPU_BUDGET_PPM:
            config.cpu_share = double(value) * 1e-6;
            break;
        case POOL_OPTION_MOVER:
            options->mover = static_cast<pool_mover_kind>(value);
            break;
        case POOL_OPTION_MOVE_LIMIT_BYTES_PER_S:
            config.move_limit_bytes_per_s = value;
            break;
        case POOL_OPTION_GAIN_NS:
            options->gain_ns = double(value);
            break;
        case POOL_OPTION_STAY_MS:
            config.stay_s = double(value) * 1e-3;
            break;
        case POOL_OPTION_DECIDE_MS:
            config.decide_s = double(value) * 1e-3;
            break;
        case POOL_OPTION_SEED:
            config.seed = value;
            break;
    }
    return 0;
}

int pool_options_record_to(pool_options* options, const char* path) {
    if (!options || !path) return refuse("options and path must not be NULL");
    return guarded([&] {
        options->record_to = path;
        return 0;
    });
}

int pool_tiering_start(const pool_topology* topology, const pool_options* options,
                       pool_tiering** out) {
    if (!topology || !out) return refuse("topology and out must not be NULL");
    return guarded([&] {
        const Topology& nodes = topology->value;
        if (nodes.tier_names.size() < 2) return report(Error{EOPNOTSUPP, nodes.reason});
        const pool_options defaults{};
        const pool_options& wish = options ? *options : defaults;

        auto tiering = std::make_unique<pool_tiering>();
        tiering->kernel = make_kernel();
        if (auto works = check_moving_works(*tiering->kernel); !works) return report(works);
        auto sampler = make_rwp_sampler();
        if (!sampler) {
            return report(Error{EOPNOTSUPP, "no sampler is usable: " + sampler.error().sentence});
        }
        tiering->sampler = std::move(*sampler);
        if (wish.mover == POOL_MOVER_DRY) {
            tiering->mover = std::make_unique<DryMover>(*tiering->kernel);
        } else {
            tiering->mover = std::make_unique<KernelMover>(*tiering->kernel);
        }
        if (!wish.record_to.empty()) {
            tiering->record.open(wish.record_to);
            if (!tiering->record) {
                return report(Error{EIO, wish.record_to + " cannot be written"});
            }
        }
        EngineConfig config = wish.config;
        config.near_nodes = nodes.tier_nodes(0);
        config.far_nodes = nodes.nodes_beyond(0);
        config.gain_ns = gain_of(wish.gain_ns, config);
        tiering->engine = std::make_unique<Engine>(
            *tiering->sampler, *tiering->mover, *tiering->kernel, tiering->clock, config,
            tiering->record.is_open() ? &tiering->record : nullptr);
        {
            SignalsBlocked inherited;
            tiering->thread = std::thread([engine = tiering->engine.get()] { engine->run(); });
        }
        pthread_setname_np(tiering->thread.native_handle(), "libpool");
        *out = tiering.release();
        return 0;
    });
}

void pool_tiering_stop(pool_tiering* tiering) {
    if (!tiering) return;
    tiering->clock.stop();
    tiering->thread.join();
    delete tiering;
}

int pool_tiering_add(pool_tiering* tiering, void* base, size_t bytes) {
    auto start = reinterpret_cast<uint64_t>(base);
    if (!tiering || !base) return refuse("tiering and base must not be NULL");
    if (start % page_bytes != 0 || bytes % page_bytes != 0) {
        return refuse("base and bytes must be multiples of 4096");
    }
    return guarded([&] { return report(tiering->engine->add({start, bytes / page_bytes})); });
}

int pool_tiering_remove(pool_tiering* tiering, void* base) {
    if (!tiering) return refuse("tiering must not be NULL");
    return guarded(
        [&] { return report(tiering->engine->remove(reinterpret_cast<uint64_t>(base))); });
}

uint64_t pool_tiering_stat(const pool_tiering* tiering, pool_stat stat) {
    if (stat < 0 || static_cast<size_t>(stat) >= stat_count) return 0;
    return tiering->engine->stat(static_cast<Stat>(stat));
}

int pool_tiering_failure(const pool_tiering* tiering, size_t index, int* reason, uint64_t* pages) {
    return guarded([&] { return nth_reason(tiering->engine->reasons(), index, reason, pages); });
}

int pool_tiering_status(const pool_tiering* tiering, char* buffer, size_t buffer_bytes) {
    return guarded([&] {
        std::string status = tiering->engine->status();
        if (buffer && buffer_bytes > 0) {
            size_t copied = std::min(status.size(), buffer_bytes - 1);
            std::memcpy(buffer, status.data(), copied);
            buffer[copied] = '\0';
        }
        return static_cast<int>(status.size());
    });
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
