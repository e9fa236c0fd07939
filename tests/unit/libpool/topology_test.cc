// SPDX-License-Identifier: Apache-2.0
// Topologies as recorded trees: what a machine shows below /sys and /proc.
#include "topology.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <stdlib.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>

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
    EXPECT_EQ(topology->reason,
              "the kernel has all nodes in one memory tier, so nodes without a "
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

// The kernel gives programs' pages only what is above the high mark and the zone's protection: what
// is free below both is no room. Once a guest's near node was filled until the kernel had none
// left.
TEST(Topology, WhatAZoneKeepsForTheKernelIsNoRoom) {
    Tree tree;
    dram_and_cxl(tree);
    tree.write("proc/zoneinfo",
               "Node 0, zone      DMA\n  pages free     200\n        high     30\n"
               "        protection: (0, 249, 260, 260)\n"
               "Node 0, zone    DMA32\n  pages free     9000\n        high     70\n"
               "        protection: (0, 0, 11, 11)\n"
               "Node 0, zone   Normal\n  pages free     5\n        high     7\n"
               "        protection: (0, 0, 0, 0)\n");
    auto topology = read_topology(tree.root());
    ASSERT_TRUE(topology);
    // All that is free of the first, mark and protection of the second, the mark of the third.
    EXPECT_EQ(topology->find(0)->watermark_bytes, (200u + 81 + 7) * 4096);
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

TEST(Topology, ReadsWhatTheFirmwareSaysOfSpeed) {
    Tree tree;
    dram_and_cxl(tree);
    std::string folder = "sys/devices/system/node/node1/access0/initiators/";
    tree.write(folder + "read_latency", "250\n");
    tree.write(folder + "write_latency", "260\n");
    tree.write(folder + "read_bandwidth", "30000\n");
    tree.write(folder + "write_bandwidth", "15000\n");
    tree.write("sys/devices/system/node/node0/access1/initiators/read_latency", "90\n");
    auto topology = read_topology(tree.root());
    ASSERT_TRUE(topology);
    EXPECT_EQ(topology->find(1)->read_latency_ns, 250u);
    EXPECT_EQ(topology->find(1)->write_latency_ns, 260u);
    EXPECT_EQ(topology->find(1)->read_mb_per_s, 30000u);
    EXPECT_EQ(topology->find(1)->write_mb_per_s, 15000u);
    EXPECT_EQ(topology->find(0)->read_latency_ns, 90u);
    EXPECT_EQ(topology->find(0)->write_mb_per_s, 0u);
    EXPECT_EQ(topology->find(1)->cpu_node, 0);
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

// ---- any machine, against a twin that asks each question of the drawn machine itself ----

struct Machine {
    struct Spot {
        bool online = false, memory = false, cpus = false;
        int kernel_tier = 0;  // 0 = in none
    };
    std::vector<Spot> spots;

    std::vector<int> ids(bool (*wanted)(const Spot&)) const {
        std::vector<int> found;
        for (size_t id = 0; id < spots.size(); ++id)
            if (spots[id].online && wanted(spots[id])) found.push_back(static_cast<int>(id));
        return found;
    }
    std::set<int> tiers_with_memory() const {
        std::set<int> found;
        for (const Spot& spot : spots)
            if (spot.online && spot.memory && spot.kernel_tier) found.insert(spot.kernel_tier);
        return found;
    }
    uint64_t nearest_cpu(int from) const {
        uint64_t nearest = 0;
        for (int to : ids([](const Spot& spot) { return spot.cpus; })) {
            uint64_t far = distance(from, to);
            if (nearest == 0 || far < nearest) nearest = far;
        }
        return nearest;
    }
    static uint64_t distance(int a, int b) {
        return 10 + 7 * static_cast<uint64_t>(std::abs(a - b));
    }
};

Machine any_machine() {
    Machine machine;
    machine.spots.resize(*rc::gen::inRange<size_t>(1, 9));
    int most_tiers = *rc::gen::inRange(0, 4);
    for (Machine::Spot& spot : machine.spots) {
        spot.online = *rc::gen::inRange(0, 5) > 0;
        spot.memory = *rc::gen::inRange(0, 5) > 0;
        spot.cpus = *rc::gen::arbitrary<bool>();
        spot.kernel_tier = most_tiers == 0
                               ? 0
                               : *rc::gen::inRange(*rc::gen::inRange(0, 6) ? 1 : 0, most_tiers + 1);
    }
    return machine;
}

// The list in one of its many spellings: runs and single numbers, in any order.
std::string spell(const std::vector<int>& ids) {
    std::vector<std::string> parts;
    for (size_t at = 0; at < ids.size();) {
        size_t end = at + 1;
        while (end < ids.size() && ids[end] == ids[end - 1] + 1 && *rc::gen::inRange(0, 4) > 0)
            ++end;
        parts.push_back(end == at + 1 ? text("%d", ids[at]) : text("%d-%d", ids[at], ids[end - 1]));
        at = end;
    }
    std::string list;
    for (const std::string& part : parts) list += (list.empty() ? "" : ",") + part;
    return list;
}

void write(Tree& tree, const Machine& machine) {
    auto online = machine.ids([](const Machine::Spot&) { return true; });
    tree.online(spell(online));
    for (int id : online) {
        const Machine::Spot& spot = machine.spots[static_cast<size_t>(id)];
        std::string distances;
        for (int to : online)
            distances += text("%llu ", (unsigned long long)Machine::distance(id, to));
        tree.node(id, spot.cpus ? text("%d", id * 4) : "",
                  spot.memory ? 1000 + static_cast<uint64_t>(id) : 0, spot.memory ? 500 : 0,
                  distances);
    }
    for (int tier = 1; tier < 4; ++tier) {
        std::vector<int> members;
        for (int id : online)
            if (machine.spots[static_cast<size_t>(id)].kernel_tier == tier) members.push_back(id);
        if (!members.empty()) tree.tier(tier * 7, spell(members));
    }
}

TEST(Topology, AnyMachineIsReadAsItsTwinDoes) {
    EXPECT_TRUE(rc::check("nodes, tiers and distances", [] {
        Machine machine = any_machine();
        Tree tree;
        write(tree, machine);
        auto topology = read_topology(tree.root());
        auto with_memory = machine.ids([](const Machine::Spot& spot) { return spot.memory; });
        RC_ASSERT(topology.has_value() == !with_memory.empty());
        if (!topology) return;

        RC_ASSERT(topology->nodes.size() == with_memory.size());
        for (int id : with_memory) {
            RC_ASSERT(topology->find(id) != nullptr);
            RC_ASSERT(topology->find(id)->total_bytes == (1000 + static_cast<uint64_t>(id)) * 1024);
            RC_ASSERT(topology->find(id)->distance == machine.nearest_cpu(id));
        }
        auto near = machine.ids([](const Machine::Spot& spot) { return spot.memory && spot.cpus; });
        bool all_in_tiers = std::ranges::all_of(with_memory, [&](int id) {
            return machine.spots[static_cast<size_t>(id)].kernel_tier != 0;
        });
        auto tiers = machine.tiers_with_memory();
        RC_CLASSIFY(tiers.size() >= 2 && all_in_tiers, "by the kernel");
        if (tiers.size() >= 2 && all_in_tiers) {
            RC_ASSERT(topology->source == TierSource::kernel);
            size_t rank = 0;
            for (int tier : tiers) {
                std::vector<int> members;
                for (int id : with_memory)
                    if (machine.spots[static_cast<size_t>(id)].kernel_tier == tier)
                        members.push_back(id);
                RC_ASSERT(topology->tier_nodes(rank++) == members);
            }
            RC_ASSERT(topology->tier_names.size() == rank);
        } else if (near.empty() || near.size() == with_memory.size()) {
            RC_ASSERT(topology->source == TierSource::single);
            RC_ASSERT(topology->tier_nodes(0) == with_memory);
        } else {
            RC_ASSERT(topology->source == TierSource::cpuless);
            RC_ASSERT(topology->tier_nodes(0) == near);
            RC_ASSERT(topology->nodes_beyond(0).size() == with_memory.size() - near.size());
        }
        RC_ASSERT(!topology->reason.empty());
    }));
}

}  // namespace
}  // namespace libpool
