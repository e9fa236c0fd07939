// SPDX-License-Identifier: Apache-2.0
// Which huge pages are split. A huge page is one bit for 512 pages and moves as one, so hot pages
// that are scattered over huge ones cannot be told apart; split, they can, and cost the program
// more TLB misses. So a few are split first, all over the memory. Two readings rank their parts,
// the next one judges: how many of its touches were on the hottest parts, as many as would fit
// near, and how many on the hottest blocks, as far as they could be told apart while they were
// whole? Only if parts serve clearly more, the others that may hold both hot and cold parts are
// split too. No block is split twice: if the kernel makes it a huge page again, it stays one. Pure
// but for the dice it is handed.
//
// Rejected: judging by a reading that ranked (the luckiest of thousands of equals look hot).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tier/pages.h"

namespace libpool::tier {

enum class SplitState : uint8_t {
    whole,      // no trial so far: few huge pages, all fits near, or too early
    trial,      // a few were split
    worthless,  // parts would serve hardly more than whole blocks
    worth,      // the others are split where they may hold both hot and cold parts
};

struct SplitStatus {
    SplitState state = SplitState::whole;
    uint64_t huge_blocks = 0;   // now
    uint64_t asked_blocks = 0;  // to be split so far
    // Of the last trial: shares of the touches, served by as much as fits near.
    double parts_share = 0, whole_share = 0;
};

struct SplitTerms {
    double now_s = 0;
    double near_share = 1;       // of all tracked pages, that fits near
    double loss_ns = 0;          // what an access to a far page costs more
    double split_ns = 0;         // what splitting one costs
    double stay_s = 0;           // how long the program is expected to stay as it is
    double most_s = 0;           // that may be spent on it in all, now
    bool can_split = false;      // the sampler sees parts, and the kernel splits
    bool all_looked_at = false;  // each block was, at least once
};

class Splits {
  public:
    static constexpr size_t trial_blocks = 16, least_trial_blocks = 4;
    static constexpr int most_trials = 2;

    void forget(Run run);
    // A reading, before beliefs learn from it.
    void see(const Pages& pages, const Reading& reading);
    // First pages of the blocks to split now; they are taken to be split from here on.
    std::vector<PageId> choose(Pages& pages, const SplitTerms& terms, uint64_t& dice);
    // What choose() gave last was the last part of all that is worth splitting.
    bool finished() const { return finished_; }
    // A look at everything is wanted, for the trial.
    bool wants_look() const { return state_ == SplitState::trial && !judged_; }
    // The trial has just shown that nothing is to be won.
    bool given_up() const { return given_up_; }
    SplitStatus status(const Pages& pages) const;

  private:
    struct Tried {
        uint32_t block;
        float whole_rate;   // as believed of it while it was whole
        int readings = 0;   // since, that tell
        double rate = -1;   // touches of the judging reading, made up for what it could not see
        bool gone = false;  // whole again, or no memory any more
    };
    std::vector<PageId> begin_trial(Pages& pages, const SplitTerms& terms, uint64_t& dice);
    std::vector<PageId> split_rest(Pages& pages, const SplitTerms& terms);
    void judge(const Pages& pages, const Reading& reading, Sight rung);
    double served_by_blocks(double near_share) const;
    bool pays(const Pages& pages, const SplitTerms& terms) const;
    void mark(Pages& pages, uint32_t block);
    bool was_split(size_t block) const { return block < split_.size() && split_[block]; }

    SplitState state_ = SplitState::whole;
    std::vector<bool> split_;  // by block: once
    std::vector<Tried> tried_;
    double near_share_ = 1;
    double doubt_ = 1;  // of parts_share_, if parts are alike: one standard deviation
    double parts_share_ = 0, whole_share_ = 0, hot_rate_ = 0, mean_rate_ = 0;
    bool judged_ = false, finished_ = false, given_up_ = false;
    int looks_ = 0;  // that were wanted
    int trials_ = 0;
    double next_trial_s_ = 0;
    uint64_t asked_ = 0;
};

}  // namespace libpool::tier
