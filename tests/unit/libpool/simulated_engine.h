// SPDX-License-Identifier: Apache-2.0
// An engine in simulated time: pages with true touch rates, two nodes, and a kernel that counts
// every move. Nothing here sleeps.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <random>
#include <vector>

#include "tier/engine.h"
#include "uapi.h"

namespace libpool::tier {

inline constexpr int near_node = 0, far_node = 1;

// Sampler, kernel and clock of one small machine. Touches are Poisson; the test sets the rates.
class World final : public Sampler, public Kernel, public Clock {
  public:
    explicit World(size_t pages, uint64_t seed = 1)
        : rates(pages, 0.0), nodes(pages, far_node), moves_of_page(pages), random_(seed) {}

    std::vector<double> rates;
    std::vector<int> nodes;
    uint64_t near_room_pages = 1 << 20;  // apart from what the moves take
    uint64_t most_hidden = 0;            // of pages that leave, that a CPU keeps for a while
    uint64_t near_most = 0;              // most pages that were ever near
    double end_s = 60;
    SampleCosts costs{100, 1000, 1000, 20};
    double move_cost_s = 0;
    std::vector<uint64_t> moves_of_page;
    std::vector<uint64_t> absent;  // addresses that are not there
    std::function<void(double)> at_time;
    std::function<void()> at_clock;  // whenever somebody looks at it
    std::vector<bool> huge;          // by 512 pages; empty: none
    bool sees_parts = true;
    int split_code = 0;  // what the kernel says to splitting
    uint64_t split_calls = 0;
    AddressRun no_huge;  // where the kernel was told to make none

    bool is_huge(uint64_t page) const { return !huge.empty() && huge[page / block_pages]; }
    double near_share() const {
        double near = 0, all = 0;
        for (size_t i = 0; i < rates.size(); ++i) {
            all += rates[i];
            near += nodes[i] == near_node ? rates[i] : 0;
        }
        return all > 0 ? near / all : 0;
    }
    uint64_t total_moves() const {
        uint64_t sum = 0;
        for (uint64_t moves : moves_of_page) sum += moves;
        return sum;
    }

    Result<void> add(const AddressRun&) override { return {}; }
    void remove(const AddressRun&) override {}
    Result<void> arm(std::span<const AddressRun> runs) override {
        armed_.assign(runs.begin(), runs.end());
        look_.sights.clear();
        first_touch_s_.clear();
        for (const AddressRun& run : armed_) {
            cpu_s_ += costs.arm_run_ns * 1e-9;
            for (uint64_t i = 0; i < run.pages; ++i) {
                cpu_s_ += costs.arm_page_ns * 1e-9;
                const uint64_t page = run.start / 4096 + i;
                const uint64_t block = page / block_pages * block_pages;
                if (is_huge(page) &&
                    (block * 4096 < run.start || (block + block_pages) * 4096 > run.end())) {
                    first_touch_s_.push_back(partly_asked);
                    continue;
                }
                if (is_huge(page) && page != block) {
                    first_touch_s_.push_back(first_touch_s_.back());
                    continue;
                }
                double rate = 0;
                const uint64_t end = page + (is_huge(page) ? block_pages : 1);
                for (uint64_t part = page; part < end; ++part) rate += rates.at(part);
                first_touch_s_.push_back(rate > 0 ? std::exponential_distribution<>(rate)(random_)
                                                  : 1e9);
            }
        }
        look_.sights.assign(first_touch_s_.size(), not_touched);
        for (size_t i = 0; i < first_touch_s_.size(); ++i) {
            if (first_touch_s_[i] == partly_asked) look_.sights[i] = page_absent;
        }
        armed_at_s_ = now_s_;
        return {};
    }
    Result<Look> look(Sight rung) override {
        look_.at_s = now_s_ - armed_at_s_;
        look_.huge.clear();
        for (const AddressRun& run : armed_) {
            for (uint64_t page = run.start / 4096; page < run.end() / 4096; ++page) {
                const uint64_t block = page / block_pages * block_pages * 4096;
                if (!is_huge(page)) continue;
                if (look_.huge.empty() || look_.huge.back() != block) look_.huge.push_back(block);
            }
        }
        for (size_t i = 0; i < look_.sights.size(); ++i) {
            cpu_s_ += costs.look_page_ns * 1e-9;
            if (look_.sights[i] == not_touched && first_touch_s_[i] <= look_.at_s) {
                look_.sights[i] = rung;
            }
        }
        return look_;
    }
    void disarm() override { armed_.clear(); }
    SamplerInfo info() const override {
        SamplerInfo info;
        info.name = "simulated";
        info.costs = costs;
        info.parts = sees_parts;
        return info;
    }

    long move_pages(pid_t, std::span<const uint64_t> pages, std::span<const int> targets,
                    std::span<int> status) override {
        for (size_t i = 0; i < pages.size(); ++i) {
            size_t index = pages[i] / 4096;
            if (std::find(absent.begin(), absent.end(), pages[i]) != absent.end()) {
                status[i] = -ENOENT;
                continue;
            }
            if (!targets.empty() && nodes[index] != targets[i]) {
                bool full = targets[i] == near_node && near_room_pages == 0;
                if (full) return static_cast<long>(pages.size() - i);
                // A huge page goes as one.
                const size_t first = is_huge(index) ? index / block_pages * block_pages : index;
                const size_t end = is_huge(index) ? first + block_pages : index + 1;
                if (targets[i] == near_node && near_room_pages < end - first) {
                    return static_cast<long>(pages.size() - i);
                }
                for (size_t part = first; part < end; ++part) {
                    near_room_pages += targets[i] == near_node ? -1 : 1;
                    const bool leaves = targets[i] != near_node;
                    hidden_ = leaves ? std::min(hidden_ + 1, most_hidden)
                                     : std::min(hidden_, near_room_pages);
                    nodes[part] = targets[i];
                    ++moves_of_page[part];
                    now_s_ += move_cost_s;
                    cpu_s_ += move_cost_s;
                }
            }
            status[i] = nodes[index];
        }
        uint64_t near = 0;
        for (int node : nodes) near += node == near_node;
        near_most = std::max(near_most, near);
        return 0;
    }
    Result<uint64_t> room_bytes(int node) override {
        return node == near_node ? (near_room_pages - hidden_) * 4096 : uint64_t(1) << 40;
    }

    Result<void> split_huge(pid_t, uint64_t address) override {
        ++split_calls;
        now_s_ += 1e-3;
        if (split_code != 0) return fail(split_code, "no block is split today");
        huge[address / 4096 / block_pages] = false;
        return {};
    }
    Result<void> set_huge(pid_t, uint64_t start, uint64_t bytes, HugePages which) override {
        no_huge = {start, which == HugePages::none ? bytes / 4096 : 0};
        return {};
    }

    double at_s() const { return now_s_; }

    double now_s() override {
        if (at_clock) at_clock();
        return now_s_;
    }
    double thread_cpu_s() override { return cpu_s_; }
    double program_cpu_s() override { return now_s_ + cpu_s_; }
    bool wait(double seconds) override {
        now_s_ += seconds;
        hidden_ = 0;
        if (at_time) at_time(now_s_);
        return now_s_ < end_s;
    }
    bool stopped() override { return false; }

    // So that it takes no memory later.
    void reserve() {
        first_touch_s_.reserve(nodes.size());
        look_.sights.reserve(nodes.size());
    }

  private:
    static constexpr double partly_asked = -1;  // a huge page: cannot be armed
    std::mt19937_64 random_;
    double now_s_ = 0, cpu_s_ = 0, armed_at_s_ = 0;
    uint64_t hidden_ = 0;
    std::vector<AddressRun> armed_;
    std::vector<double> first_touch_s_;
    Look look_;
};

inline EngineConfig config_with_limit(uint64_t pages) {
    EngineConfig config;
    config.near_nodes = {near_node};
    config.far_nodes = {far_node};
    config.near_limit_bytes = pages * 4096;
    return config;
}

struct Trip {
    Trip(World& world, EngineConfig config, const TierConfig& policy_config = {})
        : policy(make_tier_policy(policy_config)),
          mover(world),
          engine(world, *policy, mover, world, world, std::move(config)) {
        EXPECT_TRUE(engine.add({0, world.nodes.size()}));
        engine.run();
    }
    std::unique_ptr<TierPolicy> policy;
    KernelMover mover;
    Engine engine;
};

inline void heat_up(World& world, size_t first, size_t count, double hot, double cold) {
    for (size_t i = 0; i < world.rates.size(); ++i) {
        world.rates[i] = i >= first && i < first + count ? hot : cold;
    }
}

}  // namespace libpool::tier
