// SPDX-License-Identifier: Apache-2.0
// What a host's word may cost, and what happens to bytes that somebody reaches past the manager:
// cases that take too many steps for a scenario file, or a start with another fabric file.
#include "core/manager.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <iterator>
#include <set>

namespace cxlpool {
namespace {

const DeviceName mem0("mem0");
const HostName h1("h1"), h2("h2");

Fabric fabric_of(std::set<HostName> hosts) {
    Fabric fabric;
    fabric.devices[mem0] = {.serial = 1, .size = GiB, .block = 2 * MiB, .identity = "pool"};
    for (const HostName& host : hosts) fabric.hosts[host].devices = {mem0};
    return fabric;
}

// A manager whose commands are carried out at once: nobody holds anything, every scrub succeeds.
class Rack {
  public:
    explicit Rack(Fabric fabric = fabric_of({h1, h2})) : manager_(std::move(fabric), Limits{}) {}

    Result<void> start() {
        for (const Record& record : journal)
            if (auto ok = manager_.replay(record); !ok) return ok;
        auto out = manager_.start(now());
        if (!out) return std::unexpected(out.error());
        take(std::move(*out));
        return {};
    }
    void step(const Input& input) { take(manager_.step(input, now())); }
    void pass(Millis ms) {
        for (Millis end = clock_ + ms; clock_ < end; clock_ += 100) step(Tick{});
    }
    void answer_all() {
        while (!waiting.empty()) {
            const Command command = waiting.front();
            waiting.erase(waiting.begin());
            step(Completion{command.op, answer(command.body)});
        }
    }
    void report(const HostName& host, std::vector<Range> extents, std::uint64_t serial = 1) {
        HostReport said;
        said.host = host;
        said.boot = host.text + "-boot";
        said.driver = "driver";
        said.seq = ++seq_;
        said.memory_block = 128 * MiB;
        said.driver_state = "ready";
        said.online_policy = "offline";
        ReportedDevice device;
        device.serial = serial;
        device.region_len = GiB;
        device.hpa = 4 * GiB;
        for (const Range& range : extents) {
            ReportedExtent extent;
            extent.serial = serial;
            extent.range = range;
            extent.state = "accepted";
            device.extents.push_back(extent);
        }
        said.devices.push_back(device);
        step(said);
    }
    template <class T>
    std::size_t count() const {
        return static_cast<std::size_t>(std::ranges::count_if(
            journal, [](const Record& record) { return std::holds_alternative<T>(record.body); }));
    }
    template <class T>
    bool waits_for() const {
        return std::ranges::any_of(waiting, [](const Command& command) {
            return std::holds_alternative<T>(command.body);
        });
    }
    const Manager& manager() const { return manager_; }

    std::vector<Record> journal;
    std::vector<Command> waiting;
    std::vector<Event> events;
    std::set<HostName> accepted;  // these answer every question with "accepted"

  private:
    Now now() const { return {clock_, clock_ * 1000}; }
    void take(Output out) {
        std::ranges::move(out.records, std::back_inserter(journal));
        std::ranges::move(out.commands, std::back_inserter(waiting));
        std::ranges::move(out.events, std::back_inserter(events));
    }
    Answer answer(const CommandBody& body) const {
        if (const auto* ask = std::get_if<AskPresence>(&body))
            return std::vector<Presence>(ask->ranges.size(), accepted.contains(ask->host)
                                                                 ? Presence::accepted
                                                                 : Presence::none);
        if (const auto* scrub = std::get_if<Scrub>(&body))
            return ScrubReceipt{scrub->extent.range.length};
        return std::monostate{};
    }

    Manager manager_;
    Millis clock_ = 1000;
    std::uint64_t seq_ = 0;
};

void up(Rack& rack) {
    ASSERT_TRUE(rack.start());
    for (const HostName& host : {h1, h2}) rack.step(HostUp{host, host.text + "-machine"});
    for (const HostName& host : {h1, h2}) rack.report(host, {});
}

void up_and_clean(Rack& rack) {
    up(rack);
    for (int i = 0; i < 20; ++i) {
        rack.answer_all();
        rack.pass(500);
    }
    ASSERT_EQ(rack.manager().fabric_view().devices.at(0).dirty, 0u);
}

TEST(Manager, AHostsWordCostsOnlySoMuch) {
    Rack rack;
    up_and_clean(rack);
    // h2 claims bytes that its device denies, again as soon as they are clean again.
    for (int i = 0; i < 300; ++i) {
        rack.report(h2, {{i % 2 == 0 ? 0 : 512 * MiB, 2 * MiB}});
        rack.answer_all();
        rack.pass(200);
        rack.answer_all();
    }
    EXPECT_GT(rack.count<ForeignSeen>(), 0u);
    EXPECT_LE(rack.count<ForeignSeen>(), 64u);
    // And h1 gets its grant all the same.
    rack.report(h1, {});
    rack.step(Submit{Ticket{1}, CreateGrant{.name = {}, .hosts = {h1}, .size = 256 * MiB}});
    rack.report(h2, {{0, 2 * MiB}});
    rack.answer_all();
    EXPECT_EQ(rack.count<OfferStarted>(), 1u);
}

TEST(Manager, OneReportIsFewSentences) {
    Rack rack;
    up_and_clean(rack);
    const std::size_t before = rack.events.size();
    for (int i = 0; i < 40; ++i) {
        std::vector<Range> many;
        for (Bytes at = 0; at < 400; ++at)
            many.push_back({at * 2 * MiB, static_cast<Bytes>(i + 1) * 2 * MiB});
        rack.report(h2, many);
    }
    EXPECT_GE(rack.events.size() - before, 16u);
    EXPECT_LE(rack.events.size() - before, 256u + 1 + 40);
}

TEST(Manager, BytesReachedWhileTheyAreScrubbedAreScrubbedAgain) {
    Rack rack;
    up(rack);
    while (!rack.waits_for<Scrub>()) {
        ASSERT_FALSE(rack.waiting.empty());
        const Command command = rack.waiting.front();
        rack.waiting.erase(rack.waiting.begin());
        rack.step(Completion{command.op, Answer(std::vector<Presence>(1, Presence::none))});
    }
    const Command scrub = rack.waiting.front();
    const Extent extent = std::get<Scrub>(scrub.body).extent;
    rack.waiting.clear();
    rack.report(h2, {{extent.range.dpa, 2 * MiB}});
    rack.step(Completion{scrub.op, Answer(ScrubReceipt{extent.range.length})});
    EXPECT_EQ(rack.count<ScrubDone>(), 0u);
    rack.report(h2, {});
    for (int i = 0; i < 40; ++i) {
        rack.pass(500);
        rack.answer_all();
    }
    EXPECT_EQ(rack.manager().fabric_view().devices.at(0).dirty, 0u);
    EXPECT_GE(rack.count<ScrubStarted>(), 1 + GiB / (256 * MiB));
}

TEST(Manager, AHostThatMayReachBytesStaysInTheFabricFile) {
    Rack rack;
    up_and_clean(rack);
    rack.step(Submit{Ticket{1}, CreateGrant{.name = {}, .hosts = {h2}, .size = 256 * MiB}});
    rack.answer_all();
    ASSERT_EQ(rack.count<OfferStarted>(), 1u);
    rack.step(Submit{Ticket{2}, ReleaseGrant{GrantName("g1")}});

    // With the grant: refused because of it. Without it, as in a journal that lost it: because of
    // its reach.
    Rack without(fabric_of({h1}));
    without.journal = rack.journal;
    EXPECT_FALSE(without.start());

    Rack reached;
    up_and_clean(reached);
    reached.report(h2, {{0, 2 * MiB}});
    ASSERT_EQ(reached.count<ForeignSeen>(), 1u);
    Rack dropped(fabric_of({h1}));
    dropped.journal = reached.journal;
    const auto refused = dropped.start();
    ASSERT_FALSE(refused);
    EXPECT_NE(refused.error().message.find("h2 may still reach 2 MiB of mem0"), std::string::npos)
        << refused.error().message;

    reached.step(HostDied{h2, "h2-machine"});
    Rack ended(fabric_of({h1}));
    ended.journal = reached.journal;
    EXPECT_TRUE(ended.start());
}

}  // namespace
}  // namespace cxlpool
