// SPDX-License-Identifier: Apache-2.0
// A tier that grows and shrinks: grants arrive, are drained, go, and come back.
#include "tier/nodes.h"

#include <gtest/gtest.h>

#include "tiers.h"

namespace libpool::tier {
namespace {

Node node(int id, uint64_t cpus, size_t tier = 0) {
    Node one;
    one.id = id;
    one.cpus = cpus;
    one.tier = tier;
    return one;
}

Topology dram_and_cxl() {
    Topology topology;
    topology.source = TierSource::cpuless;
    topology.tier_names = {"near", "far"};
    topology.nodes = {node(0, 2), node(1, 0, 1)};
    return topology;
}

TEST(Nodes, AGrantThatArrivesIsFarAndOneThatIsReleasedIsNothing) {
    NodeBook book(dram_and_cxl());
    EXPECT_EQ(book.now(), (TierNodes{{0}, {1}}));
    book.see({node(0, 2), node(1, 0), node(2, 0)});
    EXPECT_EQ(book.now(), (TierNodes{{0}, {1, 2}}));
    book.see({node(0, 2), node(2, 0)});
    EXPECT_EQ(book.now(), (TierNodes{{0}, {2}}));
    book.see({node(0, 2)});
    EXPECT_EQ(book.now(), (TierNodes{{0}, {}}));
    book.see({node(0, 2), node(1, 0)});
    EXPECT_EQ(book.now(), (TierNodes{{0}, {1}}));
}

TEST(Nodes, ANewOneWithCpusIsNearAndTheKernelsTiersAreKept) {
    Topology topology = dram_and_cxl();
    topology.source = TierSource::kernel;
    topology.nodes = {node(0, 2, 1), node(1, 0, 0), node(3, 0, 2)};  // 1 is HBM
    NodeBook book(topology);
    EXPECT_EQ(book.now(), (TierNodes{{1}, {0, 3}}));
    book.see({node(0, 2), node(1, 0), node(2, 4), node(3, 0), node(4, 0)});
    EXPECT_EQ(book.now(), (TierNodes{{1, 2}, {0, 4, 3}}));
}

TEST(Nodes, ADrainedOneIsLeftUntilItIsReadmittedOrHasGoneOnce) {
    NodeBook book(dram_and_cxl());
    ASSERT_TRUE(book.drain(1));
    EXPECT_EQ(book.now(), (TierNodes{{0}, {}}));
    book.see({node(0, 2), node(1, 0)});
    EXPECT_EQ(book.now(), (TierNodes{{0}, {}}));
    ASSERT_TRUE(book.readmit(1));
    EXPECT_EQ(book.now(), (TierNodes{{0}, {1}}));
    EXPECT_EQ(book.readmit(1).error().sentence, "node 1 was not drained");
    ASSERT_TRUE(book.drain(1));
    book.see({node(0, 2)});
    book.see({node(0, 2), node(1, 0)});  // another grant's
    EXPECT_EQ(book.now(), (TierNodes{{0}, {1}}));
}

TEST(Nodes, TheOnlyOneAndStrangersCannotBeDrained) {
    NodeBook book(dram_and_cxl());
    EXPECT_EQ(book.drain(7).error().sentence, "node 7 is in none of the tiers now");
    ASSERT_TRUE(book.drain(1));
    EXPECT_EQ(book.drain(1).error().code, EINVAL);
    EXPECT_EQ(book.drain(0).error().sentence, "node 0 is the only one: its pages can go nowhere");
}

TEST(Nodes, ADeclarationHasRoomForNodesThatComeLaterAndForNoOthers) {
    Topology topology = dram_and_cxl();
    ASSERT_TRUE(declare_tiers(topology, {{0}, {1, 5}, false}));
    NodeBook book(topology);
    EXPECT_EQ(book.now(), (TierNodes{{0}, {1}}));
    book.see({node(0, 2), node(1, 0), node(5, 0), node(6, 0)});
    EXPECT_EQ(book.now(), (TierNodes{{0}, {1, 5}}));
}

}  // namespace
}  // namespace libpool::tier
