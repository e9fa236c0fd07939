// SPDX-License-Identifier: Apache-2.0
// The whole engine in simulated time: pages with true touch rates, two nodes, and a kernel that
// counts every move. Nothing here sleeps.
#include "tier/engine.h"

#include <gtest/gtest.h>
#include <malloc.h>

#include <cmath>
#include <functional>
#include <random>

#include "uapi.h"

namespace libpool::tier {
namespace {

constexpr int near_node = 0, far_node = 1;

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

EngineConfig config_with_limit(uint64_t pages) {
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

void heat_up(World& world, size_t first, size_t count, double hot, double cold) {
    for (size_t i = 0; i < world.rates.size(); ++i) {
        world.rates[i] = i >= first && i < first + count ? hot : cold;
    }
}

TEST(Engine, ASteadyHotSetComesNearAndCountsAreTrue) {
    World world(2000);
    heat_up(world, 1000, 400, 300, 1);
    Trip run(world, config_with_limit(500));
    EXPECT_GT(world.near_share(), 0.97);
    EXPECT_LE(world.near_most, 500u);
    EngineStatus status = run.engine.status();
    EXPECT_EQ(status.promoted_pages + status.demoted_pages, world.total_moves());
    EXPECT_EQ(status.near_bytes,
              uint64_t(std::count(world.nodes.begin(), world.nodes.end(), 0)) * 4096);
    EXPECT_GT(status.policy.near_share, 0.8);
    EXPECT_GT(status.cycles, 50u);
}

TEST(Engine, FollowsAHotSetThatJumps) {
    World world(2000);
    heat_up(world, 0, 400, 300, 0.2);
    double share_before = 0;
    bool jumped = false;
    world.at_time = [&](double now) {
        if (now < 40) share_before = world.near_share();
        if (now >= 40 && !jumped) heat_up(world, 1200, 400, 300, 0.2), jumped = true;
    };
    world.end_s = 70;
    Trip run(world, config_with_limit(450));
    EXPECT_GT(share_before, 0.97);
    EXPECT_GT(world.near_share(), 0.95);
    EXPECT_LE(world.near_most, 450u);
}

TEST(Engine, NeverFillsMoreThanTheLiveRoom) {
    World world(1000);
    heat_up(world, 0, 600, 300, 0.1);
    world.near_room_pages = 200;  // the limit would allow 800
    Trip run(world, config_with_limit(800));
    EXPECT_EQ(world.near_most, 200u);
    EXPECT_EQ(run.engine.status().failed_pages, 0u);  // it knew before it tried
}

TEST(Engine, KnowsTheRoomThatACpuKeepsToItself) {
    World world(3000);
    heat_up(world, 2000, 900, 300, 0.1);
    for (size_t page = 0; page < 1000; ++page) world.nodes[page] = near_node;
    world.near_room_pages = 0;
    world.most_hidden = 200;
    Trip run(world, config_with_limit(5000));
    EXPECT_GT(world.near_share(), 0.97);
    EXPECT_EQ(run.engine.status().failed_pages, 0u);
}

TEST(Engine, NoBatchCutsAHugePage) {
    World world(8 * block_pages);
    world.huge.assign(8, true);
    world.sees_parts = false;
    heat_up(world, 2 * block_pages, 3 * block_pages, 3, 0.001);
    Trip run(world, config_with_limit(2 * block_pages + 300));
    EXPECT_EQ(world.near_most, 2 * block_pages);
    EXPECT_EQ(run.engine.status().promoted_pages % block_pages, 0u);
}

TEST(Engine, ALowerLimitMakesTheColdestLeave) {
    World world(1000);
    heat_up(world, 0, 200, 300, 5);
    world.end_s = 60;
    auto policy = make_tier_policy({});
    KernelMover mover(world);
    Engine engine(world, *policy, mover, world, world, config_with_limit(400));
    bool cut = false;
    world.at_time = [&](double now) {
        if (now >= 30 && !cut) engine.set_near_limit(100 * 4096), cut = true;
    };
    ASSERT_TRUE(engine.add({0, 1000}));
    engine.run();
    EXPECT_LE(engine.status().near_bytes, 100u * 4096);
    uint64_t hot = 0;
    for (size_t i = 0; i < 200; ++i) hot += world.nodes[i] == near_node;
    EXPECT_GE(hot, 95u);
}

TEST(Engine, TheDryMoverSamplesDecidesAndMovesNothing) {
    World world(1000);
    heat_up(world, 0, 200, 300, 0.1);
    auto policy = make_tier_policy({});
    DryMover mover(world);
    Engine engine(world, *policy, mover, world, world, config_with_limit(500));
    ASSERT_TRUE(engine.add({0, 1000}));
    engine.run();
    EngineStatus status = engine.status();
    EXPECT_GT(status.wanted_pages, 150u);
    EXPECT_EQ(world.total_moves(), 0u);
    EXPECT_EQ(status.promoted_pages, 0u);
    EXPECT_GT(status.reasons[ECANCELED], 60u);
}

TEST(Engine, KeepsToItsCpuBudget) {
    World world(4000);
    heat_up(world, 0, 1000, 300, 5);
    world.costs = {450, 2000, 3000, 60};  // an emulator's
    world.end_s = 300;
    Trip run(world, config_with_limit(1000));
    EngineStatus status = run.engine.status();
    double share = (status.thread_cpu_s + status.fault_cpu_s) / status.program_cpu_s;
    EXPECT_LT(share, 0.011);
    EXPECT_GT(share, 0.002);
    EXPECT_GT(world.near_share(), 0.9);
}

TEST(Engine, TheMoveLimitIsKept) {
    World world(20000);
    heat_up(world, 0, 20000, 300, 300);
    EngineConfig config = config_with_limit(20000);
    config.move_limit_bytes_per_s = 100 * 4096;
    Trip run(world, config);
    // 60 s at 100 pages a second, and one batch that was under way.
    EXPECT_LE(world.total_moves(), 60 * 100 + move_batch + 100);
    EXPECT_GT(world.total_moves(), 2000u);
}

TEST(Engine, ExpensiveMovesOfLukewarmPagesAreLeft) {
    World world(1000);
    heat_up(world, 0, 50, 1500, 2);
    world.move_cost_s = 0.002;  // 2 ms a page: 2 touches a second never pay within minutes
    Trip run(world, config_with_limit(1000));
    uint64_t hot_near = 0;
    for (size_t i = 0; i < 50; ++i) hot_near += world.nodes[i] == near_node;
    EXPECT_GE(hot_near, 45u);
    // One batch was tried to learn what a move costs.
    EXPECT_LE(run.engine.status().near_bytes, 320u * 4096);
}

TEST(Engine, RangesAreCheckedNamedAndExplained) {
    World world(2000);
    auto policy = make_tier_policy({});
    KernelMover mover(world);
    Engine engine(world, *policy, mover, world, world, config_with_limit(10));
    EXPECT_EQ(engine.add({0, 0}).error().code, EINVAL);
    EXPECT_EQ(engine.add({7, 1}).error().code, EINVAL);
    ASSERT_TRUE(engine.add({100 * 4096, 50}));
    EXPECT_EQ(engine.add({149 * 4096, 10}).error().code, EEXIST);
    ASSERT_TRUE(engine.add({150 * 4096, 1000}));
    EXPECT_EQ(engine.remove(4096).error().code, ENOENT);
    EXPECT_EQ(engine.status().tracked_bytes, 1050u * 4096);
    EXPECT_EQ(engine.explain(99 * 4096).error().code, ENOENT);
    auto explained = engine.explain(149 * 4096 + 5);
    ASSERT_TRUE(explained);
    EXPECT_EQ(explained->place, Place::far);
    EXPECT_NE(explained->verdict, "");
    EXPECT_EQ(engine.hint({0, 10}, Hint::hot).error().code, ENOENT);
    ASSERT_TRUE(engine.hint({120 * 4096, 100}, Hint::pinned_near));
    ASSERT_TRUE(engine.remove(100 * 4096));
    ASSERT_TRUE(engine.remove(150 * 4096));
    EXPECT_EQ(engine.status().tracked_bytes, 0u);
    EXPECT_EQ(engine.status().far_bytes, 0u);
}

TEST(Engine, RangesComeAndGoWhileItRuns) {
    World world(4000);
    heat_up(world, 2000, 300, 300, 1);
    auto policy = make_tier_policy({});
    KernelMover mover(world);
    Engine engine(world, *policy, mover, world, world, config_with_limit(400));
    int turn = 0;
    world.at_time = [&](double) {
        if (++turn % 7 == 0) {
            uint64_t start = uint64_t(turn / 7 % 4) * 1000 * 4096;
            if (!engine.remove(start)) {
                EXPECT_TRUE(engine.add({start, 1000}));
            }
        }
    };
    ASSERT_TRUE(engine.add({0, 1000}));
    engine.run();
    EXPECT_LE(world.near_most, 400u + 1000u);  // what is not tracked any more stays where it is
    EXPECT_GT(engine.status().cycles, 20u);
}

// Before, its page numbers stood for 512 pages when they were a smaller range's, and the program
// ended by a fault of ours.
TEST(Engine, AHugePageThatIsGoneIsNotTakenForTheNextRange) {
    World world(4 * block_pages);
    world.sees_parts = false;
    world.huge = {true, false, false, false};
    heat_up(world, block_pages, block_pages, 900, 1);
    for (size_t page = 0; page < 2 * block_pages; ++page) world.nodes[page] = near_node;
    auto policy = make_tier_policy({});
    KernelMover mover(world);
    Engine engine(world, *policy, mover, world, world, config_with_limit(2 * block_pages));
    bool smaller = false;
    int turn = 0;
    world.at_time = [&](double) {
        if (++turn % 3 != 0) return;  // also between arming and looking
        smaller = !smaller;
        world.huge[0] = !smaller;
        for (size_t page = 0; page < block_pages; ++page) world.nodes[page] = near_node;
        EXPECT_TRUE(engine.remove(0));
        EXPECT_TRUE(engine.add({0, smaller ? 300 : block_pages}));
        engine.set_near_limit((smaller ? 600 : 2 * block_pages) * 4096);  // some have to leave
    };
    world.end_s = 40;
    ASSERT_TRUE(engine.add({0, block_pages}));
    ASSERT_TRUE(engine.add({block_pages * 4096, 3 * block_pages}));
    engine.run();
    const EngineStatus status = engine.status();
    EXPECT_GT(status.cycles, 20u);
    EXPECT_GT(status.demoted_pages, block_pages);
    EXPECT_EQ(status.failed_pages, 0u);
}

// Every eighth page of all huge ones is hot: more than fits near, as long as they are whole.
World huge_world() {
    World world(16384);
    for (size_t i = 0; i < world.rates.size(); ++i) world.rates[i] = i % 8 == 5 ? 200 : 1;
    world.huge.assign(world.rates.size() / block_pages, true);
    world.near_room_pages = 2048;
    return world;
}

TEST(Engine, HugePagesAreSplitSoThatTheirHotPartsComeNear) {
    World world = huge_world();
    Trip run(world, config_with_limit(2048));
    EXPECT_GT(world.near_share(), 0.8);  // 0.13 if they were whole
    EngineStatus status = run.engine.status();
    EXPECT_EQ(status.split_blocks, world.split_calls);
    EXPECT_EQ(status.split_blocks, 32u);
    EXPECT_NEAR(status.split_s, 0.032, 1e-6);
    EXPECT_EQ(status.split_note, "");
    EXPECT_EQ(status.policy.split.huge_blocks, 0u);
    EXPECT_EQ(world.no_huge.pages, 16384u);
}

TEST(Engine, AKernelThatRefusesToSplitIsAskedAFewTimesAndNamed) {
    World world = huge_world();
    world.split_code = EPERM;
    Trip run(world, config_with_limit(2048));
    EngineStatus status = run.engine.status();
    EXPECT_EQ(status.split_blocks, 0u);
    EXPECT_EQ(world.split_calls, 4u);
    EXPECT_EQ(status.split_note, "no block is split today");
    EXPECT_EQ(world.no_huge.pages, 0u);
}

TEST(Engine, ATrialThatWinsNothingLeavesHugePagesToTheKernel) {
    World world = huge_world();
    world.rates.assign(world.rates.size(), 30);
    Trip run(world, config_with_limit(2048));
    EXPECT_EQ(run.engine.status().policy.split.state, SplitState::worthless);
    EXPECT_EQ(run.engine.status().split_blocks, Splits::least_trial_blocks);
    EXPECT_EQ(world.no_huge.pages, 0u);
}

TEST(Engine, WhoSeesNoPartsSplitsNothingAndSaysSo) {
    World world = huge_world();
    world.sees_parts = false;
    Trip run(world, config_with_limit(2048));
    EXPECT_EQ(world.split_calls, 0u);
    EXPECT_EQ(run.engine.status().split_note,
              "simulated sees no parts of huge pages: none is split");
}

TEST(Engine, PagesThatVanishAreNoMovesAndNoFailures) {
    World world(600);
    heat_up(world, 0, 600, 200, 200);
    for (uint64_t page = 0; page < 100; ++page) world.absent.push_back(page * 4096);
    Trip run(world, config_with_limit(600));
    EngineStatus status = run.engine.status();
    EXPECT_EQ(status.near_bytes + status.far_bytes, 500u * 4096);
    EXPECT_GT(status.near_bytes, 400u * 4096);
}

// What malloc has given to an engine and its policy, of so many pages.
struct Held {
    size_t most = 0;   // at any time, also for a moment
    size_t calm = 0;   // the same, when the hot set is near
    size_t after = 0;  // between two looks
};

Held memory_held(uint64_t pages) {
    const auto in_use = [] {
        const struct mallinfo2 now = mallinfo2();
        return now.uordblks + now.hblkhd;
    };
    World world(pages);
    world.reserve();
    heat_up(world, pages / 2, pages / 8, 50, 0.02);
    Held held;
    const size_t before = in_use();
    world.at_clock = [&] {
        const size_t now = in_use() - before;
        held.most = std::max(held.most, now);
        if (world.at_s() > 30) held.calm = std::max(held.calm, now);
    };
    Trip run(world, config_with_limit(pages / 8));
    held.after = in_use() - before;
    EXPECT_GT(world.near_share(), 0.9);
    EXPECT_LE(run.engine.status().policy.memory_bytes, 0.0005 * double(pages * page_bytes));
    return held;
}

TEST(Engine, HoldsATwoThousandthOfTheMemoryThatItManages) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    GTEST_SKIP() << "a sanitizer's malloc counts nothing";
#endif
    constexpr uint64_t pages = 1 << 18, managed = pages * page_bytes;
    const Held one = memory_held(pages), two = memory_held(2 * pages);
    const auto percent = [](size_t bytes, uint64_t of) {
        return text("%.4f %%", 100 * double(bytes) / double(of));
    };
    RecordProperty("each_page_more", percent(two.after - one.after, managed));
    RecordProperty("calm", percent(two.calm, 2 * managed));
    RecordProperty("most", percent(two.most, 2 * managed));
    EXPECT_LT(double(two.after - one.after), 0.0005 * managed);
    EXPECT_LT(one.after, 0.0005 * managed + (256 << 10));  // what it has of any size
    EXPECT_LT(double(two.calm), 0.001 * 2 * managed);
    EXPECT_LT(double(two.most), 0.002 * 2 * managed);
}

// An exception out of run() would end the program whose thread it is.
TEST(Engine, LackOfMemoryEndsItAndIsTold) {
    World world(64);
    world.at_time = [](double now_s) {
        if (now_s > 1) throw std::bad_alloc();
    };
    Trip run(world, config_with_limit(16));
    EXPECT_NE(run.engine.status().trouble.find("ended for lack of memory"), std::string::npos);
    EXPECT_TRUE(run.engine.remove(0));  // no lock is left behind
}

}  // namespace
}  // namespace libpool::tier
