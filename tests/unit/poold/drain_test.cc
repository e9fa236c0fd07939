// SPDX-License-Identifier: Apache-2.0
// Emptying an extent, on a recorded tree: its own memory blocks only, only with room elsewhere,
// always to be interrupted. A FIFO in place of a block's state blocks as a page does that cannot be
// moved.
#include "poold/drain.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "fake_tree.h"
#include "poold/blocks.h"
#include "poold/fd.h"
#include "soon.h"

namespace poold {
namespace {

using namespace std::chrono_literals;

constexpr uint64_t page = 4096;
constexpr uint64_t anon_mapped = (1 << 12) | (1 << 11) | (1 << 5);
constexpr uint64_t file_unmapped = (1 << 5) | (1 << 3);

struct Machine {
    FakeTree fake;
    Key key{1, 0, 256 * mib};

    Machine() {
        fake.add_host();
        fake.add_pooled("0000:0d:00.0", "0 268435456 plugged plugged ram dax0.0 1 -\n");
        fake.add_dax("dax0.0", 0, 256 * mib, "online");
        fake.add_dax("dax1.0", 256 * mib, 128 * mib, "online");  // a neighbour
        flags(0, 0, 0);
    }

    // `count` pages from `offset` of the extent on, with these kpageflags; the file covers it all.
    void flags(uint64_t offset, uint64_t count, uint64_t value) {
        std::string path = fake.root() + "/proc/kpageflags";
        Fd file(open(path.c_str(), O_RDWR | O_CREAT, 0600));
        std::vector<uint64_t> values(count, value);
        auto at = static_cast<off_t>((FakeTree::window + offset) / page * 8);
        ASSERT_EQ(pwrite(file.get(), values.data(), count * 8, at),
                  static_cast<ssize_t>(count * 8));
        ASSERT_EQ(
            ftruncate(file.get(), static_cast<off_t>((FakeTree::window + 512 * mib) / page * 8)),
            0);
    }
    std::string block(uint64_t number) const {
        return fake.tree().read_or_empty(block_state_path(number));
    }
    void make_stuck(uint64_t number) {
        std::string path =
            fake.root() + "/sys/devices/system/memory/memory" + std::to_string(number) + "/state";
        std::filesystem::remove(path);
        ASSERT_EQ(mkfifo(path.c_str(), 0600), 0);
    }
    Blocks blocks() {
        Seen seen = look(fake.tree());
        return read_blocks(fake.tree(), seen.host, seen.devices[0], seen.devices[0].extents[0]);
    }
    Empty empty() { return Empty{key, "g1", 1, blocks()}; }
    Note note(const Drainer& drainer) {
        auto notes = drainer.notes();
        return notes.contains(key) ? notes[key] : Note{};
    }
};

DrainLimits quick() {
    DrainLimits limits;
    limits.stall = 200ms;
    limits.look = 20ms;
    limits.retry_first = 50ms;
    limits.retry_last = 100ms;
    return limits;
}

Drainer make_drainer(Machine& world) {
    return Drainer(
        world.fake.tree(), quick(), [](const std::string&) {}, [] {});
}

TEST(Blocks, AreThoseOfTheExtentAndNoOthers) {
    Machine world;
    Blocks blocks = world.blocks();
    EXPECT_EQ(blocks.problem, "");
    EXPECT_EQ(blocks.online, (std::vector<uint64_t>{34, 35}));
    EXPECT_TRUE(blocks.offline.empty());
    world.fake.set("/sys/devices/system/memory/memory34/state", "offline\n");
    EXPECT_EQ(world.blocks().offline, std::vector<uint64_t>{34});
}

TEST(Blocks, AnyDoubtStopsIt) {
    auto problem_after = [](const std::function<void(FakeTree&)>& damage) {
        Machine world;
        damage(world.fake);
        Blocks blocks = world.blocks();
        EXPECT_TRUE(blocks.online.empty() && blocks.offline.empty());
        return blocks.problem;
    };
    const std::string dax = "/sys/bus/dax/devices/dax0.0";
    EXPECT_NE(problem_after([&](FakeTree& f) { f.set(dax + "/resource", "0x100000000\n"); }), "");
    EXPECT_NE(problem_after([&](FakeTree& f) { f.set(dax + "/size", "134217728\n"); }), "");
    EXPECT_NE(problem_after([&](FakeTree& f) { f.set(dax + "/resource", "here\n"); }), "");
    EXPECT_NE(problem_after([&](FakeTree& f) { f.remove(dax); }), "");
    EXPECT_NE(problem_after([](FakeTree& f) {
                  f.set("/sys/devices/system/memory/block_size_bytes", "80000000\n");
              }),
              "");
}

TEST(Usage, CountsWhatHoldsSomething) {
    Machine world;
    world.flags(0, 100, anon_mapped);
    world.flags(1 * mib, 50, file_unmapped);
    world.flags(2 * mib, 70, 1 << 10);        // free
    world.flags(3 * mib, 70, 1 << 20);        // no page
    world.flags(4 * mib, 70, 1ull << 32);     // reserved for the kernel's own books
    world.flags(256 * mib, 30, anon_mapped);  // the neighbour's
    auto usage = read_usage(world.fake.tree(), {FakeTree::window, 256 * mib});
    ASSERT_TRUE(usage);
    EXPECT_EQ(usage->used, 150 * page);
    EXPECT_EQ(usage->unmapped, 50 * page);
}

TEST(Usage, HoldersAreThoseWithPagesInTheRange) {
    Machine world;
    auto process = [&](int pid, const std::string& comm, const std::string& numa,
                       uint64_t address) {
        const std::string folder = "/proc/" + std::to_string(pid);
        world.fake.set(folder + "/comm", comm + "\n");
        world.fake.set(folder + "/maps",
                       "00400000-00404000 rw-p 00000000 00:00 0\n"
                       "00800000-00802000 rw-p 00000000 00:00 0\n");
        world.fake.set(folder + "/numa_maps", numa);
        std::vector<uint64_t> entries((0x800000 >> 12) + 2);
        for (uint64_t i = 0; i < 4; ++i) {
            entries[(0x400000 >> 12) + i] = (1ull << 63) | (address / page + i);
        }
        world.fake.set(folder + "/pagemap",
                       std::string(reinterpret_cast<char*>(entries.data()), entries.size() * 8));
    };
    process(812, "python3", "00400000 default anon=4 N1=4\n00800000 default\n", FakeTree::window);
    process(813, "elsewhere", "00400000 default anon=4 N0=4\n", FakeTree::window);
    process(814, "neighbour", "00400000 default anon=4 N1=4\n", FakeTree::window + 256 * mib);
    process(815, "edge", "00400000 default anon=4 N1=4\n", FakeTree::window + 256 * mib - 2 * page);
    auto holders =
        find_holders(world.fake.tree(), {FakeTree::window, 256 * mib}, 1, [] { return false; });
    EXPECT_EQ(holders, (std::vector<Holder>{{812, "python3", 4 * page}, {815, "edge", 2 * page}}));
}

TEST(Usage, TheSentenceOfTheContract) {
    Held held{37 * mib, {{812, "python3", 31 * mib}}, 6 * mib};
    EXPECT_EQ(describe(held, 256 * mib),
              "37 of 256 MiB held: pid 812 python3 31 MiB, kernel 6 MiB");
    EXPECT_EQ(describe(Held{4096, {}, 0}, 256 * mib), "4 KiB of 256 MiB held");
}

TEST(Room, IsWhatTheOtherNodesCanTake) {
    libpool::Node near, leaving, far;
    near.id = 0;
    near.free_bytes = 100 * mib;
    near.watermark_bytes = 10 * mib;
    near.reclaimable_bytes = 5 * mib;
    leaving.id = 1;
    leaving.free_bytes = 1000 * mib;
    far.id = 2;
    far.free_bytes = 5 * mib;
    far.watermark_bytes = 50 * mib;
    Room room = room_for(90 * mib, {near, leaving, far}, {1});
    EXPECT_EQ(room.available, 95 * mib);
    EXPECT_EQ(room.needed, 90 * mib + 90 * mib / 20);
    EXPECT_TRUE(room.enough());
    EXPECT_FALSE(room_for(91 * mib, {near, leaving, far}, {1}).enough());
}

TEST(Drain, TakesItsOwnBlocksOfflineAndNoOthers) {
    Machine world;
    world.flags(0, 1000, anon_mapped);
    Drainer drainer = make_drainer(world);
    drainer.set({world.empty()});
    ASSERT_TRUE(soon([&] { return world.block(34) == "offline" && world.block(35) == "offline"; }));
    EXPECT_EQ(world.block(36), "online");
    EXPECT_TRUE(soon([&] { return world.note(drainer).error.empty(); }));
}

TEST(Drain, WithoutRoomElsewhereNothingIsMovedAndTheFiguresAreSaid) {
    Machine world;
    world.flags(0, 64 * mib / page, anon_mapped);
    world.fake.set_node(0, "0-1", 2000 << 10, 40 << 10);
    Drainer drainer = make_drainer(world);
    drainer.set({world.empty()});
    ASSERT_TRUE(soon([&] { return !world.note(drainer).error.empty(); }));
    EXPECT_EQ(world.note(drainer).error,
              "64 MiB in use here need 67.2 MiB elsewhere (5 % to spare) and the other nodes have "
              "36.1 MiB free or reclaimable: nothing is moved; free some memory on this host");
    EXPECT_EQ(world.note(drainer).held->used, 64 * mib);
    EXPECT_EQ(world.block(34), "online");
    // It goes on by itself once there is room.
    world.fake.set_node(0, "0-1", 2000 << 10, 400 << 10);
    EXPECT_TRUE(soon([&] { return world.block(35) == "offline"; }));
}

TEST(Drain, APageThatDoesNotMoveEndsTheTryAndNamesWhoHoldsIt) {
    Machine world;
    world.flags(128 * mib, 31 * mib / page, anon_mapped);
    world.flags(200 * mib, 6 * mib / page, file_unmapped);
    world.make_stuck(35);
    Drainer drainer = make_drainer(world);
    drainer.set({world.empty()});
    ASSERT_TRUE(soon([&] { return !world.note(drainer).error.empty(); }));
    EXPECT_EQ(world.note(drainer).error,
              "37 of 256 MiB held: kernel 6 MiB; no page of memory35 has left for 0 s");
    EXPECT_EQ(world.note(drainer).held->used, 37 * mib);
    EXPECT_EQ(world.block(34), "offline");  // stays so while the release is wanted
}

TEST(Drain, RoomThatRunsOutHalfWayStopsIt) {
    Machine world;
    world.flags(0, 64 * mib / page, anon_mapped);
    world.make_stuck(34);
    DrainLimits limits = quick();
    limits.stall = 60s;
    Drainer drainer(
        world.fake.tree(), limits, [](const std::string&) {}, [] {});
    drainer.set({world.empty()});
    ASSERT_TRUE(soon([&] { return world.note(drainer).held.has_value(); }));
    world.fake.set_node(0, "0-1", 2000 << 10, 10 << 10);
    EXPECT_TRUE(soon([&] {
        return world.note(drainer).error.find("stopped: the other nodes have only 6.1 MiB left") !=
               std::string::npos;
    }));
}

TEST(Drain, AReleaseThatIsCalledOffIsGivenUpAndRefilled) {
    Machine world;
    world.make_stuck(35);
    world.flags(128 * mib, 100, anon_mapped);
    DrainLimits limits = quick();
    limits.stall = 60s;
    Drainer drainer(
        world.fake.tree(), limits, [](const std::string&) {}, [] {});
    drainer.set({world.empty()});
    ASSERT_TRUE(soon([&] { return world.block(34) == "offline"; }));
    std::this_thread::sleep_for(50ms);  // it is in the write to memory35 now
    Blocks blocks{FakeTree::window, 256 * mib, 128 * mib, {35}, {34}, ""};
    drainer.set({Refill{world.key, blocks}});
    EXPECT_TRUE(soon([&] { return world.block(34) == "online_movable"; }));
}

TEST(Drain, TheEndOfTheAgentInterruptsItAndLeavesMemoryAsItIs) {
    Machine world;
    world.make_stuck(34);
    world.flags(0, 100, anon_mapped);
    DrainLimits limits = quick();
    limits.stall = 60s;
    auto started = std::chrono::steady_clock::now();
    {
        Drainer drainer(
            world.fake.tree(), limits, [](const std::string&) {}, [] {});
        drainer.set({world.empty()});
        ASSERT_TRUE(soon([&] { return world.note(drainer).held.has_value(); }));
        std::this_thread::sleep_for(50ms);
    }
    EXPECT_LT(std::chrono::steady_clock::now() - started, 5s);
    EXPECT_EQ(world.block(35), "online");
}

}  // namespace
}  // namespace poold
