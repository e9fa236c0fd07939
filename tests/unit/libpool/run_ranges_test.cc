// SPDX-License-Identifier: Apache-2.0
// What is tracked of a program's memory, second by second.
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <set>

#include "run/ranges.h"
#include "uapi.h"

namespace libpool::run {
namespace {

constexpr uint64_t mib = 1 << 20, gib = 1 << 30;

AddressRun run(uint64_t start_mib, uint64_t end_mib) {
    return {start_mib * mib, (end_mib - start_mib) * mib / page_bytes};
}

std::string show(const std::vector<AddressRun>& runs) {
    std::string said;
    for (const AddressRun& r : runs) {
        said += text("%s%llu-%llu", said.empty() ? "" : " ",
                     static_cast<unsigned long long>(r.start / mib),
                     static_cast<unsigned long long>(r.end() / mib));
    }
    return said;
}

std::string show(const RangeBook::Change& change) {
    return "-[" + show(change.removed) + "] +[" + show(change.added) + "]";
}

RangeBook::Change update(RangeBook& book, std::vector<AddressRun> mappings) {
    return book.update(mappings);
}

TEST(RunRanges, KindsAreLeftOutAndCounted) {
    auto mappings = tier::parse_mappings(
        "100000-200000 r-xp 00000000 08:01 7 /usr/bin/cat\n"
        "200000-300000 rw-p 00000000 08:01 7 /usr/bin/cat\n"
        "300000-400000 rw-p 00000000 00:00 0 [heap]\n"
        "400000-408000 rw-p 00000000 00:00 0\n"
        "500000-600000 ---p 00000000 00:00 0\n"
        "600000-700000 rw-s 00000000 00:01 9 /dev/zero (deleted)\n"
        "700000-800000 rw-p 00000000 00:0f 9 /anon_hugepage (deleted)\n"
        "800000-900000 r--p 00000000 00:00 0\n"
        "900000-a00000 rwxp 00000000 00:00 0\n"
        "a00000-b00000 rw-p 00000000 00:00 0\n"
        "b00000-c00000 rw-p 00000000 00:00 0 [vvar_vclock]\n"
        "c00000-d00000 rw-p 00000000 00:00 0 [stack]\n");
    AddressRun own{0xa00000, 4};
    Selection selection = select(mappings, {&own, 1}, 65536, gib);
    EXPECT_EQ(show(selection.mappings), "3-4 9-10 12-13");
    EXPECT_EQ(selection.describe(),
              "left out: 2 file (2048 KiB), 1 shared (1024 KiB), 1 hugetlb (1024 KiB), 1 no access "
              "(1024 KiB), 1 read-only (1024 KiB), 1 special (1024 KiB), 1 small (32 KiB), 1 ours "
              "(1024 KiB)");
}

TEST(RunRanges, TooManyAreLeftOut) {
    std::vector<tier::Mapping> mappings(range_limit + 3);
    for (size_t i = 0; i < mappings.size(); ++i) {
        mappings[i].start = i * 2 * mib;
        mappings[i].end = mappings[i].start + mib;
        mappings[i].readable = mappings[i].writable = true;
    }
    Selection selection = select(mappings, {}, 0, gib);
    EXPECT_EQ(selection.mappings.size(), range_limit);
    EXPECT_EQ(selection.left_out_mappings[size_t(LeftOut::surplus)], 3u);
}

// A program with a sparse mapping of 1 TiB paid for books of 268 million pages.
TEST(RunRanges, WhatCanHardlyHoldAnythingIsLeftOut) {
    auto mappings = tier::parse_mappings(
        "1000000000-2000000000 rw-p 00000000 00:00 0\n"    // 64 GiB
        "2000001000-3000002000 rw-p 00000000 00:00 0\n"    // one page more
        "10000000000-20000000000 rw-p 00000000 00:00 0\n"  // 1 TiB
        "20000001000-20000101000 rw-p 00000000 00:00 0\n");
    Selection selection = select(mappings, {}, 65536, 16 * gib);
    ASSERT_EQ(selection.mappings.size(), 2u);
    EXPECT_EQ(selection.mappings[0].pages, 64 * gib / page_bytes);
    EXPECT_EQ(selection.mappings[1].pages, mib / page_bytes);
    EXPECT_EQ(selection.describe(), "left out: 2 sparse (1140850692 KiB)");
    // Of memory that is not known nothing is.
    EXPECT_EQ(select(mappings, {}, 65536, UINT64_MAX).mappings.size(), 4u);
}

TEST(RunRanges, WhatStaysIsNotTouched) {
    RangeBook book;
    EXPECT_EQ(show(update(book, {run(10, 20), run(30, 40)})), "-[] +[10-20 30-40]");
    EXPECT_EQ(show(update(book, {run(10, 20), run(30, 40)})), "-[] +[]");
    EXPECT_EQ(show(update(book, {run(30, 40)})), "-[10-20] +[]");
}

TEST(RunRanges, AHoleIsSuffered) {
    RangeBook book;
    update(book, {run(10, 20)});
    EXPECT_EQ(show(update(book, {run(10, 14), run(16, 20)})), "-[] +[]");
    EXPECT_EQ(show(update(book, {run(10, 11), run(19, 20)})), "-[10-20] +[10-11 19-20]");
}

// A heap: what is new is a mapping of its own, until it is registered too and both become one.
TEST(RunRanges, AHeapThatGrowsKeepsWhatIsKnown) {
    RangeBook book;
    update(book, {run(10, 20)});
    EXPECT_EQ(show(update(book, {run(10, 20), run(20, 21)})), "-[] +[20-21]");
    EXPECT_EQ(show(update(book, {run(10, 21)})), "-[] +[]");
    // Small neighbours become one.
    EXPECT_EQ(show(update(book, {run(10, 21), run(21, 22)})), "-[20-21] +[20-22]");
    EXPECT_EQ(show(book.ranges()), "10-20 20-22");
    EXPECT_EQ(show(update(book, {run(10, 22), run(22, 23)})), "-[] +[22-23]");
}

// mremap() in place, or another mapping that is larger: a border inside it would split it.
TEST(RunRanges, AMappingThatIsPartlyCoveredIsTakenAnew) {
    RangeBook book;
    update(book, {run(10, 20), run(30, 40)});
    EXPECT_EQ(show(update(book, {run(10, 25), run(30, 40)})), "-[10-20] +[10-25]");
    EXPECT_EQ(show(update(book, {run(5, 45)})), "-[10-25 30-40] +[5-45]");
}

// Long histories: ranges never overlap, cover every mapping whole (so that no border splits one),
// and the changes tell the same story.
TEST(RunRanges, HistoriesKeepTheRules) {
    EXPECT_TRUE(rc::check("histories", [] {
        RangeBook book;
        std::map<uint64_t, uint64_t> told;
        for (int second = 0; second < 20; ++second) {
            std::vector<AddressRun> mappings;
            uint64_t at = 0;
            while (at < 40) {
                uint64_t start = at + *rc::gen::inRange<uint64_t>(0, 3);
                uint64_t end = start + *rc::gen::inRange<uint64_t>(1, 6);
                mappings.push_back(run(start, end));
                at = end;
            }
            auto change = book.update(mappings);
            for (const AddressRun& r : change.removed) {
                auto found = told.find(r.start);
                RC_ASSERT(found != told.end() && found->second == r.end());
                told.erase(found);
            }
            for (const AddressRun& r : change.added) {
                for (auto [start, end] : told) RC_ASSERT(r.end() <= start || end <= r.start);
                told[r.start] = r.end();
            }
            auto ranges = book.ranges();
            RC_ASSERT(ranges.size() == told.size());
            for (const AddressRun& r : ranges) RC_ASSERT(told[r.start] == r.end());
            for (const AddressRun& mapping : mappings) {
                uint64_t covered = 0;
                for (const AddressRun& r : ranges) {
                    uint64_t start = std::max(r.start, mapping.start);
                    uint64_t end = std::min(r.end(), mapping.end());
                    if (start < end) covered += end - start;
                }
                RC_ASSERT(covered == mapping.end() - mapping.start);
            }
        }
    }));
}

}  // namespace
}  // namespace libpool::run
