// SPDX-License-Identifier: Apache-2.0
// What a tiered process tells of itself: plain values, made by whoever runs the engine, shown by
// pooltier and poold. Units in names; what is not known is 0 or empty.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "error.h"
#include "tier/tier_policy.h"

namespace libpool::tier {

enum class TieringState : uint8_t {
    tiered,
    untiered,  // the sentence says why: "not tracked: forked", "no second node with memory"
};

// A sampler that was probed and not taken.
struct Refusal {
    std::string sampler;
    std::string why;
};

struct MoveFailure {
    int code = 0;  // errno; 0: the kernel reported none, and the page was elsewhere nevertheless
    uint64_t pages = 0;
};

// What a member is missing for stays as it is.
struct Limits {
    std::optional<uint64_t> near_limit_bytes;  // UINT64_MAX: none
    // poold's word, beside the limit of its own; the lesser counts. It lapses allotment_s after it
    // was last given: a poold that has ended binds nobody.
    std::optional<uint64_t> allotted_bytes;
    std::optional<double> cpu_share;
    std::optional<uint64_t> move_limit_bytes_per_s;  // 0: none
    // poold's word, too, and lapses likewise: nodes that are being emptied, and so no place to move
    // pages to. All of them; an empty list ends it.
    std::optional<std::vector<int>> leaving_nodes;
};

inline constexpr double allotment_s = 60;

struct Snapshot {
    int pid = 0;     // of the process that answers
    int target = 0;  // of the process whose pages these are; the same unless it is attached to
    std::string program;
    std::string tenant;
    TieringState state = TieringState::untiered;
    std::string sentence;  // what it does now, or why it does not
    double uptime_s = 0;

    std::string sampler;  // "rwp", …
    std::string sampler_describes;
    bool writes_only = false;      // it sees no reads
    std::vector<Refusal> refused;  // in the order of preference

    std::vector<int> near_nodes, far_nodes;  // those that leave are not among them
    uint64_t tracked_bytes = 0, near_bytes = 0, far_bytes = 0;
    uint64_t near_limit_bytes = UINT64_MAX;
    uint64_t allotted_bytes = UINT64_MAX;  // by poold; UINT64_MAX: not at all
    uint64_t near_room_bytes = 0;
    double cpu_share = 0.01;
    uint64_t move_limit_bytes_per_s = 0;
    int numa_balancing = 0;  // the kernel's own, see numa_balancing.h; not 0: it moves pages, too

    uint64_t promoted_pages = 0, demoted_pages = 0, failed_pages = 0;
    uint64_t moved_bytes = 0;
    std::vector<MoveFailure> failures;
    uint64_t split_blocks = 0, unsplit_blocks = 0;  // huge pages that were, could not be split
    double split_s = 0;
    std::string split_note;
    double overhead_cpu_s = 0;  // sampling, faults and deciding
    double moving_s = 0;
    double program_cpu_s = 0;
    double overhead_share = 0;  // of the program's CPU time, over the last 10 s
    double loss_ns = 0;         // what a far access costs more
    double move_ns = 0;         // what moving a page costs

    double delta = 0;  // the bank's promise holds with probability 1 - delta
    TierStatus policy;
    uint64_t ranges = 0;
};

struct PageAnswer {
    int target = 0;        // as in Snapshot
    uint64_t address = 0;  // of the page
    std::string range;
    int node = -1;  // as the kernel says now; negative errno: nowhere
    double loss_ns = 0, move_ns = 0;
    Explanation explanation;
};

// Asking the kernel where pages are costs it a walk of the page tables.
enum class Detail : uint8_t { rates, rates_and_places };

// Believed rates of pages [first, first + rates.size()), for `pooltier record`. A slice that begins
// with page 0 looks anew, later ones go on with the same look. A page keeps its number; those of
// ranges that are gone are nowhere, with rate 0.
struct PageRange {
    uint64_t first = 0;  // number of its first page
    uint64_t start = 0;  // address
    uint64_t pages = 0;
};
struct PageSlice {
    uint64_t total_pages = 0;
    uint64_t first = 0;
    std::vector<float> rates;       // touches a second
    std::vector<Place> places;      // empty, or as many
    std::vector<PageRange> ranges;  // of the slice that begins with page 0: where all pages are
};
inline constexpr uint64_t slice_limit_pages = 32768;

using BenefitStep = TierPolicy::Step;
inline constexpr size_t benefit_limit = 256;

// Whoever runs an engine, seen from the control socket. Called from the socket's thread; must not
// throw but std::bad_alloc.
class Controlled {
  public:
    virtual ~Controlled() = default;
    virtual Snapshot status() = 0;
    virtual Result<PageAnswer> explain(uint64_t address) = 0;
    virtual Result<void> set(const Limits& limits) = 0;
    // At most `pages` of them, which is at most slice_limit_pages.
    virtual Result<PageSlice> pages(uint64_t first, uint64_t pages, Detail detail) = 0;
    // By falling rate, at most benefit_limit steps.
    virtual Result<std::vector<BenefitStep>> benefit() = 0;
    // The userfaultfd of a process that waits to be tiered from outside. It stays the owner's: a
    // copy goes to the peer.
    virtual Result<int> descriptor() {
        return fail(ENOTSUP, "it tiers itself, and has nothing to hand over");
    }
    // Lets lapse what has lapsed (an allotment). Seconds until it wants to be called again, which
    // may be INFINITY; called after every request, too.
    virtual double settle() = 0;
};

}  // namespace libpool::tier
