// SPDX-License-Identifier: Apache-2.0
// The kernel's NUMA balancing: what is read, and what a tiering says of it.
#include "numa_balancing.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "../balancing.h"
#include "tier/tiering.h"

using namespace libpool;

namespace {

// What is read of a kernel with this setting; none: without one.
std::optional<int> read(std::optional<std::string> content) {
    std::string name = (std::filesystem::temp_directory_path() / "libpool-XXXXXX").string();
    const std::filesystem::path root = mkdtemp(name.data());
    std::filesystem::create_directories(root / "proc/sys/kernel");
    if (content) std::ofstream(root / "proc/sys/kernel/numa_balancing") << *content;
    auto mode = read_numa_balancing(root);
    std::filesystem::remove_all(root);
    return mode;
}

// A second node that has no pages is enough to start with.
Topology two_tiers() {
    Topology topology;
    topology.nodes.resize(2);
    topology.nodes[1].id = 1;
    topology.nodes[1].tier = 1;
    topology.tier_names = {"near", "far"};
    return topology;
}

}  // namespace

TEST(NumaBalancing, IsReadAsItIsSetWhereThereIsOne) {
    EXPECT_EQ(read("0\n"), 0);
    EXPECT_EQ(read("1\n"), 1);
    EXPECT_EQ(read("2\n"), 2);
    EXPECT_EQ(read(std::nullopt), std::nullopt);
    EXPECT_EQ(read(""), std::nullopt);
    EXPECT_EQ(read("on\n"), std::nullopt);
}

TEST(NumaBalancing, IsNamedWhereItMovesPages) {
    EXPECT_EQ(describe_numa_balancing(0), "");
    EXPECT_EQ(describe_numa_balancing(2).find("kernel.numa_balancing is 2: the kernel moves pages"),
              0u);
}

TEST(NumaBalancing, IsPartOfATieringsStatus) {
    tier::TieringWish wish;
    wish.loss_ns = 100;
    auto tiering = tier::Tiering::start(two_tiers(), wish);
    if (!tiering) GTEST_SKIP() << tiering.error().sentence;
    for (int mode : {1, 0}) {
        Balancing set(mode);
        if (!set) GTEST_SKIP() << "only root can say what is set";
        const std::string said = (*tiering)->describe();
        EXPECT_EQ(said.ends_with("; " + describe_numa_balancing(1)), mode == 1) << said;
    }
}
