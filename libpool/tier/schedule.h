// SPDX-License-Identifier: Apache-2.0
// What to sample next, and when. Two kinds of cycle share the CPU budget:
//   full    every page of the blocks whose pages differ, some of the others: decisions rest on
//   these glance  a few pages of 64 blocks: notices changes and keeps the bank's books, far more
//   often
// Both pause for exponential times, so that no program can be in step with them. `weight_s` is the
// inverse hazard (the mean; 0 where the pause was cut), which makes a booking of rate × weight
// right on average for any trace fixed in advance. Where runs are dear there are other cycles:
//   whole   one run over everything (in large memory, long stretches): at the start, after a change
//   scout   a twelfth in stretches, often enough to notice a change within seconds
// and pauses only vary around their mean: too few of them to leave long gaps to chance. Pure but
// for its dice.
#pragma once

#include <span>

#include "tier/pages.h"

namespace libpool::tier {

enum class Mood {
    usual,
    busy,   // the program has just changed its ways: worth more CPU
    owing,  // a change has taken more than there was: paid back slowly
    poor,   // the bank cannot pay for moves: what is not spent on looking is
};

// Where a run costs much more than its pages (in a guest each one interrupts every CPU that runs
// the program), single pages are not armed. so_far: whether they have been; near the border what is
// measured differs from time to time, and to go to and fro is to begin anew each time.
bool runs_are_dear(const SampleCosts& costs, bool so_far);

class Schedule {
  public:
    Schedule(double share, double busy_share, uint64_t seed)
        : share_(share), busy_share_(busy_share), dice_(seed * 0x9e3779b97f4a7c15ull | 1) {}

    void set_shares(double share, double busy_share) {
        share_ = share;
        busy_share_ = busy_share;
    }
    // also: pages to look at in any case; rising. Of a huge page its first. dear: runs are.
    Aim next(const Pages& pages, std::span<const PageId> also, const Situation& situation,
             double boundary_rate, Mood mood, bool dear);

    // Of the cycle that next() gave last.
    bool full() const { return full_; }
    double weight_s() const { return weight_s_; }  // time its rates stand for, cycle not included
    // The look that parts what is above the boundary from what is below, and an earlier one that
    // hot pages do not saturate: for books.
    size_t telling_rung() const { return telling_rung_; }
    size_t booking_rung() const { return telling_rung_ > 1 ? telling_rung_ - (dear_ ? 1 : 2) : 0; }
    double blocks_share() const { return blocks_share_; }  // of blocks that were looked at
    // That a block was to be looked at.
    double chance_of(size_t block) const { return dear_ ? chances_[block] : blocks_share_; }
    // How many parts like this one the block has, any of which could have been armed as well.
    double stands_for(uint32_t block, uint32_t armed) const;
    // Whether a run with this first page is there for `also` only.
    bool added(PageId first) const {
        return std::binary_search(added_.begin(), added_.end(), first);
    }
    double longest_gap_s() const { return (dear_ ? 1.5 : 3) * mean_pause_s_ + 0.05; }
    // The program has changed its ways: what was overspent before is not counted against looking
    // now.
    void forgive() { account_s_ = std::max(account_s_, 0.0); }
    // All is to be looked at as if for the first time; where runs are dear it comes whatever it
    // costs.
    void learn_anew() {
        forgive();
        if (dear_) introduced_ = 1;
    }
    // Nothing is known: some glances (or a scout) first, to learn which rungs tell anything.
    void restart() {
        introduced_ = 0;
        wholes_ = dear_introduction - 1;
    }
    // The next cycle is one of the first, where runs are dear: they come whatever they cost.
    bool introducing() const { return introduced_ < dear_introduction; }
    // The last cycle was a scout.
    bool scouting() const { return scouting_; }
    // How many looks the last cycle came to; at least one.
    void looked(size_t rungs) { telling_rung_ = std::min(telling_rung_, rungs - 1); }
    // Everything is to be looked at so many times, where runs are dear.
    void look_at_all(int times) { wholes_ = std::max(wholes_, times); }
    // Of the last cycle, where runs are dear. near_share: of all pages, that fits near.
    void learn_pace(const Reading& reading, double near_share);

  private:
    static constexpr int introduction = 3;       // glances before the first full cycle
    static constexpr int dear_introduction = 3;  // a scout, whole cycles
    double share_of(Mood mood) const;
    void charge(const Situation& situation, double share);
    Aim next_dear(const Pages& pages, const Situation& situation, Mood mood);
    void choose_dear_rungs(Aim& aim, double armed, double near_share, const SampleCosts& costs);
    void add_stretches(const Pages& pages, size_t length, size_t count, std::vector<Run>& runs);
    void add_pages(const Pages& pages, std::span<const PageId> also, std::vector<Run>& runs);
    Aim count_all(const Pages& pages);
    void choose_rungs(Aim& aim, double boundary_rate, bool all_huge);
    double uniform() { return double(roll(dice_) >> 11) * 0x1p-53; }

    double share_, busy_share_;
    uint64_t dice_;
    double account_s_ = 0;  // CPU seconds that may be spent; negative: a debt
    double last_cpu_s_ = 0, last_overhead_s_ = 0, last_now_s_ = -1;
    double cpu_rate_ = 1;       // CPUs that the program uses
    double glance_cost_s_ = 0;  // of a glance or a scout: as measured
    bool dear_ = false;
    bool scouting_ = false;                       // the last cycle was a scout
    int wholes_ = 0;                              // whole cycles still to come at once
    double scout_pace_s_ = 0, whole_pace_s_ = 0;  // see learn_pace(); 0: not known yet
    double scout_pages_ = 0;
    bool some_huge_ = false;      // of what the cycle looks at
    std::vector<float> chances_;  // of each block, where runs are dear
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
