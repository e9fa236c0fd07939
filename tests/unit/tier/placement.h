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

    // Tracks all pages in the policy; those that are taken lie near until it is full.
    void begin(Policy& policy, uint32_t near_pages) { begin(policy, near_pages, all()); }
    void begin(Policy& policy, uint32_t near_pages, uint32_t taken) {
        near_pages_ = near_pages;
        policy.track({0, all()});
        take(taken, policy);
    }

    // The program takes more, up to so many in all.
    void take(uint32_t until, Policy& policy) {
        std::vector<PageId> first, others;
        for (; taken_ < until; ++taken_) {
            near_[taken_] = taken_ < near_pages_;
            (near_[taken_] ? first : others).push_back(taken_);
        }
        policy.place(first, Place::near);
        policy.place(others, Place::far);
    }
    uint32_t taken() const { return taken_; }

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
    uint32_t all() const { return uint32_t(near_.size()); }

    std::vector<bool> near_;
    uint32_t near_pages_ = 0, taken_ = 0;
};

}  // namespace libpool::tier
