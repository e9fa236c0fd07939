// SPDX-License-Identifier: Apache-2.0
#include "pooltrace/world.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <numeric>

#include "pooltrace/touches.h"

namespace libpool::tier::trace {

namespace {

constexpr double shortest_step_s = 1e-4;  // of a policy that asks for no sampling and no pause

[[noreturn]] void broken(const char* what) {
    std::fprintf(stderr, "pooltrace: the policy broke its contract: %s\n", what);
    std::abort();
}

// Where pages are: one bit in all bits of a word, so that counts of near pages add up without a
// branch.
class Placement {
  public:
    Placement(uint32_t pages, uint64_t room) : near_(pages, 0), room_(room) {}
    bool near(PageId page) const { return near_[page] != 0; }
    uint64_t used() const { return used_; }
    uint64_t room() const { return room_ - used_; }
    bool put_near(PageId page) {
        if (room() == 0) return false;
        near_[page] = ~0u;
        ++used_;
        return true;
    }
    void put_far(PageId page) {
        near_[page] = 0;
        --used_;
    }
    uint64_t near_accesses(std::span<const uint32_t> counts) const {
        uint64_t sum = 0;
        for (size_t i = 0; i < counts.size(); ++i) sum += counts[i] & near_[i];
        return sum;
    }

  private:
    std::vector<uint32_t> near_;
    uint64_t room_, used_ = 0;
};

class Simulation {
  public:
    Simulation(const Trace& trace, Policy& policy, const World& world)
        : trace_(trace),
          policy_(policy),
          world_(world),
          births_(births(trace)),
          touches_(trace, births_, world.seed),
          ours_(trace.pages, world.near_pages),
          base_(trace.pages, world.near_pages),
          born_(trace.pages, 0),
          moved_(trace.pages, never_moved),
          by_birth_(trace.pages),
          end_s_(trace.epoch_s() * double(trace.epochs())) {
        std::iota(by_birth_.begin(), by_birth_.end(), 0u);
        std::ranges::stable_sort(by_birth_, {}, [&](PageId page) { return births_[page]; });
        outcome_.rows.resize(trace.epochs());
        outcome_.seconds = end_s_;
    }

    Outcome run() {
        policy_.track({0, trace_.pages});
        enter(0);
        while (now_s_ < end_s_) step();
        return std::move(outcome_);
    }

  private:
    static constexpr uint32_t never_moved = UINT32_MAX;

    void step() {
        Aim aim = policy_.aim(situation());
        if (aim.runs.empty()) return advance(now_s_ + std::max(aim.pause_s, shortest_step_s));
        check(aim);
        advance(now_s_ + std::max(aim.pause_s, 0.0));
        if (now_s_ >= end_s_) return;
        Reading reading{.start_s = now_s_,
                        .rungs_s = std::move(aim.rungs_s),
                        .runs = std::move(aim.runs),
                        .sights = {},
                        .counts = {},
                        .huge = {}};
        sample(reading);
        advance(now_s_ + reading.rungs_s.back());
        if (now_s_ >= end_s_) return;
        ++outcome_.cycles;
        policy_.observe(reading, situation());
        apply(policy_.decide(situation()));
    }

    void check(const Aim& aim) const {
        if (aim.rungs_s.empty() || aim.rungs_s.size() > rung_limit)
            broken("a cycle has one to eight looks");
        for (size_t i = 0; i < aim.rungs_s.size(); ++i)
            if (!(aim.rungs_s[i] > (i == 0 ? 0 : aim.rungs_s[i - 1]))) broken("looks rise");
        PageId from = 0;
        for (const Run& run : aim.runs) {
            if (run.first < from || run.pages == 0 || run.pages > trace_.pages - run.first)
                broken("runs rise, are disjoint, and of tracked pages");
            from = run.end();
        }
    }

    Situation situation() {
        Situation s;
        s.now_s = now_s_;
        s.near_pages = world_.near_pages;
        s.near_room_pages = ours_.room();
        s.far_room_pages = trace_.pages;
        s.loss_ns = world_.loss_ns;
        s.move_ns = world_.move_ns;
        if (world_.mover_pages_per_s > 0) s.move_pages = uint64_t(move_allowance());
        if (!world_.exact) s.costs = world_.costs;
        s.overhead_cpu_s = overhead_s_;
        s.program_cpu_s = now_s_;
        return s;
    }

    // At most one second's worth is saved up.
    double move_allowance() const {
        return std::min(world_.mover_pages_per_s,
                        world_.mover_pages_per_s * (now_s_ - moved_until_s_));
    }

    void sample(Reading& reading) {
        if (world_.exact) return touches_.count(reading);
        double faults = double(touches_.look(reading)), pages = double(reading.sights.size());
        const SampleCosts& c = world_.costs;
        double ns = pages * (c.arm_page_ns + world_.decide_page_ns) +
                    double(reading.runs.size()) * c.arm_run_ns + faults * c.fault_ns +
                    pages * double(reading.rungs_s.size()) * c.look_page_ns;
        outcome_.rows[epoch_].overhead_ns += ns;
        overhead_s_ += ns * 1e-9;
    }

    void advance(double to_s) {
        now_s_ = to_s;
        while (epoch_ + 1 < trace_.epochs() && double(epoch_ + 1) * trace_.epoch_s() <= to_s)
            enter(epoch_ + 1);
    }

    void enter(size_t epoch) {
        if (epoch > 0) outcome_.rows[epoch_].near_used = ours_.used();
        epoch_ = epoch;
        bear();
        EpochRow& row = outcome_.rows[epoch];
        std::span<const uint32_t> counts = trace_.epoch(epoch);
        double all = double(std::accumulate(counts.begin(), counts.end(), uint64_t{0}));
        row.near = double(ours_.near_accesses(counts));
        row.far = all - row.near;
        row.base_near = double(base_.near_accesses(counts));
        row.base_far = all - row.base_near;
        row.near_used = ours_.used();
    }

    // New pages: near while there is room, which is what the kernel does.
    void bear() {
        std::vector<PageId> near, far;
        for (; next_birth_ < by_birth_.size(); ++next_birth_) {
            PageId page = by_birth_[next_birth_];
            if (births_[page] > epoch_) break;
            born_[page] = 1;
            bool wants = trace_.home.empty() || trace_.home[page] != Place::far;
            if (wants) base_.put_near(page);
            (wants && ours_.put_near(page) ? near : far).push_back(page);
        }
        if (!near.empty()) policy_.place(near, Place::near);
        if (!far.empty()) policy_.place(far, Place::far);
    }

    void apply(const Plan& plan) {
        uint64_t most = world_.mover_pages_per_s > 0 ? uint64_t(move_allowance()) : UINT64_MAX;
        std::vector<PageId> demoted, promoted;
        for (PageId page : plan.demote) {
            bool can = page < trace_.pages && ours_.near(page) && demoted.size() < most;
            if (can) ours_.put_far(page);
            can ? demoted.push_back(page) : void(++outcome_.refused);
        }
        for (PageId page : plan.promote) {
            bool can = page < trace_.pages && born_[page] && !ours_.near(page) &&
                       demoted.size() + promoted.size() < most && ours_.put_near(page);
            can ? promoted.push_back(page) : void(++outcome_.refused);
        }
        book(demoted, -1);
        book(promoted, +1);
        if (!demoted.empty()) policy_.place(demoted, Place::far);
        if (!promoted.empty()) policy_.place(promoted, Place::near);
    }

    // What is left of the epoch is served from the new place.
    void book(const std::vector<PageId>& pages, int toward_near) {
        EpochRow& row = outcome_.rows[epoch_];
        std::span<const uint32_t> counts = trace_.epoch(epoch_);
        double left = double(epoch_ + 1) - now_s_ / trace_.epoch_s();
        for (PageId page : pages) {
            double accesses = toward_near * left * counts[page];
            row.near += accesses;
            row.far -= accesses;
            row.ping_pong +=
                moved_[page] != never_moved && epoch_ - moved_[page] <= world_.ping_pong_epochs;
            moved_[page] = uint32_t(epoch_);
        }
        (toward_near > 0 ? row.promoted : row.demoted) += pages.size();
        row.near_used = ours_.used();
        if (world_.mover_pages_per_s > 0) {
            double saved = move_allowance() - double(pages.size());
            moved_until_s_ = now_s_ - saved / world_.mover_pages_per_s;
        }
    }

    const Trace& trace_;
    Policy& policy_;
    const World& world_;
    std::vector<uint32_t> births_;
    Touches touches_;
    Placement ours_, base_;
    std::vector<uint8_t> born_;
    std::vector<uint32_t> moved_;  // epoch of a page's last move
    std::vector<PageId> by_birth_;
    size_t next_birth_ = 0, epoch_ = 0;
    double now_s_ = 0, end_s_, overhead_s_ = 0, moved_until_s_ = 0;
    Outcome outcome_;
};

}  // namespace

Outcome simulate(const Trace& trace, Policy& policy, const World& world) {
    return Simulation(trace, policy, world).run();
}

}  // namespace libpool::tier::trace
