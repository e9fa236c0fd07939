// SPDX-License-Identifier: Apache-2.0
// Ties it together: windows of the sampler feed heat, the policy decides, the mover moves. It owns
// no thread and no clock of its own: run() is what the library's thread runs, and what the tests
// run in simulated time.
//
// Threads: run() on one thread; add, remove, stat, failure and status on any. One lock guards the
// tracked ranges; it is held while arming, scanning, deciding and moving (at most a second and one
// batch of moves), never during a window.
#pragma once

#include <array>
#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "budget.h"
#include "ladder.h"
#include "mover.h"
#include "policy.h"
#include "recording.h"
#include "sampler.h"

namespace libpool {

class Clock {
  public:
    virtual ~Clock() = default;
    virtual double now_s() = 0;
    virtual double thread_cpu_s() = 0;
    // False when it was told to stop; may then return early.
    virtual bool wait(double seconds) = 0;
};

struct EngineConfig {
    std::vector<int> near_nodes;
    std::vector<int> far_nodes;  // nearest first
    uint64_t near_limit_bytes = UINT64_MAX;
    double cpu_share = 0.01;
    uint64_t move_limit_bytes_per_s = 0;  // 0 = none
    double gain_ns = 150;
    double stay_s = 120;
    double decide_s = 0.25;
    uint64_t seed = 1;
};

enum class Stat {
    windows,
    armed,
    touched,
    promoted,
    demoted,
    failed,
    wanted,
    no_room,
    near_pages,
    far_pages,
    thread_cpu_ns,
    fault_cpu_ns,
    move_ns,
    decisions,
    tracked_bytes,
    gain_ns,
    move_cost_ns,
};
inline constexpr size_t stat_count = static_cast<size_t>(Stat::move_cost_ns) + 1;

class Engine {
  public:
    static constexpr size_t range_limit = 64;

    // All outlive the engine. record: nullptr or where to write the recording.
    Engine(Sampler& sampler, Mover& mover, Kernel& kernel, Clock& clock, EngineConfig config,
           std::ostream* record = nullptr);

    Result<void> add(const Range& range);
    Result<void> remove(uint64_t start);

    // Windows and decisions until the clock says stop, or until there is no memory for them, which
    // status() tells: nobody is below this on the library's thread to catch an exception.
    void run();

    uint64_t stat(Stat stat) const;
    Reasons reasons() const;
    std::string status() const;

  private:
    struct Tracked {
        Tracked(const Range& its_range, int its_id)
            : range(its_range),
              id(its_id),
              heat(range.pages),
              nodes(range.pages, -1),
              rested(range.pages, 255) {}
        Range range;
        int id;  // never used again, so that a window can tell a range from its successor
        Heat heat;
        std::vector<int> nodes;  // as last asked; negative: nowhere
        std::vector<uint8_t> rested;
        size_t refresh_at = 0;
        bool armed = false;
    };
    struct PageRef {
        Tracked* owner;
        size_t page;
    };

    void sample_and_decide();
    void reckon_window(double fixed_s, double faults_s);
    void arm_all();
    void scan_all();
    void scan_one(Tracked& tracked);
    void refresh_places();
    void ask(Tracked& tracked, const std::vector<size_t>& pages);
    void decide();
    void age_move_cost(const Plan& plan, double seconds);
    void carry_out(const Plan& plan, const std::vector<PageRef>& refs);
    uint64_t move_some(std::vector<uint32_t>::const_iterator& at, uint64_t count,
                       const std::vector<PageRef>& refs, const std::vector<int>& targets,
                       Stat counter);
    Place place_of(int node) const;
    uint64_t room_pages(const std::vector<int>& nodes);
    uint64_t near_count() const;
    void drop(size_t index, const Error& why);
    void count(Stat stat, uint64_t by) { stats_[static_cast<size_t>(stat)] += by; }
    void set(Stat stat, uint64_t value) { stats_[static_cast<size_t>(stat)] = value; }
    void trouble(std::string sentence);

    Sampler& sampler_;
    Mover& mover_;
    Kernel& kernel_;
    Clock& clock_;
    const EngineConfig config_;
    std::ostream* record_;

    mutable std::mutex lock_;  // guards tracked_, next_id_
    std::vector<std::unique_ptr<Tracked>> tracked_;
    int next_id_ = 0;

    std::atomic<int> learning_windows_ = 0;
    std::atomic<double> learning_cpu_s_ = 0;
    std::atomic<bool> ran_out_ = false;

    // Of the thread that runs run().
    Budget budget_;
    Ladder ladder_;
    double boundary_rate_ = 0;
    double window_s_ = 0;      // length of the last one
    double fixed_cost_s_ = 0;  // of arming, scanning and deciding, lately
    double fault_share_ =
        0;  // CPU that faults take within a short window, as a share of its length
    double affordable_s_ = 0.004;
    double move_ns_ = 2000;  // per page: a guess, then as measured lately
    double measured_move_ns_ = 0;
    bool move_cost_known_ = false;
    double move_credit_bytes_ = 0;
    double last_decision_s_ = 0;
    double cpu_in_moves_s_ = 0;

    std::array<std::atomic<uint64_t>, stat_count> stats_{};
    mutable std::mutex words_lock_;  // guards reasons_, trouble_
    Reasons reasons_;
    std::string trouble_;
};

}  // namespace libpool
