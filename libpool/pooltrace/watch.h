// SPDX-License-Identifier: Apache-2.0
// Looks over our policy's shoulder: what it promises, whenever that changes, and a line of its
// status every so often of simulated time.
#pragma once

#include <cstdio>
#include <vector>

#include "pooltrace/metrics.h"
#include "tier/tier_policy.h"

namespace libpool::tier::trace {

class Watched : public Policy {
  public:
    // every_s 0: never.
    Watched(TierPolicy& policy, double every_s) : policy_(policy), every_s_(every_s) {}

    void track(Run run) override { policy_.track(run); }
    void forget(Run run) override { policy_.forget(run); }
    void place(std::span<const PageId> pages, Place where) override { policy_.place(pages, where); }
    Aim aim(const Situation& situation) override { return policy_.aim(situation); }
    void observe(const Reading& reading, const Situation& situation) override {
        policy_.observe(reading, situation);
    }
    Plan decide(const Situation& situation) override {
        Plan plan = policy_.decide(situation);
        demoted_ += plan.demote.size();
        promoted_ += plan.promote.size();
        const BankStatus bank = policy_.status().bank;  // its doubt is left out
        if (promises_.empty() || promises_.back().allowance_s != bank.allowance_s ||
            promises_.back().unnoticed_s != bank.unnoticed_s) {
            promises_.push_back({situation.now_s, bank.allowance_s, bank.unnoticed_s});
        }
        if (every_s_ > 0 && situation.now_s >= next_s_) {
            next_s_ = situation.now_s + every_s_;
            print_line(situation);
        }
        return plan;
    }

    // Of all moments; with its doubt (D) left out, so this asks for more than is promised.
    const std::vector<Promise>& promises() const { return promises_; }

  private:
    void print_line(const Situation& situation) const {
        auto n = [](uint64_t value) { return static_cast<unsigned long long>(value); };
        TierStatus s = policy_.status();
        const BankStatus& b = s.bank;
        std::printf(
            "%8.2f s near %.3f boundary %.3g/s | C %.3g earned %.3g lost %.3g spent %.3g margin "
            "%.3g "
            "reserve %.3g balance %.3g | guests %llu exiles %llu returned %llu | cycles %llu "
            "changes %llu contested %llu of %llu%s | demoted %llu promoted %llu cpu %.2f %%\n",
            situation.now_s, s.near_share, s.boundary_rate, b.allowance_s, b.earned_s, b.lost_s,
            b.spent_s, b.margin_s, b.reserve_s, b.balance_s, n(b.guests), n(b.exiles),
            n(b.returned_pages), n(s.cycles), n(s.changes), n(s.contested_blocks), n(s.blocks),
            s.busy ? " busy" : "", n(demoted_), n(promoted_),
            100 * situation.overhead_cpu_s / situation.program_cpu_s);
    }

    TierPolicy& policy_;
    double every_s_, next_s_ = 0;
    uint64_t demoted_ = 0, promoted_ = 0;
    std::vector<Promise> promises_;
};

}  // namespace libpool::tier::trace
