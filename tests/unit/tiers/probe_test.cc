// SPDX-License-Identifier: Apache-2.0
// The latency probe in made-up time over made-up loads; and once over real ones.
#include "tier/probe.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>
#include <time.h>

#include <set>

#include "latency.h"
#include "topology.h"

namespace libpool::tier {
namespace {

class FakeLoads final : public LoadSource {
  public:
    std::map<int, double> ns;
    std::set<int> left;
    unsigned calls = 0;

    Result<double> load_ns(int node) override {
        ++calls;
        if (!ns.contains(node)) return fail(ENOMEM, "node %d has no room", node);
        return ns[node];
    }
    void leave(int node) override { left.insert(node); }
};

struct World {
    FakeLoads loads;
    double now_s = 1000;
    LatencyProbe probe{loads, {0}, {1}};
    World() { loads.ns = {{0, 90}, {1, 240}}; }
    void seconds(int count) {
        for (int i = 0; i < count; ++i) probe.step(now_s += 1);
    }
};

TEST(Probe, KnowsAfterThreeRoundsWhatAFarLoadCostsMore) {
    World world;
    world.seconds(2);
    EXPECT_FALSE(world.probe.reading().known);
    world.seconds(1);
    EXPECT_TRUE(world.probe.reading().known);
    EXPECT_DOUBLE_EQ(world.probe.reading().loss_ns(), 150);
}

TEST(Probe, WhatCannotBeToldFromNoiseIsALittle) {
    World world;
    world.loads.ns = {{0, 100}, {1, 99}};
    world.seconds(5);
    EXPECT_DOUBLE_EQ(world.probe.reading().loss_ns(), 10);
    world.loads.ns[1] = 90;
    world.seconds(60);
    EXPECT_DOUBLE_EQ(world.probe.reading().loss_ns(), 0);
}

TEST(Probe, LooksOnlyWhenItIsTime) {
    World world;
    EXPECT_TRUE(world.probe.step(5));
    EXPECT_FALSE(world.probe.step(5.5));
    EXPECT_EQ(world.loads.calls, 2u);
    EXPECT_TRUE(world.probe.step(6));
}

TEST(Probe, NearMemoryThatIsSaturatedHasNothingToLoseWithinSeconds) {
    World world;
    world.seconds(30);
    world.loads.ns[0] = 600;
    world.seconds(3);  // of the last five not yet most
    int more = 0;
    while (world.probe.reading().loss_ns() > 0 && more < 60) world.seconds(1), ++more;
    EXPECT_LE(more, 6);
    world.loads.ns[0] = 90;
    world.seconds(30);
    EXPECT_NEAR(world.probe.reading().loss_ns(), 150, 2);
}

// The thread was not running for 30 ms in the middle of its loads.
TEST(Probe, AWildValueNowAndThenChangesNothing) {
    World world;
    world.seconds(10);
    for (int i = 0; i < 20; ++i) {
        world.loads.ns[0] = i % 3 == 0 ? 120000 : 90;
        world.seconds(1);
        ASSERT_NEAR(world.probe.reading().near_ns, 90, 1e-9);
    }
}

TEST(Probe, ANodeThatCannotBeMeasuredIsUnknownAndNamed) {
    World world;
    world.seconds(10);
    world.loads.ns.erase(1);
    world.seconds(1);
    EXPECT_FALSE(world.probe.reading().known);
    EXPECT_EQ(world.probe.reading().trouble, "node 1 has no room");
    world.loads.ns[1] = 300;
    world.seconds(3);
    EXPECT_DOUBLE_EQ(world.probe.reading().far_ns, 300);
    EXPECT_EQ(world.probe.reading().trouble, "");
}

TEST(Probe, LeavesANodeThatGoesAndKeepsWhatItKnowsOfTheOthers) {
    World world;
    world.seconds(5);
    world.probe.set_nodes({0}, {2});
    EXPECT_EQ(world.loads.left, std::set<int>{1});
    EXPECT_FALSE(world.probe.reading().known);
    world.loads.ns[2] = 400;
    world.seconds(3);
    EXPECT_DOUBLE_EQ(world.probe.reading().loss_ns(), 310);
}

RC_GTEST_PROP(Probe, SaysNothingBeyondWhatWasSeen, ()) {
    World world;
    double least = 1e9, most = 0;
    for (int i = *rc::gen::inRange(3, 40); i > 0; --i) {
        double ns = *rc::gen::inRange(50, 2000);
        least = std::min(least, ns);
        most = std::max(most, ns);
        world.loads.ns[1] = ns;
        world.seconds(1);
        if (!world.probe.reading().known) continue;
        RC_ASSERT(world.probe.reading().far_ns >= least - 1e-6);
        RC_ASSERT(world.probe.reading().far_ns <= most + 1e-6);
    }
}

TEST(Probe, RealLoadsTakeTimeAndCostLittle) {
    auto loads = make_load_source();
    int node = read_topology("")->nodes.front().id;
    auto first = loads->load_ns(node);
    ASSERT_TRUE(first) << first.error().sentence;
    constexpr int rounds = 50;
    auto cpu_s = [] {
        timespec time{};
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
        return double(time.tv_sec) + double(time.tv_nsec) * 1e-9;
    };
    std::vector<double> seen;
    double before_s = cpu_s();
    for (int i = 0; i < rounds; ++i) seen.push_back(loads->load_ns(node).value());
    double round_us = (cpu_s() - before_s) / rounds * 1e6;
    std::printf("%.1f ns a load, %.0f us of CPU a round and node\n", median(seen), round_us);
    EXPECT_GT(median(seen), 2);  // a cached load takes less
    EXPECT_LT(round_us, 5000);   // with sanitizers, on a busy machine; 0.1 % of a CPU would be 1000
    loads->leave(node);
    EXPECT_FALSE(loads->load_ns(1000));
}

}  // namespace
}  // namespace libpool::tier
