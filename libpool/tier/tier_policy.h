// SPDX-License-Identifier: Apache-2.0
// Our policy. docs/TIERING.md has the algorithm, the bank's bound and its proof.
#pragma once

#include <algorithm>
#include <memory>
#include <string>

#include "tier/policy.h"
#include "tier/split.h"

namespace libpool::tier {

// What a program or an operator may say of pages.
enum class Hint : uint8_t { none, hot, cold, pinned_near, stream };

struct TierConfig {
    double cpu_share = 0.01;  // ε: sampling and deciding, as a share of the program's CPU time
    double busy_cpu_share = 0.03;  // for busy_s after a change of behaviour
    // Both, in the proportion that users are promised.
    void set_budget(double share) {
        cpu_share = share;
        busy_cpu_share = std::min(3 * share, 1.0);
    }
    double busy_s = 10;
    double delta = 1e-3;      // the bound holds with probability 1 - delta
    double allowance_s = -1;  // C: what may be lost against the baseline in all; negative: by the
                              // rule in docs/TIERING.md, from near size and costs
    bool bank = true;         // off: for comparison only
    bool book_against_last = false;  // the planted fault of the tests: books gains against the
                                     // state before each swap instead of the baseline placement
    uint64_t seed = 1;
};

// The bank, as `pooltier status` prints it. Seconds are seconds of the program's time.
struct BankStatus {
    double allowance_s = 0;      // C in seconds
    double allowance_bytes = 0;  // C in bytes moved
    double earned_s = 0;         // guests (near, baseline far), not too much on average
    double lost_s = 0;           // exiles (far, baseline near), not too little on average
    double spent_s = 0;          // on moves
    double margin_s = 0;         // how far off earned - lost may be: see the bound
    double unused_s = 0;       // CPU budget not used by sampling and deciding; negative: overdrawn
    double unnoticed_s = 0;    // what may be lost before it is noticed, beyond the allowance
    double reserve_s = 0;      // kept for the way back of all deviations
    double balance_s = 0;      // allowance + earned - lost - spent + unused budget - reserve
    double resolved_rate = 0;  // touches/s of one page up to which the books are right
    uint64_t guests = 0;
    uint64_t exiles = 0;
    uint64_t returned_pages = 0;  // undone because a reserve could not be held
};

struct TierStatus {
    BankStatus bank;
    uint64_t near_pages = 0, far_pages = 0;
    double near_share = 0, near_share_low = 0, near_share_high = 0;  // of touches; 90 % interval
    double touches_per_s = 0;                                        // of all pages, as lately seen
    double boundary_rate = 0;  // touches/s of the page that just fits near
    uint64_t cycles = 0, changes = 0, contested_blocks = 0, blocks = 0;
    bool busy = false;
    SplitStatus split;
    double memory_bytes = 0;  // of the policy's own state
};

// The chain of numbers behind one page.
struct Explanation {
    Place place = Place::nowhere, baseline = Place::nowhere;
    Hint hint = Hint::none;
    bool huge = false;
    // touches/s; low and high are those it is chosen by, 0.7 standard deviations away
    double rate_low = 0, rate = 0, rate_high = 0;
    double admission_rate = 0;  // above which a move pays within the expected stay
    double boundary_rate = 0;
    double victim_rate_high = 0;  // of the page it would have to displace
    double stay_s = 0;
    double credit_share = 0;  // 0…1 of a move's cost earned (far) or held (near)
    double bank_balance_s = 0;
    std::string verdict;  // one sentence: why it is where it is
};

class TierPolicy : public Policy {
  public:
    virtual void hint(Run run, Hint hint) = 0;
    virtual void set_cpu_share(double share) = 0;
    virtual TierStatus status() const = 0;
    virtual Explanation explain(PageId page) const = 0;
    // Where a reading contradicts what place() was told.
    struct Contradicted {
        std::vector<PageId> newborn, gone;  // there and placed nowhere; placed and not there
    };
    virtual Contradicted contradicted(const Reading& reading) const = 0;
    // Believed touches per second of each page of a run (mean of the belief), 0 for absent ones.
    virtual std::vector<float> rates(Run run) const = 0;
    // Benefit of near memory for who shares it: pages by falling rate, as (pages, touches/s each).
    struct Step {
        uint64_t pages;
        double rate;
    };
    virtual std::vector<Step> benefit() const = 0;
};

std::unique_ptr<TierPolicy> make_tier_policy(const TierConfig& config);

}  // namespace libpool::tier
