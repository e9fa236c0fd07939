// SPDX-License-Identifier: Apache-2.0
// Topologies as recorded trees: what a machine shows below /sys and /proc.
#include "topology.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>

namespace libpool {
namespace {

// A folder with sys/ and proc/ that a test fills like a kernel would.
class Tree {
  public:
    Tree() {
        std::string name = (std::filesystem::temp_directory_path() / "libpool-XXXXXX").string();
        root_ = mkdtemp(name.data());
        write("proc/zoneinfo", "");
    }
    ~Tree() { std::filesystem::remove_all(root_); }
    const std::string& root() const { return root_; }

    void write(const std::string& path, const std::string& content) {
        std::filesystem::path file = std::filesystem::path(root_) / path;
        std::filesystem::create_directories(file.parent_path());
        std::ofstream(file) << content;
    }
    void online(const std::string& list) { write("sys/devices/system/node/online", list + "\n"); }
    void node(int id, const std::string& cpus, uint64_t total_kib, uint64_t free_kib,
              const std::string& distance) {
        std::string folder = text("sys/devices/system/node/node%d/", id);
        std::string prefix = text("Node %d ", id);
        write(folder + "cpulist", cpus + "\n");
        write(folder + "distance", distance + "\n");
        write(folder + "meminfo",
              prefix + text("MemTotal:       %llu kB\n", (unsigned long long)total_kib) + prefix +
                  text("MemFree:        %llu kB\n", (unsigned long long)free_kib) + prefix +
                  "Active(file):     100 kB\n" + prefix + "Inactive(file):    60 kB\n" + prefix +
                  "Dirty:             40 kB\n" + prefix + "Writeback:          20 kB\n" + prefix +
                  "SReclaimable:      10 kB\n");
    }
    void tier(int id, const std::string& nodes) {
        write(text("sys/devices/virtual/memory_tiering/memory_tier%d/nodelist", id), nodes + "\n");
    }

  private:
    std::string root_;
};

// DRAM with CPUs on node 0, CXL memory on node 1.
void dram_and_cxl(Tree& tree) {
    tree.online("0-1");
    tree.node(0, "0-1", 2000000, 1500000, "10 20");
    tree.node(1, "", 262144, 260000, "20 10");
}

TEST(Topology, TakesTheKernelsTiersWhenTheyDiffer) {
    Tree tree;
    dram_and_cxl(tree);
    tree.tier(22, "1");  // folders are not sorted by speed, their numbers are
    tree.tier(4, "0");
    auto topology = read_topology(tree.root());
    ASSERT_TRUE(topology) << topology.error().sentence;
    EXPECT_EQ(topology->source, TierSource::kernel);
    EXPECT_EQ(topology->tier_names, (std::vector<std::string>{"memory_tier4", "memory_tier22"}));
    EXPECT_EQ(topology->tier_nodes(0), std::vector<int>{0});
    EXPECT_EQ(topology->nodes_beyond(0), std::vector<int>{1});
}

TEST(Topology, OneKernelTierMakesNodesWithoutCpusFarAndSaysSo) {
    Tree tree;
    dram_and_cxl(tree);
    tree.tier(4, "0-1");
    auto topology = read_topology(tree.root());
    ASSERT_TRUE(topology);
    EXPECT_EQ(topology->source, TierSource::cpuless);
    EXPECT_EQ(topology->reason, "the kernel has all nodes in one memory tier, so nodes without a "
                                "CPU (1) are taken as far");
    EXPECT_EQ(topology->tier_nodes(1), std::vector<int>{1});
}

TEST(Topology, NoKernelTiersOrTiersThatMissANodeFallBackToo) {
    Tree tree;
    dram_and_cxl(tree);
    auto none = read_topology(tree.root());
    ASSERT_TRUE(none);
    EXPECT_EQ(none->source, TierSource::cpuless);
    EXPECT_EQ(none->reason.find("the kernel names no memory tiers"), 0u);
    tree.tier(4, "0");
    tree.tier(9, "7");
    auto missing = read_topology(tree.root());
    ASSERT_TRUE(missing);
    EXPECT_EQ(missing->source, TierSource::cpuless);
    EXPECT_EQ(missing->reason.find("the kernel's memory tiers miss a node"), 0u);
}

TEST(Topology, TwoSocketsAreOneTier) {
    Tree tree;
    tree.online("0-1");
    tree.node(0, "0-7", 1000, 500, "10 21");
    tree.node(1, "8-15", 1000, 500, "21 10");
    tree.tier(4, "0-1");
    auto topology = read_topology(tree.root());
    ASSERT_TRUE(topology);
    EXPECT_EQ(topology->source, TierSource::single);
    EXPECT_EQ(topology->tier_names.size(), 1u);
    EXPECT_EQ(topology->tier_nodes(0), (std::vector<int>{0, 1}));
    EXPECT_NE(topology->reason.find("nothing to tier"), std::string::npos);
}

TEST(Topology, NodesWithoutMemoryAreNoNodesAndHolesInTheNumbersAreFine) {
    Tree tree;
    tree.online("0,2-3");
    tree.node(0, "0", 1000, 500, "10 20 30");
    tree.node(2, "", 0, 0, "20 10 20");
    tree.node(3, "", 1000, 500, "30 20 10");
    auto topology = read_topology(tree.root());
    ASSERT_TRUE(topology);
    ASSERT_EQ(topology->nodes.size(), 2u);
    EXPECT_EQ(topology->find(2), nullptr);
    EXPECT_EQ(topology->find(3)->distance, 30u);
    EXPECT_EQ(topology->find(0)->distance, 10u);
}

TEST(Topology, ReadsFreeReclaimableAndWatermark) {
    Tree tree;
    dram_and_cxl(tree);
    tree.write("proc/zoneinfo",
               "Node 0, zone      DMA\n  pages free     3000\n        min      10\n"
               "        low      20\n        high     30\nNode 0, zone   Normal\n"
               "        high     70\nNode 1, zone  Movable\n        high     5\n");
    auto topology = read_topology(tree.root());
    ASSERT_TRUE(topology);
    EXPECT_EQ(topology->find(0)->watermark_bytes, 100u * 4096);
    EXPECT_EQ(topology->find(1)->watermark_bytes, 5u * 4096);
    EXPECT_EQ(topology->find(0)->reclaimable_bytes, (100u + 60 - 40 - 20 + 10) * 1024);
    EXPECT_EQ(read_node_room(tree.root(), 1).value(), 260000u * 1024 - 5 * 4096);
}

TEST(Topology, RoomBelowTheWatermarkIsNoneAndAMissingNodeIsAnError) {
    Tree tree;
    tree.online("0");
    tree.node(0, "0", 1000, 4, "10");
    tree.write("proc/zoneinfo", "Node 0, zone   Normal\n        high     70\n");
    EXPECT_EQ(read_node_room(tree.root(), 0).value(), 0u);
    auto missing = read_node_room(tree.root(), 6);
    ASSERT_FALSE(missing);
    EXPECT_EQ(missing.error().code, ENOENT);
    EXPECT_EQ(missing.error().sentence.find("node 6 is not there"), 0u);
}

TEST(Topology, AFolderWithoutSysfsIsOneSentence) {
    auto topology = read_topology("/nonexistent");
    ASSERT_FALSE(topology);
    EXPECT_NE(topology.error().sentence.find("is sysfs mounted"), std::string::npos);
}

TEST(List, ReadsWhatKernelsWriteAndNothingElse) {
    EXPECT_EQ(parse_list("0-2,8\n").value(), (std::vector<int>{0, 1, 2, 8}));
    EXPECT_TRUE(parse_list("\n")->empty());
    for (const char* bad : {"a", "1-", "-1", "1,", "3-1", "1 2", "0-999999999", "99999999999"}) {
        EXPECT_FALSE(parse_list(bad)) << bad;
    }
}

}  // namespace
}  // namespace libpool
