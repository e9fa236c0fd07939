// SPDX-License-Identifier: Apache-2.0
#include "backend/qmp/process.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>

#include "backend/qmp/process_watch.h"
#include "harness.h"

namespace cxlpool {
namespace {

const std::vector<std::string> kSleep = {"/bin/sleep", "1000"};

// The parts of "pid:start:boot" with one of them changed.
std::string changed(const std::string& instance, int part, const std::string& value) {
    std::vector<std::string> parts;
    std::stringstream in(instance);
    for (std::string text; std::getline(in, text, ':');) parts.push_back(text);
    parts.at(static_cast<std::size_t>(part)) = value;
    return parts[0] + ":" + parts[1] + ":" + parts[2];
}

TEST(Process, IsFoundWhileItLivesAndNeverAgain) {
    Child child(kSleep);
    const auto process = process_of(child.pid());
    ASSERT_TRUE(process) << process.error().message;
    const std::string instance = process->instance;
    EXPECT_TRUE(instance.starts_with(std::to_string(child.pid()) + ":")) << instance;

    auto found = find_process(instance);
    ASSERT_TRUE(found && *found);
    EXPECT_EQ((*found)->instance, instance);

    child.signal(SIGKILL);
    while (!child.is_dead()) ::usleep(1000);
    found = find_process(instance);  // a zombie: nobody has reaped it yet
    ASSERT_TRUE(found);
    EXPECT_FALSE(*found);
    child.kill_and_reap();
    found = find_process(instance);
    ASSERT_TRUE(found);
    EXPECT_FALSE(*found);
}

TEST(Process, OfTheSamePidIsNotTheSame) {
    Child child(kSleep);
    const std::string instance = process_of(child.pid())->instance;
    for (const std::string& other : {changed(instance, 1, "17"), changed(instance, 2, "0badb007"),
                                     changed(instance, 0, "4194303")}) {
        const auto found = find_process(other);
        ASSERT_TRUE(found) << other;
        EXPECT_FALSE(*found) << other;
    }
}

TEST(Process, WithAnUnknownNameIsNeverCalledDead) {
    for (const std::string name : {"", "sim-h1-1", "812", "812:", "x:1:2", "-5:1:2", "0:1:2"}) {
        EXPECT_FALSE(find_process(name)) << name;
    }
}

class Watching : public testing::Test {
  protected:
    void pass(int ms) { io_.restart(), io_.run_for(std::chrono::milliseconds(ms)); }
    bool hears(std::size_t deaths) {
        for (int i = 0; i < 200 && deaths_.size() < deaths; ++i) pass(20);
        return deaths_.size() == deaths;
    }

    boost::asio::io_context io_;
    std::vector<std::string> deaths_;
    ProcessWatch watch_{io_.get_executor(),
                        [this](const HostName& host, const std::string& instance) {
                            EXPECT_EQ(host, h1);
                            deaths_.push_back(instance);
                        }};
};

TEST_F(Watching, TellsADeathOnce) {
    Child child(kSleep);
    const std::string instance = process_of(child.pid())->instance;
    watch_.add(h1, *process_of(child.pid()));
    watch_.add(h1, *process_of(child.pid()));
    ASSERT_TRUE(watch_.expect(h1, instance));
    pass(50);
    EXPECT_TRUE(deaths_.empty());
    child.signal(SIGKILL);
    ASSERT_TRUE(hears(1));
    pass(50);
    EXPECT_EQ(deaths_, std::vector{instance});
}

// A pipe stands for a pidfd: it is readable when the wait ends, and no more when its handler runs.
TEST_F(Watching, AWaitThatEndsForNothingIsNoDeath) {
    int ends[2];
    ASSERT_EQ(pipe(ends), 0);
    watch_.add(h1, Process{"1:2:3", UniqueFd(ends[0])});
    pass(20);
    for (int round = 0; round < 20; ++round) {
        boost::asio::post(io_, [] {});
        ASSERT_EQ(write(ends[1], "x", 1), 1);
        io_.restart();
        io_.poll_one();
        char byte;
        ASSERT_EQ(read(ends[0], &byte, 1), 1);
        pass(5);
    }
    EXPECT_TRUE(deaths_.empty());
    ASSERT_EQ(write(ends[1], "x", 1), 1);
    EXPECT_TRUE(hears(1));
    close(ends[1]);
}

TEST_F(Watching, AnExpectedProcessThatIsGoneIsToldAtOnce) {
    Child child(kSleep);
    const std::string gone = changed(process_of(child.pid())->instance, 1, "17");
    ASSERT_TRUE(watch_.expect(h1, gone));
    EXPECT_TRUE(deaths_.empty());  // never from inside
    ASSERT_TRUE(hears(1));
    EXPECT_EQ(deaths_, std::vector{gone});
    EXPECT_FALSE(watch_.expect(h1, "sim-h1-1"));
}

TEST_F(Watching, KillsExactlyTheInstance) {
    Child child(kSleep);
    const std::string instance = process_of(child.pid())->instance;
    // The same pid, but another life: it is dead already, and nobody else dies for it.
    ASSERT_TRUE(watch_.kill(h1, changed(instance, 1, "17")));
    ASSERT_TRUE(hears(1));
    EXPECT_FALSE(child.is_dead());
    ASSERT_TRUE(watch_.kill(h1, instance));  // not even watched before
    ASSERT_TRUE(hears(2));
    EXPECT_TRUE(child.is_dead());
    EXPECT_EQ(deaths_.back(), instance);
}

}  // namespace
}  // namespace cxlpool
