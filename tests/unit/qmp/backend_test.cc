// SPDX-License-Identifier: Apache-2.0
// The backend before a stand-in for QEMU that is a process of its own (fake_qemu.cc).
#include "backend/qmp/backend.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>
#include <cstring>

#include "harness.h"

namespace cxlpool {
namespace {

using enum Presence;
using Presences = std::vector<Presence>;

class Qmp : public testing::Test {
  protected:
    void SetUp() override {
        boot();
        const auto fabric = rack_->open();
        ASSERT_TRUE(fabric) << fabric.error().message;
        rack_->run();
        instance_ = rack_->instance_up();
    }

    // A new machine for the host.
    void boot() {
        qemu_ = std::make_unique<Child>(std::vector<std::string>{FAKE_QEMU, folder_ / "qmp.sock"});
        ASSERT_EQ(qemu_->hear(), "ok");
    }
    void tell(const std::string& line) { ASSERT_EQ(qemu_->tell(line), "ok") << line; }
    std::string refusal(CommandBody body) {
        const auto result = rack_->done(std::move(body));
        return result ? "done" : result.error().message;
    }
    std::size_t ups() const { return rack_->all<HostUp>().size(); }
    std::size_t completions() const { return rack_->all<Completion>().size(); }
    bool becomes_unreachable(const std::string& why) {
        return rack_->until([&] {
            for (const auto& lost : rack_->all<HostUnreachable>()) {
                if (lost.why.find(why) != std::string::npos) return true;
            }
            return false;
        });
    }

    TempDir folder_;
    std::unique_ptr<Child> qemu_;
    std::unique_ptr<Running> rack_ = std::make_unique<Running>(one_host(folder_));
    std::string instance_;
};

constexpr Range kFirst{0, 256 * MiB};
constexpr Range kSecond{512 * MiB, 64 * MiB};

TEST_F(Qmp, KnowsTheProcessBehindTheSocket) {
    EXPECT_TRUE(instance_.starts_with(std::to_string(qemu_->pid()) + ":")) << instance_;
}

TEST_F(Qmp, AnExtentIsOfferedAskedForAndTakenBack) {
    EXPECT_EQ(rack_->ask({kFirst, kSecond}), (Presences{none, none}));
    ASSERT_EQ(refusal(AddCapacity{h1, mem0, {kFirst, kSecond}}), "done");
    EXPECT_EQ(rack_->ask({kSecond, {900 * MiB, 2 * MiB}, kFirst}),
              (Presences{pending, none, pending}));
    // Nothing that is only offered can be withdrawn.
    EXPECT_EQ(refusal(ReleaseCapacity{h1, mem0, {kFirst}}),
              "h1 mem0: QEMU refused: cannot release extent with pending DPA range");
    tell("accept");
    EXPECT_EQ(rack_->ask({kFirst, kSecond}), (Presences{accepted, accepted}));
    ASSERT_EQ(refusal(ReleaseCapacity{h1, mem0, {kFirst, kSecond}}), "done");
    EXPECT_EQ(rack_->ask({kFirst, kSecond}), (Presences{accepted, accepted}));  // only asked for it
    tell("giveback 0 268435456");
    EXPECT_EQ(rack_->ask({kFirst, kSecond}), (Presences{none, accepted}));
    EXPECT_EQ(refusal(AddCapacity{h1, mem0, {kSecond}}),
              "h1 mem0: QEMU refused: cannot add DPA already accessible to the same LD");
    EXPECT_EQ(rack_->warnings, std::vector<std::string>{});
}

TEST_F(Qmp, APartOfARangeCountsForTheWhole) {
    ASSERT_EQ(refusal(AddCapacity{h1, mem0, {{64 * MiB, 2 * MiB}}}), "done");
    tell("accept");
    ASSERT_EQ(refusal(AddCapacity{h1, mem0, {{0, 2 * MiB}}}), "done");
    // Pending in front of accepted: it is accepted that counts.
    EXPECT_EQ(rack_->ask({kFirst, {0, 64 * MiB}, {2 * MiB, 62 * MiB}}),
              (Presences{accepted, pending, none}));
}

TEST_F(Qmp, AQuestionChangesNothing) {
    for (int i = 0; i < 3; ++i) EXPECT_EQ(rack_->ask({kFirst}), Presences{none});
    EXPECT_EQ(rack_->ask({}), Presences{});
    EXPECT_EQ(qemu_->tell("count"), "3");
}

TEST_F(Qmp, WhatQemuWouldHalfDoIsNeverSent) {
    std::vector<Range> nine;
    for (Bytes i = 0; i < 9; ++i) nine.push_back({i * 2 * MiB, 2 * MiB});
    EXPECT_EQ(refusal(AddCapacity{h1, mem0, {}}), "a group has 1 to 8 extents, this one 0");
    EXPECT_EQ(refusal(AddCapacity{h1, mem0, nine}), "a group has 1 to 8 extents, this one 9");
    EXPECT_EQ(refusal(ReleaseCapacity{h1, mem0, {}}), "a group has 1 to 8 extents, this one 0");
    for (const std::vector<Range>& bad :
         std::vector<std::vector<Range>>{{{1 * MiB, 2 * MiB}},
                                         {{0, 1 * MiB}},
                                         {{0, 0}},
                                         {{1022 * MiB, 4 * MiB}},
                                         {{~Bytes{0} - 2 * MiB + 1, 4 * MiB}},
                                         {{0, 4 * MiB}, {2 * MiB, 2 * MiB}}}) {
        EXPECT_NE(refusal(AddCapacity{h1, mem0, bad}).find("does not fit"), std::string::npos);
    }
    EXPECT_EQ(refusal(AddCapacity{HostName("h9"), mem0, {kFirst}}),
              "host h9 is not in the fabric file");
    EXPECT_EQ(refusal(AskPresence{h1, DeviceName("mem9"), {kFirst}}),
              "h1 has no device mem9 by the fabric file");
    EXPECT_EQ(qemu_->tell("count"), "0");
}

TEST_F(Qmp, AnAnswerThatTellsNothingIsAnError) {
    EXPECT_EQ(
        refusal(AskPresence{h1, mem0, {kFirst, {1024 * MiB, 2 * MiB}}}),
        "h1 mem0[1G-1026M]: QEMU does not tell its state: extent range is beyond the region end");
}

TEST_F(Qmp, AQueryThatIsCarriedOutIsReportedLoudly) {
    tell("lax");
    EXPECT_EQ(rack_->ask({kFirst}), Presences{pending});
    ASSERT_EQ(rack_->warnings.size(), 1u);
    EXPECT_NE(rack_->warnings[0].find("h1 mem0[0-256M]: QEMU carried out the query"),
              std::string::npos);
}

TEST_F(Qmp, ALostConnectionEndsEachCommandOnce) {
    tell("drop");
    const std::size_t before = completions();
    rack_->start(AddCapacity{h1, mem0, {kFirst}});
    rack_->start(AskPresence{h1, mem0, {kFirst, kSecond}});
    ASSERT_TRUE(rack_->until([&] { return completions() == before + 2; }));
    for (const auto& completion : rack_->all<Completion>()) {
        ASSERT_FALSE(completion.result);
        EXPECT_NE(completion.result.error().message.find("was closed by QEMU"), std::string::npos)
            << completion.result.error().message;
    }
    EXPECT_TRUE(becomes_unreachable("was closed by QEMU"));
    // It is the same machine that is up again, and what the lost command did is seen by asking.
    EXPECT_EQ(rack_->instance_up(2), instance_);
    EXPECT_EQ(rack_->ask({kFirst}), Presences{pending});
    rack_->pass(std::chrono::milliseconds(100));
    EXPECT_EQ(completions(), before + 3);
    EXPECT_TRUE(rack_->all<HostDied>().empty());  // a closed connection is no death
}

TEST_F(Qmp, AnAnswerThatDoesNotComeIsWaitedForOnlySoLong) {
    tell("mute");
    EXPECT_NE(refusal(AddCapacity{h1, mem0, {kFirst}})
                  .find("did not answer cxl-add-dynamic-capacity in "
                        "time (is the machine stopped?)"),
              std::string::npos);
    EXPECT_EQ(rack_->instance_up(2), instance_);
    EXPECT_EQ(rack_->ask({kFirst}), Presences{pending});
}

TEST_F(Qmp, WhileThereIsNoConnectionCommandsFailAtOnce) {
    qemu_->kill_and_reap();
    ASSERT_TRUE(rack_->until([&] { return !rack_->all<HostDied>().empty(); }));
    ASSERT_TRUE(becomes_unreachable("Connection refused"));
    EXPECT_NE(refusal(AskPresence{h1, mem0, {kFirst}}).find("no connection to QEMU"),
              std::string::npos);
}

TEST_F(Qmp, RubbishEndsTheConnectionNotTheBackend) {
    std::size_t up = 1;
    const auto survives = [&](const std::string& line, const std::string& why) {
        tell(line);
        EXPECT_TRUE(becomes_unreachable(why)) << why;
        EXPECT_EQ(rack_->instance_up(++up), instance_) << why;
        EXPECT_EQ(rack_->ask({kFirst}), Presences{none});
    };
    survives("say {\"return\"", "sent a line that is not a QMP message");
    survives("say [1,2]", "sent a line that is not a QMP message");
    survives("say {\"odd\": 1}", "neither answer nor event");
    survives("say {\"error\": \"x\"}", "neither answer nor event");
    survives("say {\"return\": {}, \"id\": 12345}", "answered what was not asked");
    survives("flood 200000", "sent a line of more than 65536 bytes");
    // Events are not rubbish.
    tell(
        R"(say {"event": "RESET", "data": {"guest": true}, "timestamp": {"seconds": 1, "microseconds": 0}})");
    EXPECT_EQ(rack_->ask({kFirst}), Presences{none});
    EXPECT_EQ(ups(), up);
}

TEST_F(Qmp, AResetIsTold) {
    rack_->instance_up();
    qemu_->tell(R"(say {"event": "RTC_CHANGE", "data": {}})");
    qemu_->tell(R"(say {"event": "RESET", "data": {"guest": true, "reason": "guest-reset"}})");
    ASSERT_TRUE(rack_->until([&] { return !rack_->all<HostReset>().empty(); }));
    EXPECT_EQ(rack_->all<HostReset>().size(), 1u);
    EXPECT_EQ(rack_->all<HostReset>().front().host, h1);
}

TEST_F(Qmp, AFenceEndsExactlyThatMachine) {
    ASSERT_EQ(refusal(AddCapacity{h1, mem0, {kFirst}}), "done");
    ASSERT_EQ(refusal(Fence{h1, instance_}), "done");
    ASSERT_TRUE(rack_->until([&] { return !rack_->all<HostDied>().empty(); }));
    EXPECT_EQ(rack_->all<HostDied>()[0].instance, instance_);
    EXPECT_TRUE(qemu_->is_dead());
    boot();
    const std::string next = rack_->instance_up(2);
    EXPECT_NE(next, instance_);
    EXPECT_EQ(rack_->ask({kFirst}), Presences{none});  // a new machine has forgotten all
    // Asked again, late: the machine that is there now is not meant.
    ASSERT_EQ(refusal(Fence{h1, instance_}), "done");
    rack_->pass(std::chrono::milliseconds(100));
    EXPECT_FALSE(qemu_->is_dead());
    EXPECT_EQ(rack_->all<HostDied>().back().instance, instance_);
}

TEST_F(Qmp, AStoppedMachineIsUnreachableNotDead) {
    qemu_->signal(SIGSTOP);
    EXPECT_NE(refusal(AskPresence{h1, mem0, {kFirst}}).find("is the machine stopped?"),
              std::string::npos);
    EXPECT_TRUE(becomes_unreachable("does not greet"));
    EXPECT_TRUE(rack_->all<HostDied>().empty());
    qemu_->signal(SIGCONT);
    EXPECT_EQ(rack_->instance_up(2), instance_);
    EXPECT_EQ(rack_->ask({kFirst}), Presences{none});
}

TEST_F(Qmp, AnotherLifeOfFmdHearsOfTheOldMachine) {
    rack_ = std::make_unique<Running>(one_host(folder_));
    qemu_->kill_and_reap();
    boot();
    Child other({"/bin/sleep", "1000"});
    const std::string alive = process_of(other.pid())->instance;
    ASSERT_TRUE(rack_->open());
    rack_->backend->expect(h1, instance_);
    rack_->backend->expect(h1, alive);
    rack_->backend->expect(h1, "sim-h1-1");
    rack_->run();
    EXPECT_NE(rack_->instance_up(), instance_);
    ASSERT_TRUE(rack_->until([&] { return rack_->all<HostDied>().size() == 1; }));
    EXPECT_EQ(rack_->all<HostDied>()[0].instance, instance_);
    ASSERT_EQ(rack_->warnings.size(), 1u);
    EXPECT_NE(rack_->warnings[0].find("(sim-h1-1) cannot be watched"), std::string::npos);
    other.signal(SIGKILL);
    ASSERT_TRUE(rack_->until([&] { return rack_->all<HostDied>().size() == 2; }));
    EXPECT_EQ(rack_->all<HostDied>()[1].instance, alive);
}

TEST_F(Qmp, ScrubsThePoolFile) {
    const int fd = ::open((folder_ / "mem0.pool").c_str(), O_RDWR | O_CLOEXEC);
    const std::string old(4 * MiB, 'x');
    ASSERT_EQ(::pwrite(fd, old.data(), old.size(), 0), static_cast<ssize_t>(old.size()));
    const auto result = rack_->done(Scrub{{mem0, {0, 2 * MiB}}});
    ASSERT_TRUE(result) << result.error().message;
    EXPECT_EQ(std::get<ScrubReceipt>(*result).bytes_read, 2 * MiB);
    std::string now(4 * MiB, '\0');
    ASSERT_EQ(::pread(fd, now.data(), now.size(), 0), static_cast<ssize_t>(now.size()));
    EXPECT_EQ(now, std::string(2 * MiB, '\0') + std::string(2 * MiB, 'x'));
    ::close(fd);
    EXPECT_EQ(refusal(Scrub{{mem0, {1024 * MiB, 2 * MiB}}}),
              "mem0[1G-1026M]: [1G-1026M] is not inside the 1 GiB of pool file " +
                  (folder_ / "mem0.pool"));
}

TEST_F(Qmp, ASecondFmdOnThePoolIsRefused) {
    FabricFile same = one_host(folder_);
    Running second(same);
    const auto fabric = second.open();
    ASSERT_FALSE(fabric);
    EXPECT_TRUE(fabric.error().message.starts_with("mem0: pool file " + (folder_ / "mem0.pool") +
                                                   " is in use by another fmd (pid "));
    EXPECT_EQ(fabric.error().code, Code::conflict);
}

// A scrub of the whole device is under way when fmd ends: the end is waited for, and is soon.
TEST_F(Qmp, EndsInTheMiddleOfEverything) {
    rack_->start(Scrub{{mem0, {0, 1 * GiB}}});
    rack_->start(AddCapacity{h1, mem0, {kFirst}});
    rack_->start(AskPresence{h1, mem0, {kFirst}});
    rack_.reset();
}

}  // namespace
}  // namespace cxlpool
