// SPDX-License-Identifier: Apache-2.0
// The C++ face over the C one, on this machine: no second node is needed.
#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <pool/pool.hpp>
#include <thread>

#include "signals.h"

namespace {

TEST(Face, ReadsThisMachine) {
    auto topology = pool::Topology::read();
    ASSERT_TRUE(topology) << topology.error().message;
    ASSERT_FALSE(topology->nodes().empty());
    EXPECT_GT(topology->nodes()[0].total_bytes, topology->nodes()[0].free_bytes);
    EXPECT_FALSE(topology->reason().empty());
    EXPECT_TRUE(pool::node_room_bytes(topology->nodes()[0].id));
    EXPECT_FALSE(pool::node_room_bytes(1000));
}

TEST(Face, NothingToTierIsARefusalWithItsReason) {
    auto topology = pool::Topology::read();
    ASSERT_TRUE(topology);
    auto tiering = pool::Tiering::start(*topology);
    if (topology->tier_count() == 1) {
        ASSERT_FALSE(tiering);
        EXPECT_EQ(tiering.error().code, EOPNOTSUPP);
        EXPECT_EQ(tiering.error().message, topology->reason());
    }
    auto probed = pool::probe_sampler();
    if (!probed) {
        EXPECT_GT(probed.error().message.size(), 20u);
    }
}

// As a container's profile does it, for this process.
void forbid_userfaultfd() {
    sock_filter steps[] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
                           BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_userfaultfd, 0, 1),
                           BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
                           BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    sock_fprog program{std::size(steps), steps};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) {
        _exit(77);
    }
}

// Two tiers, of a recorded tree; neither userfaultfd nor, without root, DAMON.
int start_without_a_sampler(const std::string& tree) {
    if (geteuid() == 0 && setuid(65534) != 0) return 77;
    forbid_userfaultfd();
    auto topology = pool::Topology::read(tree);
    if (!topology || topology->tier_count() != 2) return 2;
    auto tiering = pool::Tiering::start(*topology);
    if (tiering) return 3;
    std::fprintf(stderr, "%d %s\n", tiering.error().code, tiering.error().message.c_str());
    return 0;
}

TEST(Face, WithoutAUsableSamplerEachIsNamedWithItsReason) {
    std::string name = (std::filesystem::temp_directory_path() / "libpool-XXXXXX").string();
    const std::filesystem::path tree = mkdtemp(name.data());
    std::filesystem::permissions(tree, std::filesystem::perms(0755));
    auto write = [&](const std::string& path, const std::string& content) {
        std::filesystem::create_directories((tree / path).parent_path());
        std::ofstream(tree / path) << content;
    };
    write("proc/zoneinfo", "");
    write("sys/devices/system/node/online", "0-1\n");
    for (const char* node : {"node0", "node1"}) {
        const std::string folder = std::string("sys/devices/system/node/") + node + "/";
        write(folder + "cpulist", node[4] == '0' ? "0-1\n" : "\n");
        write(folder + "distance", "10 20\n");
        write(folder + "meminfo", std::string("Node ") + node[4] + " MemTotal: 2000000 kB\n" +
                                      "Node " + node[4] + " MemFree: 1000000 kB\n");
    }
    EXPECT_EXIT(_exit(start_without_a_sampler(tree)), testing::ExitedWithCode(0),
                std::to_string(EOPNOTSUPP) +
                    " no sampler can be used: not rwp: .*; not wp: "
                    "userfaultfd: Operation not permitted.*; not damon: .+");
    std::filesystem::remove_all(tree);
}

TEST(Face, OptionsOutOfRangeAreRefused) {
    auto topology = pool::Topology::read();
    pool::Options options{{{POOL_OPTION_CPU_BUDGET_PPM, 5}}};
    auto tiering = pool::Tiering::start(*topology, options);
    ASSERT_FALSE(tiering);
    EXPECT_EQ(tiering.error().code, EINVAL);
    EXPECT_EQ(tiering.error().message, "option 1 takes 100 to 1000000, not 5");
}

TEST(Face, FindsItsOwnPagesByPhysicalAddressWhenItMay) {
    auto topology = pool::Topology::read();
    auto arena = pool::Arena::create(*topology, 0, 1 << 20, POOL_ARENA_POPULATE);
    ASSERT_TRUE(arena) << arena.error().message;
    auto held = pool::held_bytes(getpid(), 0, UINT64_MAX);
    if (!held) {  // no CAP_SYS_ADMIN, or a kernel before 6.7: both say so
        EXPECT_TRUE(held.error().code == EPERM || held.error().code == EOPNOTSUPP);
        return;
    }
    EXPECT_GE(*held, 2u << 20);
    EXPECT_EQ(pool::held_bytes(getpid(), 0, 0).value(), 0u);
}

TEST(Face, EvacuationNeedsATargetAndAProcess) {
    EXPECT_EQ(pool::evacuate_node(0, 0, {}).error().code, EINVAL);
    EXPECT_EQ(pool::evacuate_node(0, 0, {0}).error().message,
              "node 0 cannot be emptied into itself");
    EXPECT_FALSE(pool::evacuate_node(0x3fffffff, 1, {0}));
    // Though nothing had to be moved.
    auto to_none = pool::evacuate_node(0, 1000, {0, 1001});
    ASSERT_FALSE(to_none);
    EXPECT_EQ(to_none.error().code, ENOENT);
    EXPECT_EQ(to_none.error().message, "node 1001 has no memory to which pages could go");
}

TEST(Face, ADeadlineThatHasPassedLeavesNoTime) {
    using std::chrono::milliseconds;
    EXPECT_EQ(pool::detail::left_ms(milliseconds(-1)), 0u);
    EXPECT_EQ(pool::detail::left_ms(milliseconds(0)), 0u);
    EXPECT_EQ(pool::detail::left_ms(milliseconds(7)), 7u);
}

// A thread of the library with the program's mask would take the SIGTERM that the program waits
// for.
TEST(Threads, OneThatIsMadeWhileSignalsAreBlockedTakesNone) {
    sigset_t own{}, its{};
    std::thread thread;
    {
        libpool::SignalsBlocked inherited;
        thread = std::thread([&] { pthread_sigmask(SIG_BLOCK, nullptr, &its); });
    }
    thread.join();
    pthread_sigmask(SIG_BLOCK, nullptr, &own);
    EXPECT_TRUE(sigismember(&its, SIGTERM) && sigismember(&its, SIGUSR1));
    EXPECT_FALSE(sigismember(&own, SIGTERM) || sigismember(&own, SIGUSR1));
}

}  // namespace
