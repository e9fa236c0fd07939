// SPDX-License-Identifier: Apache-2.0
// Ties it together: the policy says what to look at, the sampler looks, the policy says what should
// move, the mover moves it. It owns no thread and no clock of its own: run() is what the library's
// thread runs, and what the tests run in simulated time. Works for this process, or for another one
// by a sampler and a mover that reach it.
//
// Threads: run() on one thread; everything else on any. One lock guards ranges and policy; it is
// held while arming, looking and deciding, and during one batch of moves or one split, never while
// waiting: a caller on another thread waits so long. What is left of a plan when he has changed the
// ranges or the nodes is dropped.
#pragma once

#include <atomic>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "mover.h"
#include "tier/arm_cost.h"
#include "tier/clock.h"
#include "tier/move_cost.h"
#include "tier/sampler.h"
#include "tier/split_cost.h"
#include "tier/tier_policy.h"

namespace libpool::tier {

struct EngineConfig {
    pid_t pid = 0;  // whose pages; 0 = this process
    std::vector<int> near_nodes;
    std::vector<int> far_nodes;  // nearest first
    uint64_t near_limit_bytes = UINT64_MAX;
    uint64_t move_limit_bytes_per_s = 0;  // 0 = none
    double loss_ns = 150;                 // what an access to a far page costs more
    double decide_s = 0.2;                // at least so long between two decisions
};

struct EngineStatus {
    TierStatus policy;
    SamplerInfo sampler;
    uint64_t tracked_bytes = 0, near_bytes = 0, far_bytes = 0;
    uint64_t ranges = 0;
    uint64_t near_limit_bytes = 0, move_limit_bytes_per_s = 0;
    uint64_t promoted_pages = 0, demoted_pages = 0, failed_pages = 0;
    uint64_t wanted_pages = 0;   // moves decided on
    uint64_t no_room_pages = 0;  // of them not tried: no room, the MB/s limit, or time was up
    Reasons reasons;             // of the failed ones
    uint64_t cycles = 0, armed_pages = 0, touched_pages = 0, decisions = 0;
    uint64_t split_blocks = 0, unsplit_blocks = 0;  // huge pages that were, could not be split
    double split_s = 0;                             // wall time of that
    std::string split_note;     // why none can be, or that they may not last, or ""
    double move_s = 0;          // wall time inside moves
    double thread_cpu_s = 0;    // of sampling and deciding, moves left out
    double fault_cpu_s = 0;     // that the program paid: touched pages × measured cost
    double program_cpu_s = 0;   // since run() began
    double overhead_share = 0;  // of the program's CPU time, over the last 10 s
    double loss_ns = 0, move_ns = 0;
    std::string trouble;  // the last one, or ""
};

class Engine {
  public:
    static constexpr size_t range_limit = 4096;

    // All outlive the engine.
    Engine(Sampler& sampler, TierPolicy& policy, Mover& mover, Kernel& kernel, Clock& clock,
           EngineConfig config);

    // Page-aligned memory of the process. EEXIST when it overlaps a tracked range, ENOSPC at
    // range_limit, and what the sampler says.
    Result<void> add(const AddressRun& range);
    // The range that starts there, whole. ENOENT.
    Result<void> remove(uint64_t start);
    // All of them: their memory is as if it had never been tracked.
    void clear();

    // Cycles and decisions until the clock says stop, or until there is no memory for them.
    void run();

    Result<void> hint(const AddressRun& range, Hint hint);
    // Nodes came, went or are drained. All tracked pages are asked about anew: also what to call
    // when somebody else has moved many.
    void set_nodes(std::vector<int> near, std::vector<int> far);
    void set_near_limit(uint64_t bytes);
    void set_move_limit(uint64_t bytes_per_s);
    void set_cpu_share(double share);
    void set_loss_ns(double loss_ns);

    EngineStatus status() const;
    // Of the page that holds an address: ENOENT when it is not tracked.
    Result<Explanation> explain(uint64_t address) const;
    // Believed touches per second of each page of a tracked range, and where it starts.
    struct Rates {
        uint64_t start;
        std::vector<float> per_s;
    };
    std::vector<Rates> rates() const;
    std::vector<TierPolicy::Step> benefit() const;

  private:
    // A tracked range. Its pages are numbered so that blocks of PageIds are aligned 2 MiB blocks.
    struct Tracked {
        uint64_t id = 0;  // never used again
        AddressRun range;
        Run ids;               // whole blocks around it
        PageId first = 0;      // of the range's first page
        bool no_huge = false;  // the kernel was told to make no huge pages there
    };
    struct Armed {
        uint64_t owner;  // id
        Run run;
        AddressRun memory;
    };

    std::unique_lock<std::mutex> enter() const;
    bool let_callers_in();
    bool cycle();
    bool pause(double seconds);
    bool arm(const Aim& aim, double& start_s);
    Result<Look> look(Sight rung);
    void finish(const Look& look, std::vector<double> rungs_s, double start_s);
    void place_newborn(const Reading& reading);
    void refresh_places();
    void ask_all(const Tracked& tracked);
    void ask(std::span<const PageId> pages);
    void decide(double now_s);
    void carry_out(const Plan& plan);
    bool split(const Plan& plan);
    std::string why_no_split() const;
    uint64_t move_some(std::span<const PageId> pages, const std::vector<int>& targets, Place where);
    void learn_call_cost(uint64_t address);
    void learn_run_cost();
    Situation situation();
    void settle_overhead(double now_s);
    uint64_t room_pages(const std::vector<int>& nodes);
    uint64_t deficit_pages();
    uint64_t whole_units(std::span<const PageId> pages, uint64_t wanted, uint64_t most) const;
    uint64_t tracked_pages() const;
    Place place_of(int node) const;
    PageId allocate(uint32_t blocks) const;
    Tracked* find(PageId page) const;
    const Tracked* find_address(uint64_t address) const;
    uint64_t address_of(PageId page) const;
    void trouble(const std::string& sentence) { trouble_ = sentence; }

    Sampler& sampler_;
    TierPolicy& policy_;
    Mover& mover_;
    Kernel& kernel_;
    Clock& clock_;

    mutable std::atomic<int> waiting_ = 0;  // callers that want the lock
    mutable std::mutex lock_;               // guards all below
    EngineConfig config_;
    std::vector<std::unique_ptr<Tracked>> tracked_;  // by ids.first
    uint64_t next_id_ = 0;
    uint64_t changes_ = 0;  // of ranges and nodes: what was planned before is void
    std::vector<Armed> armed_;
    std::vector<bool> huge_;  // by block: one huge page, when last looked at
    uint64_t refresh_at_ = 0;
    uint64_t aimed_pages_ = 0;  // tracked when the cycle under way was planned
    SamplerInfo info_;
    EngineStatus totals_;  // the counts among it
    ArmCost arm_cost_;
    MoveCost move_cost_;
    SplitCost split_cost_;
    double move_credit_bytes_ = 0;
    double last_decide_s_ = -1;
    double again_s_ = 0;  // as the last plan said
    double cpu_in_moves_s_ = 0;
    double first_program_cpu_s_ = -1, first_thread_cpu_s_ = 0;
    struct Sample {
        double now_s, overhead_s, program_s;
    };
    std::deque<Sample> history_;  // of the last 10 s
    std::atomic<bool> ran_out_ = false;
    std::string trouble_;
};

}  // namespace libpool::tier
