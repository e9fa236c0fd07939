// SPDX-License-Identifier: Apache-2.0
// What to sample next, and when. Two kinds of cycle share the CPU budget:
//   full   every page of the blocks whose pages differ, some of the others: what decisions rest on
//   glance a few pages of every block (of 128 blocks, if there are more): notices changes, keeps
//   the
//          bank's books, costs some percent of a full one and comes far more often
// Both pause for a random time, uniform in (0, 2·mean), so that no program can be in step with
// them; `weight_s` is the inverse hazard at the drawn time, which makes a booking of rate × weight
// right on average for any trace fixed in advance. Pure but for its dice.
#pragma once

#include "tier/pages.h"

namespace libpool::tier {

class Schedule {
  public:
    Schedule(double share, double busy_share, uint64_t seed)
        : share_(share), busy_share_(busy_share), dice_(seed * 0x9e3779b97f4a7c15ull | 1) {}

    void set_share(double share) { share_ = share; }
    Aim next(const Pages& pages, const Situation& situation, double boundary_rate, bool busy);

    // Of the cycle that next() gave last.
    bool full() const { return full_; }
    double weight_s() const { return weight_s_; }  // time its rates stand for, cycle not included
    size_t telling_rung() const { return telling_rung_; }
    double blocks_share() const { return blocks_share_; }  // of blocks that a glance looked at
    double longest_gap_s() const { return 2 * mean_pause_s_ + 0.05; }

  private:
    void charge(const Situation& situation, bool busy);
    void choose_rungs(Aim& aim, double boundary_rate, bool all_huge);
    double uniform() { return double(roll(dice_) >> 11) * 0x1p-53; }

    double share_, busy_share_;
    uint64_t dice_;
    double account_s_ = 0;  // CPU seconds that may be spent; negative: a debt
    double last_cpu_s_ = 0, last_overhead_s_ = 0, last_now_s_ = -1;
    double cpu_rate_ = 1;  // CPUs that the program uses
    double glance_cost_s_ = 0;
    uint64_t turn_ = 0;
    bool full_ = true;
    double weight_s_ = 0;
    size_t telling_rung_ = 0;
    double blocks_share_ = 1;
    double mean_pause_s_ = 0.05;
};

}  // namespace libpool::tier
