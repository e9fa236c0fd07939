// SPDX-License-Identifier: Apache-2.0
// The mover against kernels that answer partially, falsely and not at all. What counts is the truth
// the fake kernel keeps, not what it says.
#include "mover.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <set>

namespace libpool {
namespace {

constexpr uint64_t stride = 4096;

// Pages 0…n-1 of a process; behaves as move_pages does, with the weaknesses that were asked for.
class FakeKernel final : public Kernel {
  public:
    explicit FakeKernel(size_t pages, int node = 1) : nodes(pages, node) {}

    std::vector<int> nodes;      // the truth; negative: absent
    std::set<uint64_t> busy;     // cannot be moved: -EBUSY
    uint64_t room = UINT64_MAX;  // pages that the target takes
    bool says_moved_and_does_not = false;
    bool leaves_questions_unanswered = false;
    long refuses = 0;               // every move fails with this
    size_t stops_after = SIZE_MAX;  // pages tried per call; the rest is unwritten, rc > 0
    std::vector<size_t> calls;      // sizes of the moving calls

    long move_pages(pid_t, std::span<const uint64_t> pages, std::span<const int> targets,
                    std::span<int> status) override {
        if (targets.empty()) return answer(pages, status);
        calls.push_back(pages.size());
        if (refuses != 0) return refuses;
        for (size_t i = 0; i < pages.size(); ++i) {
            if (i == stops_after) return static_cast<long>(pages.size() - i);
            status[i] = move_one(pages[i] / stride, targets[i]);
        }
        return 0;
    }
    Result<uint64_t> room_bytes(int) override { return room == UINT64_MAX ? room : room * stride; }

  private:
    long answer(std::span<const uint64_t> pages, std::span<int> status) {
        for (size_t i = 0; i < pages.size(); ++i) {
            if (leaves_questions_unanswered && pages.size() > 1 && i % 2 == 1) continue;
            int node = nodes.at(pages[i] / stride);
            status[i] = node < 0 ? -ENOENT : node;
        }
        return 0;
    }
    int move_one(uint64_t index, int target) {
        if (busy.contains(index)) return -EBUSY;
        if (nodes[index] < 0) return -ENOENT;
        if (room == 0) return -ENOMEM;
        if (says_moved_and_does_not) return target;
        if (room != UINT64_MAX) --room;
        nodes[index] = target;
        return target;
    }
};

std::vector<uint64_t> all_pages(size_t count) {
    std::vector<uint64_t> pages;
    for (size_t i = 0; i < count; ++i) pages.push_back(i * stride);
    return pages;
}

RC_GTEST_PROP(Mover, ReportsTheTruthWhateverTheKernelSays, ()) {
    size_t count = *rc::gen::inRange<size_t>(1, 1300);
    FakeKernel kernel(count);
    kernel.says_moved_and_does_not = *rc::gen::weightedElement<bool>({{3, false}, {1, true}});
    kernel.leaves_questions_unanswered = *rc::gen::arbitrary<bool>();
    kernel.refuses = *rc::gen::weightedElement<long>({{4, 0}, {1, -EPERM}, {1, -ENOMEM}});
    kernel.stops_after =
        *rc::gen::weightedElement<size_t>({{2, SIZE_MAX}, {1, 0}, {1, 1}, {1, 300}});
    if (*rc::gen::arbitrary<bool>()) kernel.room = *rc::gen::inRange<uint64_t>(0, count);
    for (size_t i = 0; i < count; i += 7) {
        int what = *rc::gen::inRange(0, 4);
        if (what == 1) kernel.busy.insert(i);
        if (what == 2) kernel.nodes[i] = -1;
        if (what == 3) kernel.nodes[i] = 0;
    }
    std::vector<int> before = kernel.nodes;
    KernelMover mover(kernel);
    MoveReport report = mover.move(0, all_pages(count), 0);

    uint64_t moved = 0, already = 0, elsewhere = 0, reasons = 0;
    for (size_t i = 0; i < count; ++i) {
        if (kernel.nodes[i] != 0) {
            ++elsewhere;
        } else {
            ++(before[i] == 0 ? already : moved);
        }
        RC_ASSERT(report.nodes[i] == (kernel.nodes[i] < 0 ? -ENOENT : kernel.nodes[i]));
    }
    for (auto [reason, pages] : report.reasons) reasons += pages;
    RC_ASSERT(report.moved == moved);
    RC_ASSERT(report.already == already);
    RC_ASSERT(report.failed == elsewhere);
    RC_ASSERT(reasons == elsewhere);
    for (size_t pages : kernel.calls) RC_ASSERT(pages <= move_batch);
}

// The 30,000 promotions that never happened: rc > 0, and what was not tried was never written.
TEST(Mover, WhatAPartialAnswerLeftIsTriedAgainAndNotCounted) {
    FakeKernel kernel(512);
    kernel.stops_after = 100;
    KernelMover mover(kernel);
    MoveReport report = mover.move(0, all_pages(512), 0);
    EXPECT_EQ(report.moved, 300u);  // three tries of 100
    EXPECT_EQ(report.failed, 212u);
    EXPECT_EQ(report.reasons[0], 212u);  // no reason was given
    EXPECT_EQ(kernel.calls, (std::vector<size_t>{512, 412, 312}));
}

TEST(Mover, UsesFullBatchesAndDoesNotMoveWhatIsThere) {
    FakeKernel kernel(1200);
    kernel.nodes[3] = 0;
    KernelMover mover(kernel);
    EXPECT_EQ(mover.move(0, all_pages(1200), 0).moved, 1199u);
    EXPECT_EQ(kernel.calls, (std::vector<size_t>{511, 512, 176}));
    kernel.calls.clear();
    EXPECT_EQ(mover.move(0, all_pages(1200), 0).already, 1200u);
    EXPECT_TRUE(kernel.calls.empty());
}

TEST(Mover, ARefusalIsNotRepeatedForTheBatch) {
    FakeKernel kernel(10);
    kernel.refuses = -EPERM;
    KernelMover mover(kernel);
    MoveReport report = mover.move(77, all_pages(10), 0);
    EXPECT_EQ(report.reasons, (Reasons{{EPERM, 10}}));
    EXPECT_EQ(kernel.calls.size(), 1u);
}

TEST(Mover, TheDryOneMovesNothingAndSaysSo) {
    FakeKernel kernel(600);
    DryMover mover(kernel);
    MoveReport report = mover.move(0, all_pages(600), 0);
    EXPECT_TRUE(kernel.calls.empty());
    EXPECT_EQ(report.moved, 0u);
    EXPECT_EQ(report.reasons, (Reasons{{ECANCELED, 600}}));
}

}  // namespace
}  // namespace libpool
