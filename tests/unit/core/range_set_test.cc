// SPDX-License-Identifier: Apache-2.0
// RangeSet against a naive twin: one bit a byte of a small space.
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <bitset>

#include "core/extents.h"

namespace cxlpool {
namespace {

constexpr Bytes kSpace = 64;
using Bitmap = std::bitset<kSpace>;

Bitmap bits_of(Range range) {
    Bitmap bits;
    for (Bytes at = range.dpa; at < range.end(); ++at) bits.set(at);
    return bits;
}

Bitmap bits_of(const RangeSet& set) {
    Bitmap bits;
    for (const Range& range : set.ranges()) bits |= bits_of(range);
    return bits;
}

Range any_range() {
    const Bytes from = *rc::gen::inRange<Bytes>(0, kSpace);
    return {from, *rc::gen::inRange<Bytes>(0, kSpace - from + 1)};
}

// Sorted, disjoint, not touching, none empty.
void well_formed(const RangeSet& set) {
    const auto& all = set.ranges();
    for (std::size_t i = 0; i < all.size(); ++i) {
        RC_ASSERT(all[i].length > 0u);
        if (i > 0) RC_ASSERT(all[i - 1].end() < all[i].dpa);
    }
}

// A set made by random additions and subtractions, and its twin.
std::pair<RangeSet, Bitmap> any_set() {
    RangeSet set;
    Bitmap twin;
    const int steps = *rc::gen::inRange(0, 12);
    for (int i = 0; i < steps; ++i) {
        const Range range = any_range();
        if (*rc::gen::inRange(0, 3) > 0) {
            set.add(range);
            twin |= bits_of(range);
        } else {
            set.subtract(range);
            twin &= ~bits_of(range);
        }
        well_formed(set);
        RC_ASSERT(bits_of(set) == twin);
    }
    return {set, twin};
}

TEST(RangeSet, AddAndSubtractDoWhatBitsDo) {
    EXPECT_TRUE(rc::check("add, subtract", [] { any_set(); }));
}

TEST(RangeSet, AnswersWhatBitsAnswer) {
    EXPECT_TRUE(rc::check("contains, intersects, within, bytes", [] {
        const auto [set, twin] = any_set();
        const Range range = any_range();
        const Bitmap asked = bits_of(range);
        RC_ASSERT(set.bytes() == twin.count());
        RC_ASSERT(set.empty() == twin.none());
        RC_ASSERT(set.intersects(range) == (twin & asked).any());
        RC_ASSERT(set.contains(range) == ((twin & asked) == asked));
        const RangeSet part = set.within(range);
        well_formed(part);
        RC_ASSERT(bits_of(part) == (twin & asked));
    }));
}

TEST(RangeSet, WholeSetsAddAndSubtract) {
    EXPECT_TRUE(rc::check("set + set, set - set", [] {
        const auto [one, one_bits] = any_set();
        const auto [two, two_bits] = any_set();
        RangeSet sum = one, rest = one;
        sum.add(two);
        rest.subtract(two);
        well_formed(sum);
        well_formed(rest);
        RC_ASSERT(bits_of(sum) == (one_bits | two_bits));
        RC_ASSERT(bits_of(rest) == (one_bits & ~two_bits));
    }));
}

TEST(RangeSet, OneSetHasOneForm) {
    EXPECT_TRUE(rc::check("equal bits, equal sets", [] {
        const auto [set, twin] = any_set();
        RangeSet rebuilt;
        for (Bytes at = kSpace; at-- > 0;) {
            if (twin.test(at)) rebuilt.add({at, 1});
        }
        RC_ASSERT(rebuilt == set);
    }));
}

TEST(RangeSet, ReachesTheEndOfTheAddressSpace) {
    const Bytes top = ~Bytes{0};
    RangeSet set(Range{top - 4, 4});
    set.add({top - 8, 4});
    EXPECT_EQ(set.ranges().size(), 1u);
    EXPECT_EQ(set.bytes(), 8u);
    EXPECT_TRUE(set.contains({top - 8, 8}));
}

}  // namespace
}  // namespace cxlpool
