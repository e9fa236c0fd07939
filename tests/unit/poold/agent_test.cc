// SPDX-License-Identifier: Apache-2.0
// The whole agent as a process: its own program, a recorded tree with a small model of the driver
// in it, and a server in place of fmd.
#include "poold/agent.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>

#include <nlohmann/json.hpp>

#include "fake_fmd.h"
#include "fake_tree.h"
#include "soon.h"

namespace poold {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;

constexpr const char* dcd = "/sys/bus/pci/devices/0000:0d:00.0/dcd";

// Keeps the reports it gets and serves one list of wishes, as fmd does.
class Fmd {
  public:
    explicit Fmd(const std::string& path)
        : server_(path, [this](const Request& request) { return serve(request); }) {}

    void wish(json extents) {
        std::lock_guard guard(lock_);
        desired_ = {{"rev", ++rev_}, {"extents", std::move(extents)}};
    }
    // Raw bytes to answer with instead, until reset with "-".
    void rude(const std::string& report, const std::string& desired) {
        std::lock_guard guard(lock_);
        report_reply_ = report;
        desired_reply_ = desired;
    }
    std::vector<json> reports() {
        std::lock_guard guard(lock_);
        return reports_;
    }
    json last() {
        std::lock_guard guard(lock_);
        return reports_.empty() ? json() : reports_.back();
    }

  private:
    std::string serve(const Request& request) {
        if (request.target == "/v1/report") {
            std::lock_guard guard(lock_);
            if (report_reply_ != "-") return report_reply_;
            reports_.push_back(json::parse(request.body, nullptr, false));
            return answer(200, json{{"rev", rev_}}.dump());
        }
        uint64_t after = std::stoull(request.target.substr(request.target.find("after=") + 6));
        for (int i = 0; i < 50; ++i) {
            {
                std::lock_guard guard(lock_);
                if (desired_reply_ != "-") return desired_reply_;
                // A host's first question in a life of fmd is answered at once, as the real one
                // does.
                if (rev_ != after || !told_) {
                    told_ = true;
                    return answer(200, desired_.dump());
                }
            }
            std::this_thread::sleep_for(10ms);
        }
        return answer(204, "");
    }

    std::mutex lock_;
    uint64_t rev_ = 0;
    bool told_ = false;
    json desired_ = {{"rev", 0}, {"extents", json::array()}};
    std::string report_reply_ = "-", desired_reply_ = "-";
    std::vector<json> reports_;
    FakeFmd server_;  // last: its thread uses the others
};

// The program itself, killed at the end of the test if it still runs.
class Program {
  public:
    explicit Program(std::vector<std::string> words) {
        words.insert(words.begin(), POOLD_PROGRAM);
        pid_ = fork();
        if (pid_ == 0) {
            std::vector<char*> argv;
            for (std::string& word : words) argv.push_back(word.data());
            argv.push_back(nullptr);
            execv(argv[0], argv.data());
            _exit(127);
        }
    }
    ~Program() {
        if (pid_ > 0) end(SIGKILL);
    }
    int end(int with) {
        kill(pid_, with);
        return wait();
    }
    int wait() {
        int status = 0;
        waitpid(pid_, &status, 0);
        pid_ = -1;
        return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
    }

  private:
    pid_t pid_;
};

struct World {
    FakeTree fake;
    std::string socket = fake.root() + "/fmd.sock";
    Fmd fmd{socket};

    World() {
        fake.add_host();
        fake.set("/run/keep", "");
        fake.add_pooled("0000:0d:00.0", "0 268435456 accepted - - - - -\n");
    }
    std::vector<std::string> words() const {
        return {"--root", fake.root(), "--server", "unix:" + socket};
    }
    std::string ordered() const { return fake.get(std::string(dcd) + "/want"); }
    void extents(const std::string& lines) { fake.set(std::string(dcd) + "/extents", lines); }
    static json wish(const char* want, const char* use = "ram") {
        return json::array({{{"serial", 1},
                             {"dpa", 0},
                             {"len", 268435456},
                             {"grant", "g1"},
                             {"use", use},
                             {"want", want}}});
    }
};

TEST(Agent, ReportsAtOnceAndPlugsWhatIsWished) {
    World world;
    world.fmd.wish(World::wish("plugged"));
    Program poold(world.words());
    ASSERT_TRUE(soon([&] { return !world.fmd.last().is_null(); }));
    EXPECT_EQ(world.fmd.last()["boot"], "7b1e6f0a-0000-4000-8000-000000000001");
    EXPECT_EQ(world.fmd.last()["driver_state"], "ready");
    ASSERT_TRUE(soon([&] { return world.ordered() == "0 268435456 plugged ram"; }));
    // The driver does it, and the report follows.
    world.extents("0 268435456 plugged plugged ram dax0.0 1 -\n");
    world.fake.add_dax("dax0.0", 0, 268435456, "online");
    ASSERT_TRUE(
        soon([&] { return world.fmd.last()["devices"][0]["extents"][0]["state"] == "plugged"; }));
    EXPECT_EQ(poold.end(SIGTERM), 0);
    auto reports = world.fmd.reports();
    for (size_t i = 1; i < reports.size(); ++i) EXPECT_GT(reports[i]["seq"], reports[i - 1]["seq"]);
}

TEST(Agent, NeverActsBeforeFmdHasSpokenOrOnWhatIsNotListed) {
    World world;
    world.fmd.rude("-", "");
    Program poold(world.words());
    ASSERT_TRUE(soon([&] { return world.fmd.reports().size() >= 2; }));
    world.fmd.wish(json::array());
    world.fmd.rude("-", "-");
    size_t before = world.fmd.reports().size();
    ASSERT_TRUE(soon([&] { return world.fmd.reports().size() >= before + 2; }));
    EXPECT_EQ(world.ordered(), "");
}

TEST(Agent, SequenceNumbersRiseOverARestart) {
    World world;
    uint64_t last = 0;
    for (int round = 0; round < 3; ++round) {
        size_t before = world.fmd.reports().size();
        Program poold(world.words());
        ASSERT_TRUE(soon([&] { return world.fmd.reports().size() > before; }));
        EXPECT_EQ(poold.end(SIGKILL), -SIGKILL);
        EXPECT_GT(world.fmd.reports()[before]["seq"], last);
        last = world.fmd.last()["seq"];
    }
}

TEST(Agent, GarbageAndRefusalsAndSilenceChangeNothingAndAreSurvived) {
    World world;
    world.fmd.wish(World::wish("plugged"));
    world.fmd.rude("HTTP/1.1 409 Conflict\r\nContent-Length: 2\r\n\r\n{}", "garbage\r\n\r\n");
    Program poold(world.words());
    std::this_thread::sleep_for(300ms);
    world.fmd.rude("", answer(200, R"({"rev":1,"extents":[{"serial":1}]})"));
    std::this_thread::sleep_for(500ms);
    world.fmd.rude("\xff\xff\xff\r\n\r\n", answer(400, R"({"error":{"code":"x","message":"no"}})"));
    std::this_thread::sleep_for(500ms);
    EXPECT_EQ(world.ordered(), "");
    world.fmd.rude("-", "-");
    EXPECT_TRUE(soon([&] { return world.ordered() == "0 268435456 plugged ram"; }));
    EXPECT_TRUE(soon([&] { return !world.fmd.last().is_null(); }));
    EXPECT_EQ(poold.end(SIGINT), 0);
}

TEST(Agent, FmdMayComeLateAndGoAndComeBack) {
    FakeTree fake;
    fake.add_host();
    fake.set("/run/keep", "");
    fake.add_pooled("0000:0d:00.0", "0 268435456 accepted - - - - -\n");
    std::string socket = fake.root() + "/fmd.sock";
    Program poold({"--root", fake.root(), "--server", "unix:" + socket});
    std::this_thread::sleep_for(300ms);
    for (int round = 0; round < 2; ++round) {
        auto fmd = std::make_unique<Fmd>(socket);
        fmd->wish(World::wish(round == 0 ? "plugged" : "unplugged"));
        ASSERT_TRUE(soon([&] { return !fmd->last().is_null(); }));
        std::string expected = round == 0 ? "0 268435456 plugged ram" : "0 268435456 unplugged";
        ASSERT_TRUE(soon([&] { return fake.get(std::string(dcd) + "/want").find(expected) == 0; }));
    }
    EXPECT_EQ(poold.end(SIGTERM), 0);
}

TEST(Agent, AnOrderTheDriverRefusesIsToldAndRepeatedWithBackoff) {
    World world;
    world.fake.remove(std::string(dcd) + "/want");
    world.fmd.wish(World::wish("plugged"));
    Program poold(world.words());
    ASSERT_TRUE(soon([&] {
        json last = world.fmd.last();
        if (last.is_null()) return false;
        std::string error = last["devices"][0]["extents"][0]["error"];
        return error.find("want: No such file") != std::string::npos;
    }));
    world.fake.set(std::string(dcd) + "/want", "");
    EXPECT_TRUE(soon([&] { return world.ordered() == "0 268435456 plugged ram"; }));
}

TEST(Agent, ADaxDeviceThatSomebodyHasOpenIsNotUnpluggedAndTheHolderIsNamed) {
    World world;
    world.extents("0 268435456 plugged plugged dax dax0.0 - -\n");
    world.fake.set("/proc/812/comm", "python3\n");
    world.fake.set("/proc/812/maps",
                   "7f0000000000-7f0002000000 rw-s 00000000 00:06 12   /dev/dax0.0\n");
    world.fmd.wish(World::wish("unplugged", "dax"));
    Program poold(world.words());
    ASSERT_TRUE(soon([&] {
        json last = world.fmd.last();
        if (last.is_null()) return false;
        json extent = last["devices"][0]["extents"][0];
        return extent["error"] == "/dev/dax0.0 is open: 32 of 256 MiB held: pid 812 python3 32 MiB";
    }));
    json held = world.fmd.last()["devices"][0]["extents"][0]["held"];
    EXPECT_EQ(held, json::array({{{"pid", 812}, {"comm", "python3"}, {"bytes", 32 << 20}}}));
    EXPECT_EQ(world.ordered(), "");
    world.fake.remove("/proc/812");
    EXPECT_TRUE(soon([&] { return world.ordered() == "0 268435456 unplugged"; }));
}

TEST(Agent, ASecondOneIsRefused) {
    World world;
    Program first(world.words());
    ASSERT_TRUE(soon([&] { return !world.fmd.last().is_null(); }));
    Program second(world.words());
    EXPECT_EQ(second.wait(), 1);
}

TEST(Agent, OnceReportsAndOrdersNothing) {
    World world;
    world.fmd.wish(World::wish("plugged"));
    auto words = world.words();
    words.push_back("--once");
    EXPECT_EQ(Program(words).wait(), 0);
    EXPECT_EQ(world.fmd.reports().size(), 1u);
    EXPECT_EQ(world.ordered(), "");
}

}  // namespace
}  // namespace poold
