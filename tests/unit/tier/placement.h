// SPDX-License-Identifier: Apache-2.0
// Where the pages of a simulated program are, the first ones near to begin with; and what a policy
// is told of that.
#pragma once

#include <cstdint>
#include <vector>

#include "tier/policy.h"

namespace libpool::tier {

class Placement {
  public:
    explicit Placement(uint32_t pages) : near_(pages) {}

    // Tracks all pages in the policy and puts the first of them near.
    void begin(Policy& policy, uint32_t near_pages) {
        policy.track({0, uint32_t(near_.size())});
        std::vector<PageId> first, others;
        for (PageId page = 0; page < near_.size(); ++page) {
            near_[page] = page < near_pages;
            (near_[page] ? first : others).push_back(page);
        }
        policy.place(first, Place::near);
        policy.place(others, Place::far);
    }

    // All of the plan comes true. How many pages that moved.
    uint64_t carry_out(const Plan& plan, Policy& policy) {
        for (PageId page : plan.demote) near_[page] = false;
        for (PageId page : plan.promote) near_[page] = true;
        policy.place(plan.demote, Place::far);
        policy.place(plan.promote, Place::near);
        return plan.demote.size() + plan.promote.size();
    }

    // The share of touches that is served near, at these rates of the pages.
    double near_share(const std::vector<double>& rate) const {
        double all = 0, served = 0;
        for (PageId page = 0; page < near_.size(); ++page) {
            all += rate[page];
            served += near_[page] ? rate[page] : 0;
        }
        return served / all;
    }

  private:
    std::vector<bool> near_;
};

}  // namespace libpool::tier
