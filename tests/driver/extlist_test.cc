// SPDX-License-Identifier: Apache-2.0
// The module's extent list and its rules, in user space: stories, and against a
// naive twin, a bitmap of 2 MiB blocks. The seed of the random part is printed.
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <vector>

extern "C" {
#include "cxl_dcd/extlist.h"
}

namespace {

constexpr u64 mib = 1 << 20;
constexpr u64 block = 2 * mib;
constexpr dcd_bounds gib{.base = 0, .len = 1024 * mib, .block = block};

dcd_ext extent(u64 dpa, u64 len, u8 tag = 0, u16 seq = 0) {
    dcd_ext e{};
    e.dpa = dpa;
    e.len = len;
    e.seq = seq;
    std::memset(e.tag, tag, sizeof e.tag);
    return e;
}

// A list that owns its extents, as the module does.
class List {
  public:
    List() = default;
    List(const List&) = delete;
    List& operator=(const List&) = delete;
    ~List() { dcd_list_free(&list_); }

    int insert(const dcd_ext& e) {
        auto owned = std::make_unique<dcd_ext>(e);
        int rc = dcd_list_insert(&list_, owned.get());
        if (rc == 0) owned_.push_back(std::move(owned));
        return rc;
    }
    bool remove(u64 dpa, u64 len) {
        dcd_ext* e = dcd_list_exact(&list_, dpa, len);
        if (e == nullptr) return false;
        dcd_list_remove(&list_, e);
        std::erase_if(owned_, [e](const auto& o) { return o.get() == e; });
        return true;
    }
    const dcd_extlist* get() const { return &list_; }
    dcd_verdict offer(const std::vector<dcd_ext>& group, const dcd_bounds& bounds = gib) const {
        return dcd_group_check(&list_, &bounds, group.data(), static_cast<u32>(group.size()));
    }

  private:
    dcd_extlist list_{};
    std::vector<std::unique_ptr<dcd_ext>> owned_;
};

TEST(List, HoldsExtentsSortedAndApart) {
    List list;
    EXPECT_EQ(list.insert(extent(8 * mib, 4 * mib)), 0);
    EXPECT_EQ(list.insert(extent(0, 8 * mib)), 0);  // ends where the other begins
    EXPECT_EQ(list.insert(extent(6 * mib, 4 * mib)), -EEXIST);
    EXPECT_EQ(list.insert(extent(9 * mib, 1 * mib)), -EEXIST);
    EXPECT_EQ(list.insert(extent(0, 0)), -EINVAL);
    EXPECT_EQ(list.insert(extent(~0ULL - mib, 2 * mib)), -EINVAL);
    ASSERT_EQ(list.get()->n, 2u);
    EXPECT_EQ(list.get()->v[0]->dpa, 0u);
    EXPECT_EQ(list.get()->v[1]->dpa, 8 * mib);
    EXPECT_EQ(dcd_list_exact(list.get(), 8 * mib, 2 * mib), nullptr);
    EXPECT_TRUE(list.remove(8 * mib, 4 * mib));
    EXPECT_FALSE(list.remove(8 * mib, 4 * mib));
    EXPECT_EQ(list.get()->n, 1u);
}

TEST(List, LooksUpToTheEndOfTheAddressSpace) {
    List list;
    ASSERT_EQ(list.insert(extent(4 * mib, 2 * mib)), 0);
    EXPECT_NE(dcd_list_overlap(list.get(), 0, ~0ULL), nullptr);
    EXPECT_NE(dcd_list_overlap(list.get(), 5 * mib, ~0ULL), nullptr);
    EXPECT_EQ(dcd_list_overlap(list.get(), 6 * mib, ~0ULL), nullptr);
    EXPECT_EQ(dcd_list_overlap(list.get(), 4 * mib, 0), nullptr);
}

TEST(List, RoomReservedIsRoomEnough) {
    dcd_extlist list{};
    std::vector<dcd_ext> extents;
    for (u64 i = 0; i < 100; i++) extents.push_back(extent(i * block, block));
    ASSERT_EQ(dcd_list_reserve(&list, 100), 0);
    dcd_ext** where = list.v;
    for (auto& e : extents) ASSERT_EQ(dcd_list_insert(&list, &e), 0);
    EXPECT_EQ(list.v, where) << "an insert after reserve moved the array";
    dcd_list_free(&list);
}

TEST(Offer, IsTakenWholeOrNotAtAll) {
    List list;
    ASSERT_EQ(list.insert(extent(0, 4 * mib)), 0);
    EXPECT_EQ(list.offer({extent(4 * mib, 2 * mib), extent(8 * mib, 2 * mib)}), DCD_OK);
    EXPECT_EQ(list.offer({}), DCD_EMPTY);
    EXPECT_EQ(list.offer({extent(4 * mib, 0)}), DCD_EMPTY);
    EXPECT_EQ(list.offer({extent(4 * mib, 2 * mib), extent(5 * mib, 2 * mib)}), DCD_UNALIGNED);
    EXPECT_EQ(list.offer({extent(4 * mib, 3 * mib)}), DCD_UNALIGNED);
    EXPECT_EQ(list.offer({extent(1024 * mib, 2 * mib)}), DCD_OUTSIDE);
    EXPECT_EQ(list.offer({extent(1022 * mib, 4 * mib)}), DCD_OUTSIDE);
    EXPECT_EQ(list.offer({extent(1022 * mib, 0ULL - 1022 * mib)}), DCD_OUTSIDE);
    EXPECT_EQ(list.offer({extent(2 * mib, 4 * mib)}), DCD_OVERLAP);
    EXPECT_EQ(list.offer({extent(4 * mib, 4 * mib), extent(6 * mib, 4 * mib)}), DCD_OVERLAP);
    EXPECT_EQ(list.offer(std::vector<dcd_ext>(DCD_GROUP_MAX + 1, extent(0, block))), DCD_TOO_MANY);
}

// An offer that was answered but whose record was not cleared is shown again.
TEST(Offer, HeldAlreadyIsKnown) {
    List list;
    ASSERT_EQ(list.insert(extent(0, 4 * mib)), 0);
    ASSERT_EQ(list.insert(extent(4 * mib, 4 * mib)), 0);
    EXPECT_EQ(list.offer({extent(0, 4 * mib)}), DCD_KNOWN);
    EXPECT_EQ(list.offer({extent(4 * mib, 4 * mib), extent(0, 4 * mib)}), DCD_KNOWN);
    EXPECT_EQ(list.offer({extent(0, 4 * mib), extent(8 * mib, 2 * mib)}), DCD_OVERLAP);
    EXPECT_EQ(list.offer({extent(0, 2 * mib)}), DCD_OVERLAP);
}

TEST(Offer, LiesInTheRegionAndOnItsBlocks) {
    List list;
    const dcd_bounds high{.base = 256 * mib, .len = 256 * mib, .block = 64 * mib};
    EXPECT_EQ(list.offer({extent(256 * mib, 64 * mib)}, high), DCD_OK);
    EXPECT_EQ(list.offer({extent(0, 64 * mib)}, high), DCD_OUTSIDE);
    EXPECT_EQ(list.offer({extent(448 * mib, 128 * mib)}, high), DCD_OUTSIDE);
    EXPECT_EQ(list.offer({extent(256 * mib, 2 * mib)}, high), DCD_UNALIGNED);
}

TEST(Offer, KeepsTheRulesOfTags) {
    List list;
    EXPECT_EQ(list.offer({extent(0, block, 7), extent(block, block, 7)}), DCD_OK);
    EXPECT_EQ(list.offer({extent(0, block, 7), extent(block, block, 8)}), DCD_TAGS_MIXED);
    EXPECT_EQ(list.offer({extent(0, block, 7), extent(block, block)}), DCD_TAGS_MIXED);
    ASSERT_EQ(list.insert(extent(0, block, 7)), 0);
    EXPECT_EQ(list.offer({extent(block, block, 7)}), DCD_TAG_REUSED);
    EXPECT_EQ(list.offer({extent(block, block, 8)}), DCD_OK);
    EXPECT_EQ(list.offer({extent(block, block)}), DCD_OK) << "the null tag is no tag";
}

TEST(Offer, KeepsTheRulesOfSharedSequences) {
    List list;
    auto shared = [](std::initializer_list<u16> seqs) {
        std::vector<dcd_ext> group;
        for (u16 s : seqs) group.push_back(extent(group.size() * block, block, 3, s));
        return group;
    };
    EXPECT_EQ(list.offer(shared({1, 2, 3})), DCD_OK);
    EXPECT_EQ(list.offer(shared({3, 1, 2})), DCD_OK) << "in any order";
    EXPECT_EQ(list.offer(shared({1, 3})), DCD_SEQ_GAP);
    EXPECT_EQ(list.offer(shared({2, 3})), DCD_SEQ_GAP);
    EXPECT_EQ(list.offer(shared({1, 1})), DCD_SEQ_GAP);
    EXPECT_EQ(list.offer(shared({0, 1})), DCD_SEQ_GAP);
}

TEST(Release, NeverCarves) {
    List list;
    ASSERT_EQ(list.insert(extent(4 * mib, 4 * mib)), 0);
    ASSERT_EQ(list.insert(extent(8 * mib, 4 * mib)), 0);
    EXPECT_EQ(dcd_release_check(list.get(), 4 * mib, 4 * mib), DCD_OK);
    EXPECT_EQ(dcd_release_check(list.get(), 0, 64 * mib), DCD_OK);
    EXPECT_EQ(dcd_release_check(list.get(), 4 * mib, 2 * mib), DCD_PART);
    EXPECT_EQ(dcd_release_check(list.get(), 6 * mib, 6 * mib), DCD_PART);
    EXPECT_EQ(dcd_release_check(list.get(), 4 * mib, 6 * mib), DCD_PART);
    EXPECT_EQ(dcd_release_check(list.get(), 0, 4 * mib), DCD_NONE);
    EXPECT_EQ(dcd_release_check(list.get(), 12 * mib, 4 * mib), DCD_NONE);
    EXPECT_EQ(dcd_release_check(list.get(), 4 * mib, 0), DCD_NONE);
    EXPECT_EQ(dcd_release_check(list.get(), 4 * mib, ~0ULL), DCD_NONE);
}

TEST(Verdict, EveryOneHasWords) {
    for (int v = DCD_OK; v <= DCD_NONE; v++)
        EXPECT_GT(std::strlen(dcd_verdict_text(static_cast<dcd_verdict>(v))), 3u);
    EXPECT_NE(dcd_verdict_text(static_cast<dcd_verdict>(999)), nullptr);
}

std::optional<dcd_want_line> want(const char* text) {
    dcd_want_line line{};
    if (dcd_want_parse(text, &line) != 0) return std::nullopt;
    return line;
}

TEST(Want, ReadsWhatDocsPromise) {
    auto ram = want("0 268435456 plugged ram\n");
    ASSERT_TRUE(ram);
    EXPECT_EQ(ram->len, 256 * mib);
    EXPECT_TRUE(ram->plugged);
    EXPECT_FALSE(ram->dax);
    auto dax = want("0x10000000 0x200000 plugged dax");
    ASSERT_TRUE(dax);
    EXPECT_EQ(dax->dpa, 256 * mib);
    EXPECT_TRUE(dax->dax);
    auto off = want("2097152 2097152 unplugged\n");
    ASSERT_TRUE(off);
    EXPECT_FALSE(off->plugged);
}

TEST(Want, RefusesEverythingElse) {
    for (const char* bad :
         {"", "\n", "0", "0 2097152", "0 2097152 plugged", "0 2097152 plugged rom",
          "0 2097152 plugged ram x", "0 2097152 unplugged ram", "0 0 unplugged",
          "-1 2097152 unplugged", "0 -2 unplugged", "x y unplugged", "0 2097152 unpluggedd",
          "0 2097152 plugged-ram", "0 2097152 averyveryverylongverbindeed ram"})
        EXPECT_FALSE(want(bad)) << bad;
}

// The twin: one bit a block for what is held, plus who starts where.
struct Bitmap {
    static constexpr u64 blocks = 24;
    std::array<int, blocks> owner{};  // 0 free, else number of the extent
    int next = 1;

    bool inside(u64 at, u64 n) const { return n > 0 && at + n <= blocks; }
    bool free(u64 at, u64 n) const {
        return std::all_of(owner.begin() + at, owner.begin() + at + n, [](int o) { return !o; });
    }
    bool exact(u64 at, u64 n) const {
        if (!inside(at, n) || !owner[at]) return false;
        const int who = owner[at];
        return std::count(owner.begin(), owner.end(), who) == static_cast<long>(n) &&
               std::all_of(owner.begin() + at, owner.begin() + at + n,
                           [who](int o) { return o == who; });
    }
    dcd_verdict release(u64 at, u64 n) const {
        bool any = false, part = false;
        for (u64 i = at; i < std::min(at + n, blocks); i++) {
            if (!owner[i]) continue;
            any = true;
            for (u64 j = 0; j < blocks; j++)
                if (owner[j] == owner[i] && (j < at || j >= at + n)) part = true;
        }
        return part ? DCD_PART : any ? DCD_OK : DCD_NONE;
    }
};

TEST(Twin, ListAgreesWithABitmap) {
    const dcd_bounds bounds{.base = 0, .len = Bitmap::blocks * block, .block = block};
    const bool held = rc::check("random inserts, removes and questions", [&] {
        List list;
        Bitmap twin;
        const auto steps = *rc::gen::container<std::vector<std::tuple<int, u64, u64>>>(
            rc::gen::tuple(rc::gen::inRange(0, 4), rc::gen::inRange<u64>(0, Bitmap::blocks + 2),
                           rc::gen::inRange<u64>(0, 8)));
        for (auto [what, at, n] : steps) {
            const bool inside = twin.inside(at, n);
            switch (what) {
                case 0: {  // offered, and inserted if the rules allow it
                    const dcd_ext e = extent(at * block, n * block);
                    const dcd_verdict verdict = list.offer({e}, bounds);
                    const dcd_verdict expected = twin.exact(at, n)   ? DCD_KNOWN
                                                 : n == 0            ? DCD_EMPTY
                                                 : !inside           ? DCD_OUTSIDE
                                                 : !twin.free(at, n) ? DCD_OVERLAP
                                                                     : DCD_OK;
                    RC_ASSERT(verdict == expected);
                    if (verdict != DCD_OK) break;
                    RC_ASSERT(list.insert(e) == 0);
                    std::fill_n(twin.owner.begin() + at, n, twin.next++);
                    break;
                }
                case 1: {
                    const bool was = twin.exact(at, n);
                    RC_ASSERT(list.remove(at * block, n * block) == was);
                    if (was) std::fill_n(twin.owner.begin() + at, n, 0);
                    break;
                }
                case 2:
                    RC_ASSERT(dcd_release_check(list.get(), at * block, n * block) ==
                              twin.release(at, n));
                    break;
                default:
                    if (inside)
                        RC_ASSERT((dcd_list_overlap(list.get(), at * block, n * block) ==
                                   nullptr) == twin.free(at, n));
            }
            for (u32 i = 1; i < list.get()->n; i++)
                RC_ASSERT(list.get()->v[i - 1]->dpa + list.get()->v[i - 1]->len <=
                          list.get()->v[i]->dpa);
        }
    });
    EXPECT_TRUE(held);
}

}  // namespace
