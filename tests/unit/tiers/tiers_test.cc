// SPDX-License-Identifier: Apache-2.0
// Tiers by declaration and by measurement.
#include "tiers.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>
#include <sched.h>

#include <algorithm>

namespace libpool {
namespace {

// Nodes 0… of which the kernel says that all are alike.
Topology one_tier(int nodes) {
    Topology topology;
    topology.tier_names = {"near"};
    topology.reason = "nothing to tier";
    for (int id = 0; id < nodes; ++id) {
        Node node;
        node.id = id;
        node.total_bytes = 1 << 30;
        node.cpus = 1;
        topology.nodes.push_back(node);
    }
    return topology;
}

std::string refusal(const std::string& words) {
    auto declared = parse_declaration(words, "POOL_TIERS");
    return declared ? "" : declared.error().sentence;
}

TEST(Declaration, IsReadInItsSpellings) {
    for (const char* words : {"near=0-1 far=2,3", "far=2-3;near=0,1", " near=0-1;  far=2-3 "}) {
        auto declared = parse_declaration(words, "POOL_TIERS");
        ASSERT_TRUE(declared) << declared.error().sentence;
        EXPECT_EQ(declared->near, (std::vector<int>{0, 1}));
        EXPECT_EQ(declared->far, (std::vector<int>{2, 3}));
    }
    EXPECT_TRUE(parse_declaration("measure", "POOL_TIERS")->measure);
}

TEST(Declaration, BadOnesAreOneSentence) {
    EXPECT_EQ(
        refusal("near=0 far=0"),
        "POOL_TIERS: node 0 is declared near and far; it takes such as \"near=0 far=1-2\", or "
        "\"measure\"");
    for (const char* words :
         {"", "near=0", "far=1", "near=0 far=", "near=0 far=x", "near=0 far=1 near=2", "0 1",
          "near far", "measure near=0 far=1", "near=0 far=-1", "fast=0 far=1", "near=0 far=1-0"}) {
        EXPECT_EQ(refusal(words).find("POOL_TIERS: "), 0u) << words;
    }
}

TEST(Declaration, WhatItDoesNotNameIsNoPartOfTheTopology) {
    Topology topology = one_tier(4);
    ASSERT_TRUE(declare_tiers(topology, {{2}, {0, 9}, false}));
    EXPECT_EQ(topology.source, TierSource::declared);
    EXPECT_EQ(topology.tier_nodes(0), std::vector<int>{2});
    EXPECT_EQ(topology.nodes_beyond(0), std::vector<int>{0});
    EXPECT_EQ(topology.find(1), nullptr);
    EXPECT_EQ(topology.reason, "declared: near 2, far 0, 9 (without memory now: 9)");
}

TEST(Declaration, ATierWithoutAnyMemoryIsRefusedAndNothingChanges) {
    Topology topology = one_tier(2);
    auto declared = declare_tiers(topology, {{0}, {7, 8}, false});
    ASSERT_FALSE(declared);
    EXPECT_EQ(declared.error().sentence, "no node that is declared far (7, 8) has memory");
    EXPECT_EQ(topology.nodes.size(), 2u);
    EXPECT_EQ(topology.reason, "nothing to tier");
}

TEST(Measured, NodesThatTakeMuchLongerAreFar) {
    Topology topology = one_tier(3);
    tiers_by_latency(topology, {{0, 95}, {1, 92}, {2, 240}});
    EXPECT_EQ(topology.source, TierSource::measured);
    EXPECT_EQ(topology.tier_nodes(0), (std::vector<int>{0, 1}));
    EXPECT_EQ(topology.tier_nodes(1), std::vector<int>{2});
    EXPECT_EQ(topology.reason,
              "measured: a load takes node 1 92 ns, node 0 95 ns, node 2 240 ns; 1.3 times as long "
              "makes another tier");
    EXPECT_DOUBLE_EQ(topology.find(2)->load_ns, 240);
}

TEST(Measured, EqualNodesAreOneTierWithItsReason) {
    Topology topology = one_tier(2);
    tiers_by_latency(topology, {{0, 95}, {1, 120}});
    EXPECT_EQ(topology.tier_names.size(), 1u);
    EXPECT_NE(topology.reason.find("nothing to tier"), std::string::npos);
}

RC_GTEST_PROP(Measured, TiersAreInOrderOfSpeedAndEachIsWithinItsRatio, ()) {
    int count = *rc::gen::inRange(1, 9);
    Topology topology = one_tier(count);
    std::vector<NodeLatency> latencies;
    for (int id = 0; id < count; ++id)
        latencies.push_back({id, double(*rc::gen::inRange(60, 900))});
    tiers_by_latency(topology, latencies);
    double slowest_before = 0;
    for (size_t tier = 0; tier < topology.tier_names.size(); ++tier) {
        double fastest = 1e9, slowest = 0;
        for (int node : topology.tier_nodes(tier)) {
            fastest = std::min(fastest, topology.find(node)->load_ns);
            slowest = std::max(slowest, topology.find(node)->load_ns);
        }
        RC_ASSERT(slowest > 0);  // no tier without a node
        RC_ASSERT(slowest < fastest * tier_ratio);
        RC_ASSERT(fastest > slowest_before);
        slowest_before = slowest;
    }
}

TEST(Measured, ThisMachineCanBeMeasuredAndTheCallersAffinityStays) {
    cpu_set_t before, after;
    sched_getaffinity(0, sizeof before, &before);
    auto topology = read_topology("");
    ASSERT_TRUE(topology);
    auto measured = measure_tiers(*topology);
    ASSERT_TRUE(measured) << measured.error().sentence;
    for (const Node& node : topology->nodes) EXPECT_GT(node.load_ns, 1);
    sched_getaffinity(0, sizeof after, &after);
    EXPECT_TRUE(CPU_EQUAL(&before, &after));
}

}  // namespace
}  // namespace libpool
