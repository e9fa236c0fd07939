// SPDX-License-Identifier: Apache-2.0
// Memory of huge pages: which are split, and what that wins. A simulated machine whose huge pages
// have one bit, move as one, and become 512 pages when told to.
#include "tier/split.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>
#include <random>

#include "tier/tier_policy.h"

namespace libpool::tier {
namespace {

constexpr SampleCosts cheap{100, 1000, 1150, 16}, dear{900, 7e6, 4000, 350};

class Machine {
  public:
    static constexpr uint32_t blocks = 32, pages = blocks * block_pages, near_pages = pages / 8;

    Machine(uint64_t seed, const SampleCosts& costs, std::function<double(PageId)> rate)
        : random_(seed), costs_(costs) {
        for (PageId page = 0; page < pages; ++page) rate_.push_back(rate(page));
        TierConfig config;
        config.cpu_share = 0.02;
        config.seed = seed;
        policy_ = make_tier_policy(config);
        policy_->track({0, pages});
        std::vector<PageId> first, others;
        for (PageId page = 0; page < pages; ++page) {
            put(page, page < near_pages);
            (near_[page] ? first : others).push_back(page);
        }
        policy_->place(first, Place::near);
        policy_->place(others, Place::far);
    }

    bool can_split = true;  // what the policy is told
    bool obeys = true;      // what the kernel does
    // After so many seconds huge pages are made of all blocks again, as khugepaged does.
    double collapse_s = 1e9;

    void run_until(double end_s) {
        while (now_s_ < end_s) {
            if (now_s_ > collapse_s) {
                collapse();
                collapse_s = 1e9;
            }
            step();
        }
    }
    double near_share() const {
        double all = 0, served = 0;
        for (PageId page = 0; page < pages; ++page) {
            all += rate_[page];
            served += near_[page] ? rate_[page] : 0;
        }
        return served / all;
    }
    uint64_t huge_blocks() const { return uint64_t(std::ranges::count(huge_, 1)); }
    uint64_t splits() const { return splits_; }
    TierStatus status() const { return policy_->status(); }

  private:
    static constexpr double fault_s = 9e-6, split_s = 1.4e-3, move_s = 20e-6;

    Situation situation() const {
        Situation s;
        s.now_s = s.program_cpu_s = now_s_;
        s.overhead_cpu_s = overhead_s_;
        s.near_pages = near_pages;
        s.near_room_pages = near_pages - std::min(now_near_, near_pages);
        s.far_room_pages = pages;
        s.loss_ns = 3000;
        s.move_ns = move_s * 1e9;
        s.split_ns = split_s * 1e9;
        s.can_split = can_split;
        s.costs = costs_;
        return s;
    }

    void step() {
        const Aim aim = policy_->aim(situation());
        now_s_ += std::max(aim.pause_s, 1e-3);
        if (aim.runs.empty()) return;
        policy_->observe(look(aim), situation());
        decide();
    }

    Reading look(const Aim& aim) {
        Reading reading{now_s_, {}, aim.runs, {}, {}, {}};
        double units = 0;
        for (const Run& run : aim.runs) {
            for (PageId page = run.first; page < run.end(); ++page) {
                units += !huge_[page / block_pages] || page % block_pages == 0;
            }
        }
        const double arming_s =
            1e-9 * (units * costs_.arm_page_ns + double(aim.runs.size()) * costs_.arm_run_ns);
        const double look_s = units * costs_.look_page_ns * 1e-9;
        double at_s = arming_s;
        for (double rung_s : aim.rungs_s) {
            const double begin_s = std::max(at_s, arming_s / 2 + rung_s);
            reading.rungs_s.push_back(begin_s + look_s / 2 - arming_s / 2);
            at_s = begin_s + look_s;
        }
        const double faults = see(reading);
        overhead_s_ +=
            arming_s + look_s * double(aim.rungs_s.size()) + faults * costs_.fault_ns * 1e-9;
        now_s_ += at_s;
        return reading;
    }

    // Each block on the node that has most of it, as khugepaged does it.
    void collapse() {
        huge_.assign(blocks, 1);
        for (PageId block = 0; block < pages; block += block_pages) {
            const auto first = near_.begin() + block;
            const bool near = std::count(first, first + block_pages, 1) > block_pages / 2;
            std::vector<PageId> all(block_pages);
            std::iota(all.begin(), all.end(), block);
            for (PageId page : all) put(page, near);
            policy_->place(all, near ? Place::near : Place::far);
        }
    }

    // First touches, each after a fault; a huge page's is that of all its parts.
    double see(Reading& reading) {
        std::uniform_real_distribution<double> uniform(0, 1);
        struct Touch {
            double at_s;
            size_t first, count;
        };
        std::vector<Touch> touches;
        size_t at = 0;
        for (const Run& run : reading.runs) {
            for (PageId page = run.first; page < run.end();) {
                const bool huge = huge_[page / block_pages];
                const PageId end = huge ? (page / block_pages + 1) * block_pages : page + 1;
                double rate = 0;
                for (PageId part = end - (huge ? block_pages : 1); part < end; ++part) {
                    rate += rate_[part];
                }
                const size_t count = std::min(end, run.end()) - page;
                touches.push_back({-std::log(1 - uniform(random_)) / rate, at, count});
                at += count;
                page += PageId(count);
            }
        }
        for (PageId block = 0; block < blocks; ++block) {
            if (huge_[block]) reading.huge.push_back(block * block_pages);
        }
        std::ranges::sort(touches, {}, &Touch::at_s);
        reading.sights.assign(at, not_touched);
        const double each_s = costs_.arm_run_ns > 1e6 ? fault_s : 0;
        double faults = 0;
        for (const Touch& touch : touches) {
            const auto rung =
                std::ranges::lower_bound(reading.rungs_s, touch.at_s + each_s * faults);
            if (rung == reading.rungs_s.end()) break;
            std::fill_n(reading.sights.begin() + ptrdiff_t(touch.first), touch.count,
                        Sight(rung - reading.rungs_s.begin()));
            ++faults;
        }
        return faults;
    }

    void decide() {
        const Plan plan = policy_->decide(situation());
        splits_ += plan.split.size();
        for (PageId page : plan.split) {
            EXPECT_TRUE(huge_[page / block_pages]) << "block " << page / block_pages;
            if (obeys) huge_[page / block_pages] = 0;
            now_s_ += split_s;
        }
        move(plan.demote, false);
        move(plan.promote, true);
        now_s_ += move_s * double(plan.demote.size() + plan.promote.size());
    }

    void put(PageId page, bool near) {
        now_near_ += uint32_t(near) - near_[page];
        near_[page] = near;
    }

    // One page of a huge one takes the others with it.
    void move(const std::vector<PageId>& wanted, bool near) {
        if (near) {
            EXPECT_LE(wanted.size(), situation().near_room_pages);
        }
        for (PageId page : wanted) {
            const PageId block = page / block_pages * block_pages;
            const bool huge = huge_[page / block_pages];
            for (PageId part = huge ? block : page; part < (huge ? block + block_pages : page + 1);
                 ++part) {
                put(part, near);
            }
        }
        policy_->place(wanted, near ? Place::near : Place::far);
    }

    std::mt19937_64 random_;
    SampleCosts costs_;
    std::vector<double> rate_;
    // 0 or 1 each; not of bool, which takes twice as long where nothing is inlined.
    std::vector<uint8_t> near_ = std::vector<uint8_t>(pages),
                         huge_ = std::vector<uint8_t>(blocks, 1);
    std::unique_ptr<TierPolicy> policy_;
    double now_s_ = 0, overhead_s_ = 0;
    uint64_t splits_ = 0;
    uint32_t now_near_ = 0;  // how many of near_ are true
};

// One part of eight is hot, in every block.
double scattered(PageId page) { return page * 2654435761u % 4294967296u < 536870912u ? 190 : 4; }
// Every part of a block is like the others.
double alike(PageId page) { return page / block_pages % 8 == 3 ? 190 : 4; }
double equal(PageId) { return 30; }

TEST(Split, ScatteredHotPagesOfHugeOnesComeNearOnceTheyAreParted) {
    for (const SampleCosts& costs : {cheap, dear}) {
        Machine split(1, costs, scattered), whole(1, costs, scattered);
        whole.can_split = false;
        split.run_until(40);
        whole.run_until(40);
        EXPECT_LT(whole.near_share(), 0.2) << costs.arm_run_ns;
        EXPECT_EQ(whole.splits(), 0u);
        EXPECT_GT(split.near_share(), 0.6) << costs.arm_run_ns;  // of 0.87
        EXPECT_EQ(split.status().split.state, SplitState::worth);
        EXPECT_GT(split.status().split.parts_share, split.status().split.whole_share + 0.2);
    }
}

TEST(Split, WhatWholeBlocksServeAsWellIsLeftWhole) {
    for (const SampleCosts& costs : {cheap, dear}) {
        Machine machine(2, costs, equal);
        machine.run_until(40);
        EXPECT_EQ(machine.status().split.state, SplitState::worthless) << costs.arm_run_ns;
        EXPECT_GE(machine.huge_blocks(), Machine::blocks - Splits::least_trial_blocks);
    }
}

// Slow enough for a huge page's one bit to tell hot from cold.
TEST(Split, BlocksThatCanBeToldApartAreLeftWhole) {
    Machine machine(3, cheap, [](PageId page) { return alike(page) / 20; });
    machine.run_until(60);
    EXPECT_GT(machine.near_share(), 0.6);  // 0.16 at the start, 0.87 at best
    EXPECT_GE(machine.huge_blocks(), Machine::blocks / 2);
}

TEST(Split, BlocksThatSaturateEveryLookAreToldApartByTheirParts) {
    // One of eight blocks is hot: four that are tried miss them more often than not, and the next
    // trial comes a minute later. Here they do not.
    Machine machine(3, dear, alike);
    machine.run_until(40);
    EXPECT_GT(machine.near_share(), 0.7);
}

TEST(Split, NoBlockIsSplitTwiceWhenTheKernelMakesItHugeAgain) {
    Machine machine(5, cheap, scattered);
    machine.collapse_s = 20;
    machine.run_until(100);
    EXPECT_EQ(machine.huge_blocks(), Machine::blocks);
    EXPECT_LE(machine.splits(), Machine::blocks);
}

TEST(Split, AKernelThatSplitsNothingIsNotAskedForEver) {
    Machine machine(6, cheap, scattered);
    machine.obeys = false;
    machine.run_until(150);
    EXPECT_LE(machine.splits(), Splits::most_trials * Splits::least_trial_blocks);
    EXPECT_GT(machine.splits(), 0u);
}

}  // namespace
}  // namespace libpool::tier
