// SPDX-License-Identifier: Apache-2.0
// What to sample next, and when. Two kinds of cycle share the CPU budget:
//   full    every page of the blocks whose pages differ, some of the others: decisions rest on
//   these glance  a few pages of 64 blocks: notices changes and keeps the bank's books, far more
//   often
// Both pause for exponential times, so that no program can be in step with them. `weight_s` is the
// inverse hazard (the mean; 0 where the pause was cut), which makes a booking of rate × weight
// right on average for any trace fixed in advance. Where runs are dear there are full cycles only,
// of everything or of some stretches, and pauses only vary around their mean: too few of them to
// leave long gaps to chance. Pure but for its dice.
#pragma once

#include <span>

#include "tier/pages.h"

namespace libpool::tier {

enum class Mood {
    usual,
    busy,  // the program has just changed its ways: worth more CPU
    poor,  // the bank cannot pay for moves: what is not spent on looking is
};

// Where a run costs much more than its pages (in a guest each one interrupts every CPU that runs
// the program), single pages are not armed.
bool runs_are_dear(const SampleCosts& costs);

class Schedule {
  public:
    Schedule(double share, double busy_share, uint64_t seed)
        : share_(share), busy_share_(busy_share), dice_(seed * 0x9e3779b97f4a7c15ull | 1) {}

    void set_share(double share) { share_ = share; }
    // also: pages to look at in any case; rising. Of a huge page its first.
    Aim next(const Pages& pages, std::span<const PageId> also, const Situation& situation,
             double boundary_rate, Mood mood);

    // Of the cycle that next() gave last.
    bool full() const { return full_; }
    double weight_s() const { return weight_s_; }  // time its rates stand for, cycle not included
    // The look that parts what is above the boundary from what is below, and an earlier one that
    // hot pages do not saturate: for books.
    size_t telling_rung() const { return telling_rung_; }
    size_t booking_rung() const { return telling_rung_ > 1 ? telling_rung_ - (dear_ ? 1 : 2) : 0; }
    double blocks_share() const { return blocks_share_; }  // of blocks that a glance looked at
    // How many parts like this one the block has, any of which could have been armed as well.
    double stands_for(uint32_t block, uint32_t armed) const;
    // Whether a run with this first page is there for `also` only.
    bool added(PageId first) const {
        return std::binary_search(added_.begin(), added_.end(), first);
    }
    double longest_gap_s() const { return (dear_ ? 1.5 : 3) * mean_pause_s_ + 0.05; }
    // The program has changed its ways: what was overspent before is not counted against looking
    // now.
    void forgive() {
        account_s_ = std::max(account_s_, 0.0);
        urgent_ = true;
    }
    // Nothing is known: some glances first, to learn which rungs tell anything.
    void restart() { introduced_ = 0; }

  private:
    double share_of(Mood mood) const;
    void charge(const Situation& situation, double share);
    void add_stretches(const Pages& pages, const SampleCosts& costs, std::vector<Run>& runs);
    void add_pages(const Pages& pages, std::span<const PageId> also, std::vector<Run>& runs);
    Aim count_all(const Pages& pages);
    void choose_rungs(Aim& aim, double boundary_rate, bool all_huge);
    double uniform() { return double(roll(dice_) >> 11) * 0x1p-53; }

    double share_, busy_share_;
    uint64_t dice_;
    double account_s_ = 0;  // CPU seconds that may be spent; negative: a debt
    double last_cpu_s_ = 0, last_overhead_s_ = 0, last_now_s_ = -1;
    double cpu_rate_ = 1;       // CPUs that the program uses
    double glance_cost_s_ = 0;  // of a glance, and of any cycle where runs are dear: as measured
    bool dear_ = false;
    bool urgent_ = false;  // the next cycle is not to wait, where cycles are rare
    uint64_t turn_ = 0;
    std::vector<PageId> added_;  // rising
    int introduced_ = 0;         // glances since restart()
    bool full_ = true;
    double weight_s_ = 0;
    size_t telling_rung_ = 0;
    double blocks_share_ = 1;
    double mean_pause_s_ = 0.05;
};

}  // namespace libpool::tier
