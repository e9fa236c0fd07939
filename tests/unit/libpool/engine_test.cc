// SPDX-License-Identifier: Apache-2.0
// The whole engine in simulated time.
#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <thread>

#include "simulated_engine.h"

namespace libpool::tier {
namespace {

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

// A long plan in batches that take a moment of real time each; on the fifth another thread calls.
struct CalledInTheMiddle final : Mover {
    explicit CalledInTheMiddle(std::function<void(Engine&)> call)
        : call_(std::move(call)), kernel_mover_(world) {
        heat_up(world, 0, 20000, 300, 300);
        world.end_s = 5;
        // Whoever waits for the lock gets it while others sleep.
        world.at_time = [&](double) {
            if (batches >= 5) std::this_thread::sleep_for(std::chrono::milliseconds(2));
        };
    }
    void run() {
        ASSERT_TRUE(engine.add({0, 10240}));
        ASSERT_TRUE(engine.add({10240 * page_bytes, 9760}));
        engine.run();
        ASSERT_TRUE(caller_.joinable()) << batches << " batches: too few to tell";
        caller_.join();
    }
    MoveReport move(pid_t pid, std::span<const uint64_t> pages, int target) override {
        if (++batches == 5) {
            caller_ = std::thread([this] {
                call_(engine);
                batches_then = batches.load();
                called = true;
            });
        }
        for (uint64_t page : pages) of_first_range_later += called && page < 10240 * page_bytes;
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
        return kernel_mover_.move(pid, pages, target);
    }

    World world{20000};
    std::atomic<int> batches = 0, batches_then = 0;
    std::atomic<bool> called = false;
    uint64_t of_first_range_later = 0;

  private:
    std::function<void(Engine&)> call_;
    KernelMover kernel_mover_;
    std::unique_ptr<TierPolicy> policy_ = make_tier_policy({});
    std::thread caller_;

  public:
    Engine engine{world, *policy_, *this, world, world, config_with_limit(20000)};
};

TEST(Engine, WhoGivesAHintWaitsForOneBatchAndNotForThePlan) {
    CalledInTheMiddle one([](Engine& engine) { EXPECT_TRUE(engine.hint({0, 100}, Hint::hot)); });
    one.run();
    EXPECT_LE(one.batches_then, 12) << "of " << one.batches;
    EXPECT_GT(one.batches, 24) << "the plan was over anyway";
}

TEST(Engine, WhatIsLeftOfAPlanIsDroppedWhenRangesHaveChanged) {
    CalledInTheMiddle one([](Engine& engine) { EXPECT_TRUE(engine.remove(0)); });
    one.run();
    EXPECT_EQ(one.of_first_range_later, 0u);
    EXPECT_LE(one.batches_then, 12) << "of " << one.batches;
    EXPECT_EQ(one.engine.status().ranges, 1u);
}

TEST(Engine, LackOfMemoryWhileACallerIsLetInLeavesTheLocksAsTheyWere) {
    CalledInTheMiddle one([](Engine& engine) { EXPECT_TRUE(engine.hint({0, 100}, Hint::hot)); });
    one.world.at_time = [&](double) {
        if (one.batches >= 5) throw std::bad_alloc();
    };
    one.run();
    EXPECT_NE(one.engine.status().trouble.find("ended for lack of memory"), std::string::npos);
    EXPECT_TRUE(one.engine.remove(0));
}

TEST(Engine, WhatIsLeftOfAPlanIsDroppedWhenNodesHaveChanged) {
    CalledInTheMiddle one([](Engine& engine) { engine.set_nodes({}, {far_node}); });
    one.run();
    EXPECT_LE(one.batches, 12) << "nothing comes near where there is no near node";
}

TEST(Engine, ClearLeavesNothingTracked) {
    World world(2000);
    heat_up(world, 0, 200, 300, 1);
    Trip run(world, config_with_limit(500));
    ASSERT_GT(run.engine.status().tracked_bytes, 0u);
    run.engine.clear();
    EXPECT_EQ(run.engine.status().ranges, 0u);
    EXPECT_EQ(run.engine.status().policy.near_pages + run.engine.status().policy.far_pages, 0u);
    EXPECT_TRUE(run.engine.add({0, 2000})) << "the same memory again";
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
