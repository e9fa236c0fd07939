// SPDX-License-Identifier: Apache-2.0
// The simulated rack, driven by hand: this test plays the manager.
#include "backend/sim/world.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "backend/sim/backend.h"
#include "hosts.h"

namespace cxlpool::sim {
namespace {

const DeviceName mem0{"mem0"};
const Range low{0, 256 * MiB};

class Rack : public ::testing::Test {
  protected:
    explicit Rack(RackConfig config = default_rack()) : world(std::move(config)) {
        world.desired = [this](const HostName& who) { return wanted[who]; };
        world.manager_found();
        run(20);
    }

    void run(Millis length) {
        const Millis end = world.now() + length;
        while (world.now() < end) {
            world.notice_desired();
            for (const Input& input : world.advance(std::min(end, world.now() + 1)))
                heard.push_back(input);
        }
    }

    std::uint64_t start(CommandBody body) {
        world.start_command({OpId{++last_op}, std::move(body)});
        return last_op;
    }

    const Completion* completion(std::uint64_t op) const {
        const Completion* found = nullptr;
        for (const Input& input : heard) {
            const auto* one = std::get_if<Completion>(&input);
            if (one != nullptr && one->op.value == op) found = one;
        }
        return found;
    }

    Presence ask(const HostName& who, Range range) {
        const auto op = start(AskPresence{who, mem0, {range}});
        run(10);
        const Completion* done = completion(op);
        if (done == nullptr || !done->result) return Presence::unknown;
        return std::get<std::vector<Presence>>(*done->result).front();
    }

    const HostReport* report(const HostName& who) const {
        const HostReport* found = nullptr;
        for (const Input& input : heard) {
            const auto* one = std::get_if<HostReport>(&input);
            if (one != nullptr && one->host == who) found = one;
        }
        return found;
    }

    std::string state(const HostName& who, Range range) const {
        const HostReport* said = report(who);
        if (said == nullptr || said->devices.empty()) return "nothing";
        for (const ReportedExtent& extent : said->devices.front().extents) {
            if (extent.range == range) return extent.state;
        }
        return "nothing";
    }

    void want(const HostName& who, bool plugged) {
        Desired& list = wanted[who];
        ++list.rev;
        list.extents = {{1, low, GrantName{"g1"}, Use::ram, plugged}};
    }

    void give(const HostName& who) {
        want(who, true);
        start(AddCapacity{who, mem0, {low}});
        run(200);
        ASSERT_EQ(state(who, low), "plugged");
    }

    SimWorld world;
    std::map<HostName, Desired> wanted;
    std::vector<Input> heard;
    std::uint64_t last_op = 0;
};

TEST_F(Rack, AnIdleRackReports) {
    ASSERT_NE(report(h1), nullptr);
    EXPECT_EQ(report(h1)->driver_state, "ready");
    EXPECT_EQ(report(h1)->memory_block, 128 * MiB);
    EXPECT_EQ(report(h1)->devices.size(), 2u);
}

TEST_F(Rack, AddIsAcceptedAndPluggedAndComesBack) {
    give(h1);
    EXPECT_EQ(report(h1)->nodes.size(), 2u);
    EXPECT_EQ(ask(h1, low), Presence::accepted);
    EXPECT_EQ(ask(h2, low), Presence::none);
    start(ReleaseCapacity{h1, mem0, {low}});
    run(100);
    EXPECT_EQ(ask(h1, low), Presence::accepted) << "plugged memory is never given back";
    want(h1, false);
    run(200);
    EXPECT_EQ(ask(h1, low), Presence::none)
        << "the remembered request is answered once it is unplugged";
    EXPECT_EQ(report(h1)->nodes.size(), 1u);
}

TEST_F(Rack, WithoutItsUseAnExtentWaits) {
    start(AddCapacity{h1, mem0, {low}});
    run(500);
    EXPECT_EQ(state(h1, low), "accepted");
}

TEST_F(Rack, MemoryInUseRefusesTheUnplugForAWhile) {
    world.host(h1).behaviour.held = 37 * MiB;
    world.host(h1).behaviour.held_ms = 3000;
    give(h1);
    want(h1, false);
    run(1000);
    EXPECT_EQ(state(h1, low), "plugged");
    EXPECT_EQ(report(h1)->devices[0].extents[0].used, 37 * MiB);
    run(4000);
    EXPECT_EQ(state(h1, low), "accepted");
}

TEST_F(Rack, AGuestRebootKeepsWhatTheDeviceAccepted) {
    give(h1);
    const std::string boot = report(h1)->boot;
    world.host(h1).reboot(500);
    run(100);
    EXPECT_EQ(ask(h1, low), Presence::accepted);
    run(1000);
    EXPECT_NE(report(h1)->boot, boot);
    EXPECT_EQ(state(h1, low), "plugged");
}

TEST_F(Rack, APowerCycleForgetsEverythingAndIsANewInstance) {
    give(h1);
    world.host(h1).scribble();
    const std::string instance = world.host(h1).instance();
    world.kill(h1);
    run(10);
    EXPECT_TRUE(std::ranges::any_of(heard, [&](const Input& input) {
        const auto* died = std::get_if<HostDied>(&input);
        return died != nullptr && died->instance == instance;
    }));
    EXPECT_EQ(ask(h1, low), Presence::unknown) << "a dead machine answers nothing";
    world.start(h1);
    run(4000);
    EXPECT_NE(world.host(h1).instance(), instance);
    EXPECT_EQ(ask(h1, low), Presence::none);
    EXPECT_NE(world.devices().at(mem0)->mark(0), kZeros) << "the bytes are still there";
    start(Scrub{{mem0, low}});
    run(200);
    EXPECT_EQ(world.devices().at(mem0)->mark(0), kZeros);
}

TEST_F(Rack, AFenceKillsTheNamedInstanceOnly) {
    const std::string instance = world.host(h1).instance();
    start(Fence{h1, "some other"});
    run(10);
    EXPECT_TRUE(world.host(h1).powered());
    start(Fence{h1, instance});
    run(10);
    EXPECT_FALSE(world.host(h1).powered());
}

TEST_F(Rack, ASilentHostDoesNothingItIsAskedAndKeepsAccepting) {
    world.host(h1).behaviour.silent = true;
    want(h1, true);
    start(AddCapacity{h1, mem0, {low}});
    run(3000);
    EXPECT_EQ(ask(h1, low), Presence::accepted);
    EXPECT_EQ(state(h1, low), "nothing");
}

TEST_F(Rack, AHungGuestAnswersLate) {
    world.host(h1).behaviour.hung = true;
    start(AddCapacity{h1, mem0, {low}});
    run(60'000);
    EXPECT_EQ(ask(h1, low), Presence::pending);
    world.host(h1).behaviour.hung = false;
    world.host(h1).kick();
    run(10);
    EXPECT_EQ(ask(h1, low), Presence::accepted);
}

TEST_F(Rack, ALiarSaysItIsUnplugged) {
    give(h1);
    world.host(h1).behaviour.lie = Lie::claims_unplugged;
    world.host(h1).kick();
    run(50);
    EXPECT_EQ(state(h1, low), "accepted");
    EXPECT_EQ(world.host(h1).extents().begin()->second.state, SimHost::State::plugged);
}

TEST_F(Rack, UnloadingTheDriverIsRefusedWhilePluggedAndElseGivesBack) {
    give(h1);
    EXPECT_FALSE(world.host(h1).unload_driver());
    want(h1, false);
    run(100);
    EXPECT_TRUE(world.host(h1).unload_driver());
    EXPECT_EQ(ask(h1, low), Presence::none);
}

TEST_F(Rack, CommandsToOneHostKeepTheirOrderAcrossALifeOfTheManager) {
    world.faults.command_slow = 1000;
    start(AddCapacity{h1, mem0, {low}});
    world.manager_lost();
    world.manager_found();
    world.faults = {};
    const auto op = start(AskPresence{h1, mem0, {low}});
    run(20'000);
    ASSERT_NE(completion(op), nullptr);
    const Presence now = world.devices().at(mem0)->presence(h1, low);
    const Presence said = std::get<std::vector<Presence>>(*completion(op)->result).front();
    EXPECT_EQ(said == Presence::none, now == Presence::none)
        << "nothing of the old life comes after";
    EXPECT_EQ(completion(1), nullptr) << "completions of an earlier life never arrive";
}

TEST_F(Rack, LostRefusedAndHalfTrueCommands) {
    world.faults.command_lost = 1000;
    auto op = start(AddCapacity{h1, mem0, {low}});
    run(100);
    EXPECT_EQ(completion(op), nullptr);
    world.faults = {};
    world.faults.command_refused = 1000;
    op = start(AddCapacity{h1, mem0, {low}});
    run(100);
    EXPECT_FALSE(completion(op)->result);
    world.faults = {};
    EXPECT_EQ(ask(h1, low), Presence::none);
    world.faults.failed_with_effect = 1000;
    op = start(AddCapacity{h1, mem0, {low}});
    run(100);
    EXPECT_FALSE(completion(op)->result);
    world.faults = {};
    EXPECT_EQ(ask(h1, low), Presence::accepted);
}

TEST(SimBackend, DrivesARackThroughTheBackendInterface) {
    SimBackend backend;
    ASSERT_EQ(backend.open()->hosts.size(), 3u);
    std::vector<Input> heard;
    backend.set_desired([](const HostName&) { return Desired{}; });
    backend.run([&](Input input) { heard.push_back(std::move(input)); });
    backend.start_command({OpId{1}, AddCapacity{h1, mem0, {low}}});
    EXPECT_TRUE(heard.empty()) << "never from inside start_command";
    backend.advance(50);
    EXPECT_TRUE(std::ranges::any_of(
        heard, [](const Input& input) { return std::holds_alternative<Completion>(input); }));
}

TEST(SimBackend, AnotherProcessFindsOtherMachines) {
    SimBackend one, two;
    EXPECT_NE(one.world().host(h1).instance(), two.world().host(h1).instance());
}

}  // namespace
}  // namespace cxlpool::sim
