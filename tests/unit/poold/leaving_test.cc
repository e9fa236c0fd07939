// SPDX-License-Identifier: Apache-2.0
// Tiered processes are told which nodes leave, over real sockets: this process's, and that of a
// child which never answers.
#include "poold/leaving.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <list>

#include "poold/at_once.h"
#include "silent_process.h"
#include "soon.h"
#include "tier/control.h"

using namespace poold;
using namespace std::chrono_literals;
using libpool::fail;
using libpool::Result;

namespace {

// Keeps what it was told, or refuses.
class Listener final : public libpool::tier::Controlled {
  public:
    libpool::tier::Snapshot status() override { return {}; }
    Result<libpool::tier::PageAnswer> explain(uint64_t) override { return fail(ENOENT, "none"); }
    Result<void> set(const libpool::tier::Limits& limits) override {
        std::lock_guard guard(lock_);
        if (refuses) return fail(EBUSY, "it has no other nodes");
        if (limits.leaving_nodes) heard_.push_back(*limits.leaving_nodes);
        return {};
    }
    Result<libpool::tier::PageSlice> pages(uint64_t, uint64_t, libpool::tier::Detail) override {
        return libpool::tier::PageSlice{};
    }
    Result<std::vector<libpool::tier::BenefitStep>> benefit() override {
        return std::vector<libpool::tier::BenefitStep>{};
    }
    double settle() override { return INFINITY; }

    std::vector<std::vector<int>> heard() const {
        std::lock_guard guard(lock_);
        return heard_;
    }
    bool refuses = false;

  private:
    mutable std::mutex lock_;
    std::vector<std::vector<int>> heard_;
};

class Log {
  public:
    void operator()(const std::string& sentence) {
        std::lock_guard guard(lock_);
        lines_.push_back(sentence);
    }
    // With such words at its end.
    std::vector<std::string> ending(const std::string& words) const {
        std::lock_guard guard(lock_);
        std::vector<std::string> found;
        for (const std::string& line : lines_) {
            if (line.ends_with(words)) found.push_back(line);
        }
        return found;
    }
    // About one process: others on this machine may have a word, too.
    std::vector<std::string> about(pid_t pid) const {
        std::lock_guard guard(lock_);
        std::vector<std::string> found;
        for (const std::string& line : lines_) {
            if (line.starts_with("process " + std::to_string(pid) + " ")) found.push_back(line);
        }
        return found;
    }

  private:
    mutable std::mutex lock_;
    std::vector<std::string> lines_;
};

const auto always = [] { return true; };
// No node of a machine that runs this, should another test's process be told.
constexpr int node = 901, other_node = 902;

}  // namespace

TEST(Leaving, ProcessesAreToldOfEachChangeAndAgainWhileItLasts) {
    Listener process;
    auto server = libpool::tier::ControlServer::start(process);
    ASSERT_TRUE(server) << server.error().sentence;
    Log log;
    Leaving leaving(std::ref(log), {.again = 50ms, .answer_s = 1});
    leaving.set({node});
    leaving.wait_until_told(always);
    ASSERT_FALSE(process.heard().empty());
    EXPECT_EQ(process.heard().front(), std::vector<int>{node});
    EXPECT_TRUE(soon([&] { return process.heard().size() >= 3; }));
    leaving.set({other_node, node, node});
    leaving.wait_until_told(always);
    EXPECT_EQ(process.heard().back(), (std::vector<int>{node, other_node}));
    leaving.set({});
    leaving.wait_until_told(always);
    EXPECT_EQ(process.heard().back(), std::vector<int>{});
    const size_t so_far = process.heard().size();
    std::this_thread::sleep_for(120ms);
    EXPECT_EQ(process.heard().size(), so_far);  // once is enough
    EXPECT_TRUE(log.about(getpid()).empty());
}

TEST(Leaving, WhoCannotBeToldIsNamedOnce) {
    SilentProcess silent;
    Listener process;
    process.refuses = true;
    auto server = libpool::tier::ControlServer::start(process);
    ASSERT_TRUE(server) << server.error().sentence;
    Log log;
    Leaving leaving(std::ref(log), {.again = 20ms, .answer_s = 0.1});
    leaving.set({node, other_node});
    leaving.wait_until_told(always);
    std::this_thread::sleep_for(200ms);  // it is tried again, and not said again
    ASSERT_EQ(log.about(getpid()).size(), 1u);
    EXPECT_TRUE(log.about(getpid()).front().ends_with(
        "could not be told that nodes 901, 902 leave: it has no other nodes"))
        << log.about(getpid()).front();
    ASSERT_EQ(log.about(silent.pid()).size(), 1u);
    EXPECT_NE(log.about(silent.pid()).front().find("does not answer"), std::string::npos);
    leaving.set({node});
    leaving.wait_until_told(always);
    EXPECT_EQ(log.about(getpid()).size(), 2u);
}

TEST(Leaving, NobodyWaitsForASilentOneThatDoesNotWantTo) {
    SilentProcess silent;
    Log log;
    Leaving leaving(std::ref(log), {.again = 20s, .answer_s = 1});
    leaving.set({node});
    const auto before = std::chrono::steady_clock::now();
    leaving.wait_until_told([] { return false; });
    EXPECT_LT(std::chrono::steady_clock::now() - before, 900ms);
}

// They were asked one after the other, and each cost its whole time.
TEST(Leaving, SilentOnesAreWaitedForTogether) {
    std::list<SilentProcess> silent(8);
    Log log;
    Leaving leaving(std::ref(log), {.again = 20s, .answer_s = 0.5});
    leaving.set({node});
    const auto before = std::chrono::steady_clock::now();
    leaving.wait_until_told(always);
    EXPECT_LT(std::chrono::steady_clock::now() - before, 3s);  // not 4
    for (const SilentProcess& one : silent) EXPECT_EQ(log.about(one.pid()).size(), 1u);
}

TEST(Leaving, HoweverManyAreSilentItIsOverInTime) {
    constexpr size_t more = 8;  // than are asked at once
    std::list<SilentProcess> silent(asked_at_once + more);
    Log log;
    Leaving leaving(std::ref(log), {.again = 50ms, .answer_s = 0.5, .all_s = 0.2});
    leaving.set({node});
    leaving.wait_until_told(always);
    const auto left_out = [&] {
        return log.ending("could not be told within 0.2 s that node 901 leaves");
    };
    ASSERT_EQ(left_out().size(), 1u);
    // Those that were not asked are asked first when it is tried again.
    EXPECT_TRUE(soon([&] {
        return std::ranges::all_of(
            silent, [&](const SilentProcess& one) { return log.about(one.pid()).size() == 1; });
    }));
    EXPECT_EQ(left_out().size(), 1u);  // nor is it said again
}
