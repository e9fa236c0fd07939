// SPDX-License-Identifier: Apache-2.0
// Emptying a node of a process that does not stay as it was found: this process's own pages, with a
// kernel in between that says where they are.
#include "evacuate.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cerrno>

namespace libpool {
namespace {

// Every page is on node 1. At the first move all of it is gone.
class VanishingKernel final : public Kernel {
  public:
    explicit VanishingKernel(long end) : end_(end) {}

    long move_pages(pid_t, std::span<const uint64_t>, std::span<const int> targets,
                    std::span<int> status) override {
        gone_ = gone_ || !targets.empty();
        if (gone_) return end_;
        std::fill(status.begin(), status.end(), 1);
        return 0;
    }
    Result<uint64_t> room_bytes(int) override { return uint64_t(1) << 40; }

  private:
    const long end_;
    bool gone_ = false;
};

Result<Evacuation> empty_node_1(long end) {
    VanishingKernel kernel(end);
    KernelMover mover(kernel);
    Site site;
    site.node = 1;
    return evacuate(kernel, mover, 0, site, {0}, {});
}

// A process that ended in the middle once counted as pages that could not be moved.
TEST(Evacuation, AProcessThatEndsMidwayHasNothingLeftToMove) {
    auto ended = empty_node_1(-ESRCH);
    if (!ended && ended.error().code == EOPNOTSUPP) GTEST_SKIP() << ended.error().sentence;
    ASSERT_TRUE(ended) << ended.error().sentence;
    EXPECT_GT(ended->found_pages, 0u);
    EXPECT_EQ(ended->done_pages, ended->found_pages);
    EXPECT_EQ(ended->failed_pages, 0u);
    EXPECT_TRUE(ended->reasons.empty());

    auto refused = empty_node_1(-EPERM);
    ASSERT_TRUE(refused);
    EXPECT_EQ(refused->failed_pages, refused->found_pages);
    EXPECT_EQ(refused->reasons, (Reasons{{EPERM, refused->found_pages}}));
}

}  // namespace
}  // namespace libpool
