// SPDX-License-Identifier: Apache-2.0
// What attaching from outside has to notice: that the process has ended, that nodes come and go.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "pooltier/nodes.h"
#include "pooltier/one_process.h"
#include "tier/descriptor.h"

using namespace pooltier;
using libpool::Result;
using libpool::text;
using libpool::tier::TierNodes;

namespace {

class CountingKernel final : public libpool::Kernel {
  public:
    int calls = 0;
    long move_pages(pid_t, std::span<const uint64_t>, std::span<const int>,
                    std::span<int>) override {
        ++calls;
        return 0;
    }
    Result<uint64_t> room_bytes(int) override { return 4096; }
    uint64_t resident_bytes(pid_t) override { return ++calls; }
    Result<void> split_huge(pid_t, uint64_t) override { return ++calls, Result<void>{}; }
    Result<void> set_huge(pid_t, uint64_t, uint64_t, libpool::HugePages) override {
        return ++calls, Result<void>{};
    }
};

class RecordedNodes {
  public:
    RecordedNodes() {
        std::string name = (std::filesystem::temp_directory_path() / "pooltier-XXXXXX").string();
        root = mkdtemp(name.data());
        write("proc/zoneinfo", "");
        node(0, "0-1", "10 20 20");
        node(1, "", "20 10 20");
        node(2, "", "20 20 10");
        memory_on("0-1");
    }
    ~RecordedNodes() { std::filesystem::remove_all(root); }
    void memory_on(const std::string& list) {
        write("sys/devices/system/node/online", list + "\n");
        write("sys/devices/system/node/has_memory", list + "\n");
    }

    std::string root;

  private:
    void write(const std::string& path, const std::string& content) {
        std::filesystem::path file = std::filesystem::path(root) / path;
        std::filesystem::create_directories(file.parent_path());
        std::ofstream(file) << content;
    }
    void node(int id, const std::string& cpus, const std::string& distance) {
        std::string folder = text("sys/devices/system/node/node%d/", id);
        write(folder + "cpulist", cpus + "\n");
        write(folder + "distance", distance + "\n");
        write(folder + "meminfo",
              text("Node %d MemTotal: 1000 kB\nNode %d MemFree: 900 kB\n", id, id));
    }
};

}  // namespace

TEST(Attach, AProcessThatHasEndedIsLeftAlone) {
    pid_t child = fork();
    if (child == 0) {
        pause();
        _exit(0);
    }
    libpool::tier::Descriptor pidfd(static_cast<int>(syscall(SYS_pidfd_open, child, 0)));
    ASSERT_TRUE(pidfd);
    CountingKernel kernel;
    OneProcess process(kernel, pidfd.get());
    uint64_t page = 4096;
    int target = 1, status = 0;
    EXPECT_FALSE(process.ended());
    EXPECT_EQ(process.move_pages(child, {&page, 1}, {&target, 1}, {&status, 1}), 0);
    EXPECT_TRUE(process.split_huge(child, 0));
    EXPECT_EQ(kernel.calls, 2);
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);  // from here on its number may be given to another
    EXPECT_TRUE(process.ended());
    EXPECT_EQ(process.move_pages(child, {&page, 1}, {&target, 1}, {&status, 1}), -ESRCH);
    EXPECT_EQ(process.split_huge(child, 0).error().code, ESRCH);
    EXPECT_EQ(process.set_huge(child, 0, 4096, libpool::HugePages::none).error().code, ESRCH);
    EXPECT_EQ(process.resident_bytes(child), 0u);
    EXPECT_EQ(kernel.calls, 2);
}

TEST(Attach, AGrantThatArrivesIsUsedAndOneThatGoesIsForgotten) {
    RecordedNodes machine;
    auto topology = libpool::read_topology(machine.root);
    ASSERT_TRUE(topology) << topology.error().sentence;
    NodeWatch watch(*topology, machine.root);
    EXPECT_EQ(watch.look(), std::nullopt);
    machine.memory_on("0-2");
    EXPECT_EQ(watch.look(), (TierNodes{{0}, {1, 2}}));
    EXPECT_EQ(watch.look(), std::nullopt);
    machine.memory_on("0,2");
    EXPECT_EQ(watch.look(), (TierNodes{{0}, {2}}));
}
