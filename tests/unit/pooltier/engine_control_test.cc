// SPDX-License-Identifier: Apache-2.0
// A running engine under control, in simulated time: nodes that leave (told over its socket),
// limits of what it takes near, the numbers that it gives pages, and what it tells of the kernel.
#include "tier/engine_control.h"

#include <gtest/gtest.h>
#include <malloc.h>

#include <cmath>
#include <numeric>

#include "../balancing.h"
#include "tier/control.h"
#include "tier/control_client.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
extern "C" size_t __sanitizer_get_current_allocated_bytes();  // g++ 12 has no header for it
#endif

using namespace libpool;
using namespace libpool::tier;

namespace {

constexpr uint64_t page = 4096, pages = 512;
constexpr int near_node = 0, far_node = 1, leaving_node = 2;

// Pages that nobody touches, all near at first; sampler, kernel and clock of them.
class Machine final : public Sampler, public Kernel, public Clock {
  public:
    Result<void> add(const AddressRun&) override { return {}; }
    void remove(const AddressRun&) override {}
    Result<void> arm(std::span<const AddressRun> runs) override {
        look_.sights.clear();
        for (const AddressRun& run : runs) {
            look_.sights.resize(look_.sights.size() + run.pages, not_touched);
        }
        armed_at_s_ = time_s_;
        return {};
    }
    Result<Look> look(Sight) override {
        look_.at_s = time_s_ - armed_at_s_;
        return look_;
    }
    void disarm() override {}
    SamplerInfo info() const override { return {"simulated", "", {100, 1000, 1000, 20}}; }

    long move_pages(pid_t, std::span<const uint64_t> moved, std::span<const int> targets,
                    std::span<int> status) override {
        for (size_t i = 0; i < moved.size(); ++i) {
            int& node = nodes[moved[i] / page];
            if (!targets.empty()) node = targets[i];
            status[i] = node;
        }
        return 0;
    }
    Result<uint64_t> room_bytes(int) override { return uint64_t(1) << 40; }

    double now_s() override { return time_s_; }
    double thread_cpu_s() override { return 0; }
    double program_cpu_s() override { return time_s_; }
    bool wait(double seconds) override { return (time_s_ += seconds) < end_s; }
    bool stopped() override { return false; }

    std::vector<int> nodes = std::vector<int>(pages, near_node);
    double end_s = 0;

  private:
    double time_s_ = 0, armed_at_s_ = 0;
    Look look_;
};

// By malloc's own count, or a sanitizer's, whose malloc is another one.
size_t memory_in_use() {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    return __sanitizer_get_current_allocated_bytes();
#else
    const struct mallinfo2 now = mallinfo2();
    return now.uordblks + now.hblkhd;
#endif
}

class Running : public testing::Test {
  protected:
    void SetUp() override { ASSERT_TRUE(engine_.add({0, pages})); }
    static EngineConfig config() {
        EngineConfig config;
        config.near_nodes = {near_node};
        config.far_nodes = {leaving_node, far_node};
        return config;
    }
    static About about() {
        About about;
        about.nodes = {{near_node}, {leaving_node, far_node}};
        return about;
    }
    size_t pages_on(int node) const { return size_t(std::ranges::count(machine_.nodes, node)); }
    void run_a_while() {
        machine_.end_s = machine_.now_s() + 20;
        engine_.run();
    }
    void set_own_limit(uint64_t near) {
        Limits limits;
        limits.near_limit_bytes = near * page;
        ASSERT_TRUE(control_.set(limits));
    }
    void allot(uint64_t near) {
        Limits limits;
        limits.allotted_bytes = near * page;
        ASSERT_TRUE(control_.set(limits));
    }

    Machine machine_;
    std::unique_ptr<TierPolicy> policy_ = make_tier_policy({});
    KernelMover mover_{machine_};
    Engine engine_{machine_, *policy_, mover_, machine_, machine_, config()};
    EngineControl control_{engine_, machine_, machine_, about(), UINT64_MAX};
};
using Allotment = Running;
using Numbering = Running;
using TheKernel = Running;

class LeavingNode : public Running {
  protected:
    void SetUp() override {
        auto started = ControlServer::start(control_);
        ASSERT_TRUE(started) << started.error().sentence;
        server_ = std::move(*started);
        Running::SetUp();
    }
    static Result<void> leaves(std::vector<int> nodes) {
        Limits limits;
        limits.leaving_nodes = std::move(nodes);
        return ask_set(getpid(), limits);
    }
    std::vector<int> far_nodes() {
        auto said = ask_status(getpid());
        return said ? said->far_nodes : std::vector<int>{-1};
    }
    // Room for `near` pages; where those that have to go are afterwards.
    size_t on_leaving_node_with(uint64_t near) {
        engine_.set_near_limit(near * page);
        run_a_while();
        return pages_on(leaving_node);
    }

    std::unique_ptr<ControlServer> server_;
};

}  // namespace

TEST_F(LeavingNode, IsNoPlaceToMoveTo) {
    ASSERT_TRUE(leaves({leaving_node}));
    EXPECT_EQ(far_nodes(), std::vector<int>{far_node});
    EXPECT_EQ(on_leaving_node_with(pages / 2), 0u);
    EXPECT_EQ(std::ranges::count(machine_.nodes, far_node), ptrdiff_t(pages / 2));
}

TEST_F(LeavingNode, IsOneAgainWhenItIsBack) {
    ASSERT_TRUE(leaves({leaving_node}));
    ASSERT_TRUE(leaves({}));
    EXPECT_EQ(far_nodes(), (std::vector<int>{leaving_node, far_node}));
    EXPECT_GT(on_leaving_node_with(pages / 2), 0u);
}

TEST_F(LeavingNode, IsForgottenWithAPooldThatHasEnded) {
    ASSERT_TRUE(leaves({leaving_node}));
    machine_.wait(allotment_s - 1);
    EXPECT_NEAR(control_.settle(), 1, 1e-9);
    EXPECT_EQ(far_nodes(), std::vector<int>{far_node});
    machine_.wait(1);
    EXPECT_EQ(control_.settle(), INFINITY);
    EXPECT_EQ(far_nodes(), (std::vector<int>{leaving_node, far_node}));
}

TEST_F(LeavingNode, StaysOutWhenOtherNodesCome) {
    ASSERT_TRUE(leaves({leaving_node}));
    control_.set_nodes({{near_node}, {leaving_node, far_node, 3}});
    EXPECT_EQ(far_nodes(), (std::vector<int>{far_node, 3}));
}

TEST_F(LeavingNode, TheLastNodesCannotLeave) {
    auto refused = leaves({near_node, far_node, leaving_node});
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, EBUSY);
    EXPECT_EQ(far_nodes(), (std::vector<int>{leaving_node, far_node}));
}

// Either way round: neither is more than what it is set to.
TEST_F(Allotment, CountsWhereItIsLessThanTheOwnLimit) {
    set_own_limit(pages / 2);
    allot(pages / 4);
    run_a_while();
    EXPECT_LE(pages_on(near_node), pages / 4);
    EXPECT_GT(pages_on(near_node), pages / 8);
}

TEST_F(Allotment, LeavesTheOwnLimitInForceWhereThatIsLess) {
    set_own_limit(pages / 4);
    allot(pages / 2);
    run_a_while();
    EXPECT_LE(pages_on(near_node), pages / 4);
    EXPECT_GT(pages_on(near_node), pages / 8);
}

TEST_F(Allotment, CountsForAMinute) {
    allot(pages / 4);
    machine_.wait(allotment_s - 1);
    EXPECT_NEAR(control_.settle(), 1, 1e-9);
    run_a_while();
    EXPECT_LE(pages_on(near_node), pages / 4);
}

TEST_F(Allotment, IsForgottenAfterThatAndTheOwnLimitCountsAlone) {
    set_own_limit(pages / 2);
    allot(pages / 4);
    machine_.wait(allotment_s / 2);
    allot(pages / 4);  // anew: the minute begins with the last one
    machine_.wait(allotment_s - 1);
    EXPECT_NEAR(control_.settle(), 1, 1e-9);
    machine_.wait(1);
    EXPECT_EQ(control_.settle(), INFINITY);
    EXPECT_EQ(control_.status().allotted_bytes, UINT64_MAX);
    run_a_while();
    EXPECT_LE(pages_on(near_node), pages / 2);
    EXPECT_GT(pages_on(near_node), pages / 4);
}

TEST_F(Numbering, KeepsNoRatesOfARangeThatHasGone) {
    constexpr uint64_t more = 1 << 18;
    machine_.nodes.resize(pages + more, near_node);
    ASSERT_TRUE(engine_.add({pages * page, more}));
    ASSERT_EQ(control_.pages(0, 1, Detail::rates)->ranges.size(), 2u);
    ASSERT_TRUE(engine_.remove(pages * page));
    const size_t before = memory_in_use();
    const auto slice = control_.pages(0, 1, Detail::rates);
    EXPECT_GT(before, memory_in_use() + more * sizeof(float) * 9 / 10);
    EXPECT_EQ(slice->ranges.size(), 1u);
    EXPECT_EQ(slice->total_pages, pages + more);  // nobody else gets its numbers
}

TEST_F(Numbering, IsForgottenWhenNobodyHasAskedForTwoMinutes) {
    ASSERT_TRUE(control_.pages(0, 1, Detail::rates));
    EXPECT_NEAR(control_.settle(), 120, 1e-9);
    machine_.wait(119);
    EXPECT_EQ(control_.pages(1, 1, Detail::rates)->total_pages, pages);  // he reads on, slowly
    machine_.wait(119);
    EXPECT_NEAR(control_.settle(), 1, 1e-9);
    machine_.wait(1);
    EXPECT_EQ(control_.settle(), INFINITY);
    EXPECT_EQ(control_.pages(1, 1, Detail::rates)->total_pages, 0u);
    EXPECT_EQ(control_.pages(0, 1, Detail::rates)->total_pages, pages);
}

TEST_F(TheKernel, IsToldOfAsItIsSetNowWhereItMovesPagesByItself) {
    for (int mode : {1, 0, 2}) {
        Balancing set(mode);
        if (!set) GTEST_SKIP() << "only root can say what is set";
        EXPECT_EQ(control_.status().numa_balancing, mode);
    }
}
