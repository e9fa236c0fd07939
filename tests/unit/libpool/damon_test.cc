// SPDX-License-Identifier: Apache-2.0
// What a DAMON sampler that was killed leaves behind, in a made-up /sys.
#include "tier/damon.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace libpool::tier {
namespace {

namespace fs = std::filesystem;

class LeftRunning : public testing::Test {
  protected:
    LeftRunning() : root_(fs::temp_directory_path() / text("damon-%d", getpid())) {
        const std::string context = "0/contexts/0/", scheme = context + "schemes/0/";
        for (const auto& [file, content] : {std::pair<std::string, std::string>{"nr_kdamonds", "1"},
                                            {"0/state", "on"},
                                            {"0/contexts/nr_contexts", "1"},
                                            {context + "operations", "vaddr"},
                                            {context + "targets/nr_targets", "1"},
                                            {context + "monitoring_attrs/nr_regions/max", "1000"},
                                            {scheme + "action", "stat"},
                                            {scheme + "access_pattern/nr_accesses/min", "1"}}) {
            write(file, content);
        }
    }
    ~LeftRunning() override { fs::remove_all(root_); }

    void write(const std::string& file, const std::string& content) {
        const fs::path path = kdamonds() / file;
        fs::create_directories(path.parent_path());
        std::ofstream(path) << content << "\n";
    }
    void watches(pid_t pid) { write("0/contexts/0/targets/0/pid_target", std::to_string(pid)); }
    std::string refusal() { return damon_refusal(root_.string()); }
    fs::path kdamonds() const { return root_ / "sys/kernel/mm/damon/admin/kdamonds"; }

    const fs::path root_;
};

pid_t ended_process() {
    const pid_t pid = fork();
    if (pid == 0) _exit(0);
    waitpid(pid, nullptr, 0);
    return pid;
}

TEST_F(LeftRunning, OfATargetThatHasEndedItIsTakenOver) {
    watches(ended_process());
    EXPECT_EQ(refusal(), "");
    (void)Damon::start(root_.string(), getpid(), {});  // this /sys lacks most files
    std::string state;
    std::ifstream(kdamonds() / "0/state") >> state;
    EXPECT_EQ(state, "off");
}

TEST_F(LeftRunning, FromBeforeThisProcessRanAnotherProgramItIsTakenOver) {
    watches(getpid());
    EXPECT_EQ(refusal(), "");
}

TEST_F(LeftRunning, OfATargetThatLivesItIsSomebodysAndTheSentenceSaysWhatToDo) {
    watches(getppid());
    EXPECT_EQ(refusal(), text("DAMON is in use: somebody's kdamond runs and watches process %d; if "
                              "nobody needs it: echo off > /sys/kernel/mm/damon/admin/kdamonds/0/"
                              "state",
                              getppid()));
}

TEST_F(LeftRunning, OfOtherSettingsItIsNotOurs) {
    watches(ended_process());
    write("0/contexts/0/schemes/0/action", "pageout");
    EXPECT_NE(refusal(), "");
}

}  // namespace
}  // namespace libpool::tier
