/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libpool: memory tiers for a program.
 *
 * What it does: tells near from far memory (topology), allocates in a tier (arena), finds out which
 * pages of this program are hot and moves them near, cold ones far (tiering), and empties a
 * physical range or a node of the pages of a process (evacuation, for agents such as poold).
 *
 * Conventions, for every function below:
 *  - Errors. Functions that can fail return 0 or a negative errno; pool_last_error() then holds one
 *    sentence that names the object and says what to do. It is per thread, and is only meaningful
 *    directly after a failure on the same thread.
 *  - Ownership. `pool_x_new/read/create/start(…, pool_x **out)` give an object that the matching
 *    `_free/_destroy/_stop` ends (NULL is allowed there). *out is untouched on failure.
 *  - Units. Names carry them: _bytes, _pages (of 4096 bytes), _ms, _ns. Nodes are kernel NUMA node
 *    numbers, 0…1023. Tier 0 is the nearest; higher numbers are slower.
 *  - Threads. Objects are not locked: use one from one thread at a time, except pool_tiering, which
 *    any number of threads may use at once (but nobody may use it during or after its _stop).
 *  - Strings returned by accessors belong to the object and live as long as it does.
 *  - Structs are opaque for ever; symbols are versioned (libpool.map). New ones get a new version.
 */
#ifndef POOL_POOL_H
#define POOL_POOL_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#define POOL_VERSION_MAJOR 0
#define POOL_VERSION_MINOR 2
#define POOL_PAGE_BYTES 4096u

/* "0.2": the version of the library in use, not of this header. */
const char* pool_version(void);

/* The sentence of the last failure on this thread, "" when there was none. Never NULL. */
const char* pool_last_error(void);

/* ---- topology: a snapshot of nodes and tiers ------------------------------------------------- */

typedef struct pool_topology pool_topology;

/* Who says which tier a node is in. */
enum pool_tier_source {
    POOL_TIERS_KERNEL = 0,   /* the kernel's memory_tiers differ: they are taken as they are */
    POOL_TIERS_CPULESS = 1,  /* the kernel has all nodes in one tier: nodes without a CPU are far */
    POOL_TIERS_SINGLE = 2,   /* every node with memory is equal: there is nothing to tier */
    POOL_TIERS_DECLARED = 3, /* somebody said so: pool_topology_declare(), POOL_TIERS. Since 0.2 */
    POOL_TIERS_MEASURED = 4, /* by how long a load takes: pool_topology_measure(). Since 0.2 */
};

/*
 * root: folder that holds sys/ and proc/ (a recorded tree), or NULL for "/". With NULL the
 * environment variable POOL_TIERS has the last word on tiers: "near=0 far=1-2" is as
 * pool_topology_declare(), "measure" as pool_topology_measure(). -EINVAL when it cannot be read.
 */
int pool_topology_read(const char* root, pool_topology** out);
void pool_topology_free(pool_topology* topology);

enum pool_tier_source pool_topology_source(const pool_topology* topology);
/* One sentence: why the tiers are as they are. */
const char* pool_topology_reason(const pool_topology* topology);

size_t pool_topology_tier_count(const pool_topology* topology);
/*
 * Two tiers by your word, for machines whose kernel has all nodes in one or has them wrong. Nodes
 * in neither list are no part of the topology from then on: they are neither sampled nor moved to.
 * -EINVAL for an empty list or a node in both, -ENOENT when no node of a list has memory (some may
 * have none: the reason names them). On failure the topology is as before. Since 0.2.
 */
int pool_topology_declare(pool_topology* topology, const int* near_nodes, size_t near_count,
                          const int* far_nodes, size_t far_count);

/*
 * Tiers by dependent loads from 256 KiB of each node, each from the CPUs that are nearest to it: a
 * node that takes 1.3 times as long as the fastest of a tier begins another one. Takes some
 * milliseconds a node, on a thread of its own. The reason gives the numbers; one tier is an answer,
 * too. -ENOMEM when a node has no room for that, -ENOTSUP off x86-64. Since 0.2.
 */
int pool_topology_measure(pool_topology* topology);

/* "memory_tier4", "near", "far": a name for people. NULL when there is no such tier. */
const char* pool_topology_tier_name(const pool_topology* topology, size_t tier);

/* Nodes that have memory, in rising order; `index` is 0…node_count-1. -ENOENT when out of range. */
size_t pool_topology_node_count(const pool_topology* topology);
int pool_topology_node(const pool_topology* topology, size_t index);

/* The tier of a node, or -ENOENT for a node without memory. */
int pool_topology_node_tier(const pool_topology* topology, int node);

enum pool_node_value {
    POOL_NODE_TOTAL_BYTES = 0,
    POOL_NODE_FREE_BYTES = 1,        /* MemFree at the time of the snapshot */
    POOL_NODE_RECLAIMABLE_BYTES = 2, /* clean file pages + reclaimable slab: freed under pressure */
    POOL_NODE_WATERMARK_BYTES = 3,   /* what the kernel keeps free (sum of the zones' high marks) */
    POOL_NODE_CPUS = 4,              /* number of CPUs; 0 = memory only */
    POOL_NODE_DISTANCE = 5,          /* from the nearest node with CPUs; 10 = local */
    /* Since 0.2. What the firmware says (HMAT or CDAT) of access by the best initiator: */
    POOL_NODE_READ_LATENCY_NS = 6,
    POOL_NODE_WRITE_LATENCY_NS = 7,
    POOL_NODE_READ_MB_PER_S = 8,
    POOL_NODE_WRITE_MB_PER_S = 9,
    POOL_NODE_LOAD_NS = 10, /* a load as measured by pool_topology_measure() */
};
/* 0 for a node or a value that is not known. */
uint64_t pool_topology_node_value(const pool_topology* topology, int node,
                                  enum pool_node_value value);

/* Live free memory of a node minus the watermark: what may be put there now. */
int pool_node_room_bytes(int node, uint64_t* room_bytes);

/* ---- arena: memory that starts in a tier ------------------------------------------------------
 */

typedef struct pool_arena pool_arena;

enum pool_arena_flags {
    POOL_ARENA_PREFER = 0,     /* other tiers are used when this one is full */
    POOL_ARENA_BIND = 1u << 0, /* this tier or nothing: refused at once when it has no room; a later
                                  shortage ends in the kernel's OOM killer, as with any bind */
    POOL_ARENA_SMALL = 1u << 1,    /* 4 KiB pages only: finer tiering, more page-table walks */
    POOL_ARENA_POPULATE = 1u << 2, /* touch every page now */
};

/* size_bytes is rounded up to 2 MiB; the base is 2 MiB aligned; the memory reads as zeros. */
int pool_arena_create(const pool_topology* topology, size_t tier, size_t size_bytes, unsigned flags,
                      pool_arena** out);
void pool_arena_destroy(pool_arena* arena);
void* pool_arena_base(const pool_arena* arena);
size_t pool_arena_size_bytes(const pool_arena* arena);

/*
 * One that can grow up to most_bytes. The addresses are reserved at once, memory is taken when it
 * is touched. Since 0.2.
 */
int pool_arena_create_growing(const pool_topology* topology, size_t tier, size_t size_bytes,
                              size_t most_bytes, unsigned flags, pool_arena** out);

/*
 * One whose memory is spread over nodes in the ratio of weights (1…255), for bandwidth: nodes {0,
 * 1} with weights {3, 1} put three quarters on node 0. The unit is the grain: 2 MiB (a huge page),
 * with POOL_ARENA_SMALL 64 KiB, and twice that often enough that the arena has at most 4096 grains
 * (each is a mapping of its own to the kernel). Grain by grain each node gets its due as evenly as
 * it goes, so that the ratio holds for any longer part. It holds for this arena alone, whatever the
 * process's memory policy or the machine's interleave weights are. A full node's grains go
 * elsewhere unless POOL_ARENA_BIND is given. At most 16 nodes. Do not track such an arena: tiering
 * would move its pages. most_bytes: to which it may grow; 0 or size_bytes: not at all. Since 0.2.
 */
int pool_arena_create_weighted(const pool_topology* topology, const int* nodes,
                               const unsigned* weights, size_t count, size_t size_bytes,
                               size_t most_bytes, unsigned flags, pool_arena** out);

/*
 * At least `bytes` (rounded up to 2 MiB) more at the end; what is there stays where it is, and so
 * does the base. -ENOMEM beyond most_bytes, or for POOL_ARENA_BIND without room. One thread at a
 * time. The new part must be added to a tiering by itself. Since 0.2.
 */
int pool_arena_grow(pool_arena* arena, size_t bytes);
size_t pool_arena_most_bytes(const pool_arena* arena);
/* 0 for an arena that is not weighted. */
size_t pool_arena_grain_bytes(const pool_arena* arena);

/* ---- tiering of this program ------------------------------------------------------------------
 */

typedef struct pool_options pool_options;
typedef struct pool_tiering pool_tiering;

enum pool_sampler_kind {
    POOL_SAMPLER_RWP = 0, /* userfaultfd read-write protection, asynchronous: kernel >= 7.3 */
};
/* What a tiering takes is the first that works of RWP, write protection (kernel >= 6.7, sees writes
 * alone) and, as root, DAMON; which one it was is part of pool_tiering_status(). */

/* 0 when this sampler works here and now; else negative errno and the reason in pool_last_error().
 */
int pool_sampler_probe(enum pool_sampler_kind kind);

enum pool_mover_kind {
    POOL_MOVER_KERNEL = 0, /* move_pages(2) */
    POOL_MOVER_DRY = 1,    /* samples and decides, moves nothing: to see what it would do */
};

enum pool_option {
    POOL_OPTION_NEAR_LIMIT_BYTES = 0, /* near memory that tracked pages may take; default: no limit
                                         but the node's own room */
    POOL_OPTION_CPU_BUDGET_PPM = 1, /* sampling and deciding, parts per million of the program's own
                                       CPU time; default 10000 (1 %), 100…1000000; three times that
                                       in the first cycles and for 10 s after each change of
                                       behaviour, as far as it was saved before */
    POOL_OPTION_MOVER = 2,          /* enum pool_mover_kind; default POOL_MOVER_KERNEL */
    POOL_OPTION_MOVE_LIMIT_BYTES_PER_S = 3, /* default 0: none */
    POOL_OPTION_GAIN_NS = 4,   /* what one access to a near page saves, up to 1000000; default 0:
                                  measured at start and every second from then on (0.01 % of a CPU),
                                  with loads from 256 KiB on each node. When near memory has become
                                  slower than far memory nothing is promoted. Give it where memory is
                                  emulated and loads tell nothing */
    POOL_OPTION_STAY_MS = 5,   /* since 0.2 without effect: the policy finds out how long pages stay
                                  hot */
    POOL_OPTION_DECIDE_MS = 6, /* at least so long between two decisions, default 200; 10…60000 */
    POOL_OPTION_SEED = 7,      /* of the randomised window lengths, default 1 */
    POOL_OPTION_CONTROL = 8, /* 1 (default): a control socket, at which `pooltier` and poold of the
                                same user (of root alone, when the process has capabilities or is
                                not dumpable) can ask, and set limits; 0: none. Since 0.2 */
};

int pool_options_new(pool_options** out);
void pool_options_free(pool_options* options);
/* -EINVAL for an option or a value out of its range. */
int pool_options_set(pool_options* options, enum pool_option option, uint64_t value);
/* Since 0.2 -ENOTSUP: `pooltier record` writes recordings. */
int pool_options_record_to(pool_options* options, const char* path);

/*
 * Starts a thread that samples, decides and moves, one that looks once a second what nodes there
 * are (memory that is plugged later is used, memory that goes is no trouble), and one for the
 * control socket. The topology is
 * copied. -EOPNOTSUPP when there is nothing to tier or no sampler works, with the reason; it never
 * starts and then does nothing. As root on a kernel without the others it takes DAMON, of which a
 * machine has one: it is refused while somebody else's runs, switches DAMON_STAT off, and puts both
 * back in pool_tiering_stop().
 */
int pool_tiering_start(const pool_topology* topology, const pool_options* options,
                       pool_tiering** out);
/*
 * Ends its threads (one may be in a move of up to 512 pages), removes all protection. Pages stay.
 * In a forked child it does nothing: what there is of the tiering there is a copy without threads,
 * and all other calls for it are refused (-ECHILD; pool_tiering_stat() gives 0).
 */
void pool_tiering_stop(pool_tiering* tiering);

/*
 * Tracks [base, base + bytes), private anonymous memory of this process, page aligned. Remove it
 * before munmap(). At most 4096 ranges. A forked child is not tracked. While tracked, another
 * userfaultfd cannot register the range. Huge pages in it may be split, in place, after a trial has
 * shown that their parts differ (docs/TIERING.md, Huge pages): the mapping then has MADV_NOHUGEPAGE
 * as long as that lasts; after a trial that won nothing it has MADV_HUGEPAGE. Whoever has given
 * other advice for a range gives it anew after pool_tiering_remove(). Split pages stay split.
 */
int pool_tiering_add(pool_tiering* tiering, void* base, size_t bytes);
int pool_tiering_remove(pool_tiering* tiering, void* base);

enum pool_hint_kind {
    POOL_HINT_NONE = 0, /* takes back a lasting hint on the very same range (where lasting
                           ones overlap, the later counts) */
    POOL_HINT_HOT = 1,  /* taken as a prior: believed hot, and worth a move, until samples say
                           otherwise. For data that is about to be used much */
    POOL_HINT_COLD = 2, /* likewise: believed idle. The first to go when room is needed */
    POOL_HINT_PINNED_NEAR = 3, /* lasts: brought near ahead of all others as far as there is room,
                                  and not taken away while others can be. It counts against the near
                                  limit, and what it costs is not the do-no-harm bound's affair */
    POOL_HINT_STREAM = 4, /* lasts: used once and in passing (a scan, a backup): its touches count
                             for nothing, it is never brought near for them */
};

/*
 * What the program knows of its memory, and sampling can only find out. It holds for that part of
 * [base, base + bytes) which is tracked; -ENOENT when nothing of it is. It is widened to whole
 * pages, and on a huge page to all of it.
 * Hints end with pool_tiering_remove(). They are no orders: nothing moves before the next decision,
 * nor beyond the limits. Since 0.2.
 */
int pool_hint(pool_tiering* tiering, const void* base, size_t bytes, enum pool_hint_kind hint);

enum pool_stat {
    POOL_STAT_WINDOWS = 0,       /* sampling windows done */
    POOL_STAT_ARMED_PAGES = 1,   /* pages protected, summed over windows */
    POOL_STAT_TOUCHED_PAGES = 2, /* pages found touched, summed over windows */
    POOL_STAT_PROMOTED_PAGES =
        3, /* pages that are near now because they were moved: asked, not assumed */
    POOL_STAT_DEMOTED_PAGES = 4, /* likewise far */
    POOL_STAT_FAILED_PAGES = 5,  /* moves tried that ended elsewhere; see pool_tiering_failure() */
    POOL_STAT_WANTED_PAGES = 6,  /* moves decided on */
    POOL_STAT_NO_ROOM_PAGES = 7, /* moves decided on and not tried: the node had no room, the move
                                    limit was reached, a second had passed, or ranges changed */
    POOL_STAT_NEAR_PAGES = 8,    /* tracked pages that were near when last asked */
    POOL_STAT_FAR_PAGES = 9,
    POOL_STAT_THREAD_CPU_NS = 10, /* CPU time of the tiering thread without moving */
    POOL_STAT_FAULT_CPU_NS = 11,  /* estimate: touched pages x the fault cost measured at start */
    POOL_STAT_MOVE_NS = 12,       /* wall time inside move_pages */
    POOL_STAT_DECISIONS = 13,
    POOL_STAT_TRACKED_BYTES = 14,
    POOL_STAT_GAIN_NS = 15,      /* what an access to a near page saves, as measured or as given */
    POOL_STAT_MOVE_COST_NS = 16, /* what moving a page costs, as measured lately */
};
uint64_t pool_tiering_stat(const pool_tiering* tiering, enum pool_stat stat);

/* The index-th reason for failed moves: its (positive) errno and page count; -ENOENT at the end.
 * errno 0 means: the kernel reported no error, and the page was nevertheless elsewhere. */
int pool_tiering_failure(const pool_tiering* tiering, size_t index, int* reason, uint64_t* pages);

/* One sentence on what it does now, or on why it cannot; and whether the kernel moves pages, too
 * (kernel.numa_balancing, read anew each time). Returns the length as snprintf does. */
int pool_tiering_status(const pool_tiering* tiering, char* buffer, size_t buffer_bytes);

/* ---- where pages are, and moving them by hand --------------------------------------------------
 */

/*
 * The true node of each page that holds `base + i * 4096`, i < count, in this process: node[i] >=
 * 0, or a negative errno (-ENOENT: no page there yet). It asks the kernel, not the sampler.
 */
int pool_where(const void* base, size_t count, int* node);

/* The result of an evacuation. */
typedef struct pool_moved pool_moved;

/* Called between batches; a value other than 0 stops the evacuation, which then returns -ECANCELED
 * with the pages moved so far in the result. */
typedef int (*pool_progress)(void* context, uint64_t done_pages, uint64_t total_pages);

/*
 * Moves the pages of process `pid` (0 = this one) away from a node, or out of a physical range, to
 * `to_nodes`, in that order and as far as each has room (live MemFree minus watermark). Pages that
 * arrive meanwhile are not chased. -ENOENT for a target without memory. Other processes need
 * CAP_SYS_NICE; the physical range needs CAP_SYS_ADMIN (page frame numbers). 0 also when some pages
 * could not be moved: see the result.
 */
int pool_evacuate_node(pid_t pid, int from_node, const int* to_nodes, size_t to_count,
                       pool_progress progress, void* context, pool_moved** out);
int pool_evacuate_physical(pid_t pid, uint64_t start_bytes, uint64_t length_bytes,
                           const int* to_nodes, size_t to_count, pool_progress progress,
                           void* context, pool_moved** out);
void pool_moved_free(pool_moved* moved);

uint64_t pool_moved_found_pages(const pool_moved* moved);  /* pages that lay there */
uint64_t pool_moved_done_pages(const pool_moved* moved);   /* of them now elsewhere */
uint64_t pool_moved_failed_pages(const pool_moved* moved); /* of them still there */
/* As pool_tiering_failure(). ENOSPC: the target nodes had no room. */
int pool_moved_failure(const pool_moved* moved, size_t index, int* reason, uint64_t* pages);

/* ---- a far tier that shrinks and grows --------------------------------------------------------
 */

/*
 * Empties a node of all pages of this program, tracked or not, because it must go: within
 * deadline_ms, in the order of what they gain. The hottest go near, as far as near has room and as
 * they are worth it; the others to other far nodes; what does not fit there near, too. The hottest
 * leave first, so that what the deadline cuts off is the coldest. From now on nothing is moved
 * there; new pages may still be put there by the kernel, which is why a grant is released after
 * this and not instead of it. Neither the near limit nor the limit of bytes per second holds it up.
 *
 * Runs on the calling thread; the program's other threads run on, and `progress` is called between
 * batches of 512 pages. 0 also when some pages could not be moved: the result has the reasons
 * (ETIME: not tried before the deadline; ENOSPC: no room elsewhere; EBUSY: pinned). -EINVAL for a
 * node that is not of the topology, or the only one. Any thread, one drain at a time (-EBUSY).
 * Since 0.2.
 */
int pool_drain(pool_tiering* tiering, int node, uint64_t deadline_ms, pool_progress progress,
               void* context, pool_moved** out);

/*
 * The node is one of the tier again: the drain is called off, or its memory has come back. A grant
 * that arrives needs no call otherwise: a node that the topology named, with or without memory, is
 * used from the moment it has some. -ENOENT when it was not drained. Since 0.2.
 */
int pool_readmit(pool_tiering* tiering, int node);

/* Bytes of process `pid` that lie in a physical range. Needs CAP_SYS_ADMIN. Moves nothing. */
int pool_held_bytes(pid_t pid, uint64_t start_bytes, uint64_t length_bytes, uint64_t* held_bytes);

#ifdef __cplusplus
}
#endif

#endif /* POOL_POOL_H */
