// SPDX-License-Identifier: Apache-2.0
// What every tiering policy is, ours and those we compare with: a state machine that does no IO. It
// says what to sample next, is told what was seen and where pages are, and says what to move. The
// same object runs in a program, in poold, and in the simulator (pooltrace), which is why time,
// costs and room come in with each call.
//
// Pages have numbers (PageId), 4 KiB each. Ranges that are tracked start at a multiple of
// block_pages and keep their numbers until they are forgotten; who owns the address of a page is
// the caller's affair. Calls come from one thread at a time.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace libpool::tier {

using PageId = uint32_t;

inline constexpr uint32_t block_pages = 512;  // 2 MiB: what one huge page covers

// Consecutive pages.
struct Run {
    PageId first = 0;
    uint32_t pages = 0;
    PageId end() const { return first + pages; }
    friend bool operator==(const Run&, const Run&) = default;
};

enum class Place : uint8_t {
    nowhere,  // no page there, or on a node outside our tiers: left alone
    near,
    far,
};

// What one cycle (arm, then look several times) tells of a page: the number of the first look
// (rung) that found it touched, 0…rung_limit-1, or one of these.
using Sight = uint8_t;
inline constexpr size_t rung_limit = 8;
inline constexpr Sight not_touched =
    253;  // present all the time, and not touched up to the last look
inline constexpr Sight page_absent = 254;  // no page there, or it came into being meanwhile

// One cycle. A page is armed once and looked at at rising times without being armed again, so it
// costs the program at most one fault a cycle, and tells how soon it was touched first.
struct Reading {
    double start_s = 0;            // when it was armed
    std::vector<double> rungs_s;   // from arming to each look, rising
    std::vector<Run> runs;         // what was armed: rising, disjoint
    std::vector<Sight> sights;     // of all pages of all runs, in order
    std::vector<uint32_t> counts;  // empty, or (exact samplers) accesses of each page within
                                   // rungs_s.back(); sights are then of no account
    std::vector<PageId> huge;      // first pages of the blocks that are one huge page: one bit for
                                   // all 512, and they move as one
};

// What to sample next. Blocks that are huge pages must be armed whole.
struct Aim {
    double pause_s = 0;  // from now to arming: the CPU budget's wish
    std::vector<Run>
        runs;  // rising, disjoint; empty: nothing to sample, call again after the pause
    std::vector<double> rungs_s;  // 1 to rung_limit looks
    // Touched pages, from which on later looks tell nothing new and may be left out.
    uint64_t enough = UINT64_MAX;
};

// Measured by the sampler at its start, for the program's machine.
struct SampleCosts {
    double arm_page_ns = 0;
    double arm_run_ns = 0;    // per run: one system call
    double fault_ns = 0;      // of a touched page: the program pays it
    double look_page_ns = 0;  // per page and look
    bool free() const {       // exact counts from outside
        return arm_page_ns + arm_run_ns + fault_ns + look_page_ns <= 0;
    }
};

// The world at the time of a call.
struct Situation {
    double now_s = 0;
    uint64_t near_pages = 0;  // that tracked pages may take near in all, if all of it is to be had
    uint64_t near_room_pages =
        0;  // free near right now (live MemFree above the watermark, limit kept)
    uint64_t far_room_pages = 0;
    double loss_ns = 150;   // what one access to a far page costs more than to a near one
    double move_ns = 2000;  // what moving one page costs, either way
    uint64_t move_pages = UINT64_MAX;  // cap on this decision's moves (MB/s limit)
    SampleCosts costs;
    bool writes_only = false;     // of touches only writes are seen: what is idle may be read much
    double split_ns = 0;          // what splitting a huge page costs
    bool can_split = false;       // somebody can, and the sampler then sees its parts
    double overhead_cpu_s = 0;    // sampling, faults and deciding so far
    double program_cpu_s = 0;     // of the tracked program so far; what budgets are shares of
    uint64_t resident_pages = 0;  // of the program; 0: not known
};

struct Plan {
    std::vector<PageId> demote;      // in the order in which they should go
    std::vector<PageId> promote;     // likewise; carried out after room was made for them
    std::vector<PageId> split = {};  // first pages of blocks that are to be huge pages no more
    bool huge_again = false;         // the kernel may make huge pages again of those that were
    // More could be decided after so much time, without another reading; 0: no.
    double again_s = 0;
};

class Policy {
  public:
    virtual ~Policy() = default;

    // Pages come under and leave our care. Tracked ones are Place::nowhere until placed.
    virtual void track(Run run) = 0;
    virtual void forget(Run run) = 0;
    // Where pages are, as the world says: at first sight, after moves (done, failed or half done),
    // and when somebody else moved them.
    virtual void place(std::span<const PageId> pages, Place where) = 0;

    virtual Aim aim(const Situation& situation) = 0;
    virtual void observe(const Reading& reading, const Situation& situation) = 0;
    virtual Plan decide(const Situation& situation) = 0;
};

}  // namespace libpool::tier
