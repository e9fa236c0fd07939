// SPDX-License-Identifier: Apache-2.0
// The journal discipline: nothing is told to a device or to a client before its record is durable.
#include "server/engine.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "store/memory_store.h"

namespace cxlpool {
namespace {

constexpr Bytes size = 1 * GiB;

Fabric fabric() {
    Fabric out;
    out.devices[DeviceName("mem0")] = {1, size, 2 * MiB, "pool-file-1"};
    out.hosts[HostName("h1")] = {{DeviceName("mem0")}};
    return out;
}

// Writes down what happens in which order, on its way to a real store.
class LoggingStore final : public Store {
  public:
    explicit LoggingStore(std::vector<std::string>& log) : log_(log) {}
    Result<std::vector<Record>> load() override { return inner.load(); }
    Result<void> append(const std::vector<Record>& records) override {
        auto done = inner.append(records);
        if (done) log_.push_back("append " + std::to_string(records.size()));
        return done;
    }
    MemoryStore inner;

  private:
    std::vector<std::string>& log_;
};

// Keeps the commands; the test completes them.
class RecordingBackend final : public Backend {
  public:
    explicit RecordingBackend(std::vector<std::string>& log) : log_(log) {}
    Result<Fabric> open() override { return fabric(); }
    void expect(const HostName&, const std::string&) override {}
    void run(Sink) override {}
    void start_command(const Command& command) override {
        log_.push_back("command");
        commands.push_back(command);
    }
    std::vector<Command> commands;

  private:
    std::vector<std::string>& log_;
};

struct EngineTest : testing::Test {
    std::vector<std::string> log;
    LoggingStore store{log};
    RecordingBackend backend{log};
    Pause pause;
    Millis time = 0;
    Engine engine{Manager(fabric(), Limits{}), store, backend,
                  [this] {
                      return Now{time, time * 1000};
                  },
                  pause};

    // A life of fmd with its one host ready.
    Result<void> start() {
        if (const auto replayed = engine.replay(); !replayed) return replayed;
        if (const auto started = engine.start(); !started) return started;
        HostReport report;
        report.host = HostName("h1");
        report.boot = "boot-1";
        report.driver = "driver-1";
        report.seq = 1;
        report.memory_block = 128 * MiB;
        report.driver_state = "ready";
        report.online_policy = "offline";
        report.devices = {{1, 0, size, 4 * GiB, {}}};
        engine.observe(HostUp{HostName("h1"), "machine-1"});
        engine.observe(report);
        return run();
    }

    Result<void> run() {
        while (engine.has_work())
            if (const auto done = engine.run_batch(); !done) return done;
        return {};
    }

    CreateGrant small_grant() {
        CreateGrant create;
        create.hosts = {HostName("h1")};
        create.size = 2 * MiB;
        create.use = Use::dax;
        return create;
    }
};

TEST_F(EngineTest, ReplyComesAfterItsRecordAndOnce) {
    ASSERT_TRUE(start().has_value());
    log.clear();
    engine.submit(small_grant(), [&](const Result<ReplyBody>& reply) {
        ASSERT_TRUE(reply.has_value()) << reply.error().message;
        log.push_back("reply");
    });
    EXPECT_TRUE(log.empty()) << "nothing happens before the batch";
    ASSERT_TRUE(run().has_value());
    const auto reply = std::ranges::find(log, "reply");
    ASSERT_NE(reply, log.end());
    ASSERT_NE(reply, log.begin());
    EXPECT_TRUE(log.front().starts_with("append")) << log.front();
    EXPECT_EQ(std::ranges::count(log, "reply"), 1);
}

TEST_F(EngineTest, InputsReadyTogetherShareOneCommit) {
    ASSERT_TRUE(start().has_value());
    log.clear();
    int replies = 0;
    for (int i = 0; i < 20; ++i)
        engine.submit(small_grant(), [&](const Result<ReplyBody>& r) { replies += r.has_value(); });
    ASSERT_TRUE(engine.run_batch().has_value());
    EXPECT_EQ(replies, 20);
    EXPECT_EQ(std::ranges::count_if(log, [](const auto& l) { return l.starts_with("append"); }), 1);
}

TEST_F(EngineTest, FailedAppendAcknowledgesNothing) {
    ASSERT_TRUE(start().has_value());
    ASSERT_TRUE(run().has_value());
    log.clear();
    store.inner.fail_next("the disk is full");
    bool replied = false;
    engine.submit(small_grant(), [&](const Result<ReplyBody>&) { replied = true; });
    const auto outcome = engine.run_batch();
    ASSERT_FALSE(outcome.has_value());
    EXPECT_NE(outcome.error().message.find("the disk is full"), std::string::npos);
    EXPECT_FALSE(replied);
    EXPECT_TRUE(log.empty()) << log.front();
}

TEST_F(EngineTest, RestartFindsWhatWasAcknowledged) {
    ASSERT_TRUE(start().has_value());
    std::string name;
    engine.submit(small_grant(), [&](const Result<ReplyBody>& reply) {
        name = std::get<GrantView>(*reply).name.text;
    });
    ASSERT_TRUE(run().has_value());
    ASSERT_EQ(name, "g1");
    Engine next(
        Manager(fabric(), Limits{}), store, backend, [] { return Now{}; }, pause);
    ASSERT_TRUE(next.replay().has_value());
    ASSERT_TRUE(next.start().has_value());
    EXPECT_TRUE(next.manager().grant_view(GrantName("g1")).has_value());
    const auto events = next.events().since(0, 1000);
    EXPECT_TRUE(std::ranges::any_of(events, [](const auto& e) {
        return e.kind == "grant-created" && e.grant == "g1" && !e.text.empty();
    }));
}

TEST_F(EngineTest, WorkIsAnnouncedWhenTheQueueFills) {
    ASSERT_TRUE(start().has_value());
    ASSERT_TRUE(run().has_value());
    int woken = 0;
    engine.on_work([&] { ++woken; });
    engine.observe(Tick{});
    engine.observe(Tick{});
    EXPECT_EQ(woken, 1);
}

}  // namespace
}  // namespace cxlpool
