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
    std::set<uint64_t> huge;     // blocks of 512 that go as one, by number
    uint64_t room = UINT64_MAX;  // pages that the target takes
    bool says_moved_and_does_not = false;
    bool leaves_questions_unanswered = false;
    long refuses = 0;               // every move fails with this
    size_t stops_after = SIZE_MAX;  // pages tried per call; the rest is unwritten, rc > 0
    std::vector<size_t> calls;      // sizes of the moving calls
    std::set<pid_t> pids;           // whom they were about
    std::set<pid_t> gone;           // processes that have ended

    long move_pages(pid_t pid, std::span<const uint64_t> pages, std::span<const int> targets,
                    std::span<int> status) override {
        pids.insert(pid);
        if (gone.contains(pid)) return -ESRCH;
        if (targets.empty()) return answer(pages, status);
        calls.push_back(pages.size());
        if (refuses != 0) return refuses;
        for (size_t i = 0; i < pages.size(); ++i) {
            if (i == stops_after) return static_cast<long>(pages.size() - i);
            status[i] = huge.contains(pages[i] / stride / 512)
                            ? move_huge(pages[i] / stride / 512, targets[i])
                            : move_one(pages[i] / stride, targets[i]);
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
    // Whole, as a huge page does; once it is on its way its other addresses are busy.
    int move_huge(uint64_t block, int target) {
        if (nodes[block * 512] == target) return -EBUSY;
        if (busy.contains(block * 512)) return -EBUSY;
        if (room < 512) return -ENOMEM;
        if (says_moved_and_does_not) return target;
        if (room != UINT64_MAX) room -= 512;
        for (uint64_t i = 0; i < 512; ++i) nodes[block * 512 + i] = target;
        return target;
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

uint64_t address_of_block(uint64_t block) { return block * 512 * stride; }

TEST(HugePages, AreAskedForOnceEachByTheirFirstAddress) {
    FakeKernel kernel(2048);
    kernel.huge = {0, 1, 2, 3};
    KernelMover mover(kernel);
    std::vector<uint64_t> blocks{address_of_block(3), address_of_block(1)};
    MoveReport report = mover.move_huge(0, blocks, 0);
    EXPECT_EQ(report.moved, 1024u);
    EXPECT_EQ(report.failed, 0u);
    EXPECT_EQ(kernel.calls, (std::vector<size_t>{1, 1}));
    EXPECT_EQ(report.nodes, std::vector<int>(1024, 0));
    EXPECT_EQ(std::count(kernel.nodes.begin(), kernel.nodes.end(), 0), 1024);
    EXPECT_EQ(mover.move_huge(0, blocks, 0).already, 1024u);
}

TEST(HugePages, ThatWereSplitMeanwhileGoPageByPageAndAreCountedOnce) {
    FakeKernel kernel(512);
    kernel.nodes[3] = -1;  // dropped, and one is there already
    kernel.nodes[4] = 0;
    KernelMover mover(kernel);
    std::vector<uint64_t> blocks{0};
    MoveReport report = mover.move_huge(0, blocks, 0);
    EXPECT_EQ(kernel.calls, (std::vector<size_t>{1, 509}));
    EXPECT_EQ(report.moved, 510u);
    EXPECT_EQ(report.already, 1u);
    EXPECT_EQ(report.reasons, (Reasons{{ENOENT, 1}}));
}

TEST(HugePages, ThatStayAreOneRefusalAndAllTheirPagesAreSaidToBeWhereTheyWere) {
    FakeKernel kernel(1024);
    kernel.huge = {0, 1};
    kernel.busy = {0};
    kernel.room = 511;
    KernelMover mover(kernel);
    std::vector<uint64_t> blocks{0, address_of_block(1)};
    MoveReport report = mover.move_huge(0, blocks, 0);
    EXPECT_EQ(kernel.calls.size(), 2u);
    EXPECT_EQ(report.reasons, (Reasons{{EBUSY, 512}, {ENOMEM, 512}}));
    EXPECT_EQ(report.nodes, std::vector<int>(1024, 1));
}

RC_GTEST_PROP(HugePages, ReportTheTruthWhateverTheKernelSays, ()) {
    size_t count = 512 * *rc::gen::inRange<size_t>(1, 5);
    FakeKernel kernel(count);
    std::vector<uint64_t> blocks;
    for (uint64_t block = 0; block < count / 512; ++block) {
        if (*rc::gen::arbitrary<bool>()) kernel.huge.insert(block);
        if (*rc::gen::inRange(0, 4) == 0) kernel.busy.insert(block * 512);
        if (*rc::gen::inRange(0, 4) == 0) kernel.nodes[block * 512 + 7] = -1;
        blocks.push_back(address_of_block(block));
    }
    kernel.says_moved_and_does_not = *rc::gen::inRange(0, 4) == 0;
    kernel.refuses = *rc::gen::weightedElement<long>({{4, 0}, {1, -EPERM}});
    if (*rc::gen::arbitrary<bool>()) kernel.room = *rc::gen::inRange<uint64_t>(0, count);
    auto before = kernel.nodes;
    MoveReport report = KernelMover(kernel).move_huge(0, blocks, 0);
    uint64_t moved = 0, elsewhere = 0, reasons = 0;
    for (size_t i = 0; i < count; ++i) {
        moved += kernel.nodes[i] == 0 && before[i] != 0;
        elsewhere += kernel.nodes[i] != 0;
        RC_ASSERT(report.nodes[i] == (kernel.nodes[i] < 0 ? -ENOENT : kernel.nodes[i]));
    }
    for (auto [reason, pages] : report.reasons) reasons += pages;
    RC_ASSERT(report.moved == moved && report.failed == elsewhere && reasons == elsewhere);
}

TEST(Mover, AccountsForEachBatch) {
    FakeKernel kernel(1000);
    kernel.busy = {600};
    double now_s = 100;
    KernelMover mover(kernel, [&] { return now_s += 0.5; });
    MoveReport report = mover.move(0, all_pages(1000), 0);
    ASSERT_EQ(report.batches.size(), 2u);
    EXPECT_EQ(report.batches[0].asked, 512u);
    EXPECT_EQ(report.batches[0].moved, 512u);
    EXPECT_EQ(report.batches[1].asked, 488u);
    EXPECT_EQ(report.batches[1].failed, 1u);
    EXPECT_EQ(report.batches[1].calls, 1u);
    EXPECT_DOUBLE_EQ(report.batches[1].seconds, 0.5);
}

TEST(Mover, AnotherProcessIsNamedInEveryCallAndItsEndIsAReason) {
    FakeKernel kernel(512);
    kernel.huge = {0};
    KernelMover mover(kernel);
    std::vector<uint64_t> blocks{0};
    mover.move_huge(77, blocks, 0);
    mover.move(77, all_pages(512), 1);
    EXPECT_EQ(kernel.pids, std::set<pid_t>{77});
    kernel.gone = {77};
    EXPECT_EQ(mover.move(77, all_pages(512), 0).reasons, (Reasons{{ESRCH, 512}}));
    EXPECT_EQ(mover.move_huge(77, blocks, 0).reasons, (Reasons{{ESRCH, 512}}));
}

TEST(Mover, TheDryOneMovesNothingAndSaysSo) {
    FakeKernel kernel(600);
    DryMover mover(kernel);
    MoveReport report = mover.move(0, all_pages(600), 0);
    EXPECT_TRUE(kernel.calls.empty());
    EXPECT_EQ(report.moved, 0u);
    EXPECT_EQ(report.reasons, (Reasons{{ECANCELED, 600}}));
    std::vector<uint64_t> blocks{0};
    EXPECT_EQ(mover.move_huge(0, blocks, 0).reasons, (Reasons{{ECANCELED, 512}}));
    EXPECT_TRUE(kernel.calls.empty());
}

}  // namespace
}  // namespace libpool
