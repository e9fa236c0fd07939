// SPDX-License-Identifier: Apache-2.0
// What the backend rests on, asked of a real QEMU (the testbed's; CXLPOOL_TESTBED_ROOT names
// another root): the query by a twice-named add tells the state and changes nothing. The machine
// stays paused before its first instruction, so an offer stays pending for ever.
#include <gtest/gtest.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <optional>

#include "harness.h"

namespace cxlpool {
namespace {

namespace fs = std::filesystem;

std::string qemu_of(const fs::path& root) { return (root / "usr/bin/qemu-system-x86_64").string(); }

// The testbed's newest root in its cache.
std::optional<fs::path> find_root() {
    if (const char* named = std::getenv("CXLPOOL_TESTBED_ROOT")) return named;
    const auto variable = [](const char* name) { return std::string(std::getenv(name) ?: ""); };
    fs::path cache = variable("CXLPOOL_CACHE");
    if (cache.empty() && !variable("XDG_CACHE_HOME").empty()) {
        cache = fs::path(variable("XDG_CACHE_HOME")) / "cxlpool";
    }
    if (cache.empty()) cache = fs::path(variable("HOME")) / ".cache/cxlpool";
    std::optional<fs::path> newest;
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(cache, error)) {
        if (!entry.path().filename().string().starts_with("root-")) continue;
        if (!fs::exists(qemu_of(entry.path()), error)) continue;
        if (!newest || fs::last_write_time(entry) > fs::last_write_time(*newest))
            newest = entry.path();
    }
    return newest;
}

std::optional<fs::path> root;

std::vector<std::string> qemu_argv(const TempDir& folder) {
    // By the root's own loader, since this machine's libraries are others.
    const auto in_root = [&](const char* path) { return (*root / path).string(); };
    return {in_root("usr/lib64/ld-linux-x86-64.so.2"),
            "--library-path",
            in_root("usr/lib/x86_64-linux-gnu") + ":" + in_root("usr/lib"),
            qemu_of(*root),
            "-L",
            in_root("usr/share/qemu"),
            "-L",
            in_root("usr/share/seabios"),
            "-S",
            "-machine",
            "q35,cxl=on",
            "-accel",
            "tcg",
            "-m",
            "256M,maxmem=4G,slots=2",
            "-display",
            "none",
            "-serial",
            "none",
            "-monitor",
            "none",
            "-nodefaults",
            "-object",
            "memory-backend-file,id=pool0,mem-path=" + (folder / "mem0.pool") + ",size=1G,share=on",
            "-device",
            "pxb-cxl,bus_nr=12,bus=pcie.0,id=cxl.1",
            "-device",
            "cxl-rp,port=0,bus=cxl.1,id=rp0,chassis=0,slot=2",
            "-device",
            "cxl-type3,bus=rp0,volatile-dc-memdev=pool0,num-dc-regions=1,id=cxl-mem0,sn=1",
            "-machine",
            "cxl-fmw.0.targets.0=cxl.1,cxl-fmw.0.size=4G",
            "-qmp",
            "unix:" + (folder / "qmp.sock") + ",server=on,wait=off"};
}

using enum Presence;
using Presences = std::vector<Presence>;

class RealQemu : public testing::Test {
  protected:
    void SetUp() override {
        const FabricFile file = one_host(folder_);
        qemu_ = std::make_unique<Child>(qemu_argv(folder_));
        rack_ = std::make_unique<Running>(file);
        ASSERT_TRUE(rack_->open());
        rack_->run();
        instance_ = rack_->instance_up();
        ASSERT_TRUE(instance_.starts_with(std::to_string(qemu_->pid()) + ":")) << instance_;
    }
    std::string refusal(CommandBody body) {
        const auto result = rack_->done(std::move(body));
        return result ? "done" : result.error().message;
    }

    TempDir folder_;
    std::unique_ptr<Child> qemu_;
    std::unique_ptr<Running> rack_;
    std::string instance_;
};

constexpr Range kFirst{0, 256 * MiB};
constexpr Range kSecond{512 * MiB, 64 * MiB};

TEST_F(RealQemu, TellsWhatIsOfferedAndIsNotChangedByQuestions) {
    for (int i = 0; i < 3; ++i) {
        EXPECT_EQ(rack_->ask({kFirst, kSecond, {0, 1 * GiB}}), (Presences{none, none, none}));
    }
    ASSERT_EQ(refusal(AddCapacity{h1, mem0, {kFirst, kSecond}}), "done");
    for (int i = 0; i < 3; ++i) {
        EXPECT_EQ(
            rack_->ask(
                {kFirst, kSecond, {256 * MiB, 256 * MiB}, {254 * MiB, 4 * MiB}, {0, 1 * GiB}}),
            (Presences{pending, pending, none, pending, pending}));
    }
    EXPECT_EQ(refusal(ReleaseCapacity{h1, mem0, {kFirst}}),
              "h1 mem0: QEMU refused: cannot release extent with pending DPA range");
    EXPECT_EQ(refusal(ReleaseCapacity{h1, mem0, {{256 * MiB, 2 * MiB}}}),
              "h1 mem0: QEMU refused: cannot release extent with non-existing DPA range");
    EXPECT_EQ(refusal(AddCapacity{h1, mem0, {kFirst}}),
              "h1 mem0: QEMU refused: cannot add DPA again while still pending");
    EXPECT_TRUE(rack_->warnings.empty());
}

// An offer that a stopped QEMU has not read when it is given up must not take effect after a later
// question was answered: the answer would be wrong, and the memory would go to two hosts.
TEST_F(RealQemu, ACommandGivenUpHasTakenEffectBeforeTheNextAnswerOrNever) {
    for (Bytes i = 0; i < 5; ++i) {
        const Range range{i * 64 * MiB, 64 * MiB};
        const std::size_t ups = rack_->all<HostUp>().size();
        qemu_->signal(SIGSTOP);
        EXPECT_NE(refusal(AddCapacity{h1, mem0, {range}}).find("did not answer"),
                  std::string::npos);
        qemu_->signal(SIGCONT);
        ASSERT_EQ(rack_->instance_up(ups + 1), instance_);
        const Presences first = rack_->ask({range});
        rack_->pass(std::chrono::milliseconds(300));
        EXPECT_EQ(rack_->ask({range}), first);
        std::printf("given up: %s\n",
                    first == Presences{none} ? "never took effect" : "took effect");
    }
}

TEST_F(RealQemu, ANewMachineKnowsNothingOfTheOldOnes) {
    ASSERT_EQ(refusal(AddCapacity{h1, mem0, {kFirst}}), "done");
    ASSERT_EQ(refusal(Fence{h1, instance_}), "done");
    ASSERT_TRUE(rack_->until([&] { return !rack_->all<HostDied>().empty(); }));
    EXPECT_EQ(rack_->all<HostDied>()[0].instance, instance_);
    qemu_ = std::make_unique<Child>(qemu_argv(folder_));
    EXPECT_NE(rack_->instance_up(2), instance_);
    EXPECT_EQ(rack_->ask({kFirst}), Presences{none});
}

}  // namespace
}  // namespace cxlpool

int main(int argc, char** argv) {
    testing::InitGoogleTest(&argc, argv);
    cxlpool::root = cxlpool::find_root();
    if (!cxlpool::root || !std::filesystem::exists(cxlpool::qemu_of(*cxlpool::root))) {
        std::puts("skipped: no root with QEMU; `qemu-testbed/testbed root` makes one");
        return 77;
    }
    return RUN_ALL_TESTS();
}
