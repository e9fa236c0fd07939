// SPDX-License-Identifier: Apache-2.0
// fmd's list of wishes is taken whole or not at all.
#include "poold/desired.h"

#include <gtest/gtest.h>

#include <random>

namespace poold {
namespace {

constexpr const char* good =
    R"({"rev":7,"extents":[{"serial":1,"dpa":0,"len":268435456,"grant":"g1","use":"ram","want":"plugged"},)"
    R"({"serial":1,"dpa":268435456,"len":2097152,"grant":"g2","use":"dax","want":"unplugged"}]})";

TEST(Desired, IsRead) {
    auto desired = parse_desired(good);
    ASSERT_TRUE(desired);
    EXPECT_EQ(desired->rev, 7u);
    ASSERT_EQ(desired->wishes.size(), 2u);
    EXPECT_EQ(desired->wishes[0], (Wish{{1, 0, 268435456}, "g1", Use::ram, Want::plugged}));
    EXPECT_EQ(desired->wishes[1], (Wish{{1, 268435456, 2097152}, "g2", Use::dax, Want::unplugged}));
}

TEST(Desired, AnythingWrongIsRefusedWithASentence) {
    for (
        const char* bad : {
            "",
            "nonsense",
            "[]",
            "{}",
            R"({"rev":1})",
            R"({"rev":-1,"extents":[]})",
            R"({"rev":1,"extents":{}})",
            R"({"rev":1,"extents":[1]})",
            R"({"rev":1,"extents":[{"serial":1,"dpa":0,"len":0,"grant":"g","use":"ram","want":"plugged"}]})",
            R"({"rev":1,"extents":[{"serial":1,"dpa":0,"len":1,"grant":"g","use":"disk","want":"plugged"}]})",
            R"({"rev":1,"extents":[{"serial":1,"dpa":0,"len":1,"grant":"g","use":"ram","want":"gone"}]})",
            R"({"rev":1,"extents":[{"serial":1,"dpa":0,"len":1,"use":"ram","want":"plugged"}]})",
            R"({"rev":1,"extents":[{"serial":"1","dpa":0,"len":1,"grant":"g","use":"ram","want":"plugged"}]})",
            R"({"rev":1,"extents":[{"serial":1,"dpa":18446744073709551615,"len":2,"grant":"g","use":"ram","want":"plugged"}]})",
            // twice the same extent: which of the two is meant?
            R"({"rev":1,"extents":[{"serial":1,"dpa":0,"len":1,"grant":"g","use":"ram","want":"plugged"},{"serial":1,"dpa":0,"len":1,"grant":"h","use":"ram","want":"unplugged"}]})",
        }) {
        auto desired = parse_desired(bad);
        ASSERT_FALSE(desired) << bad;
        EXPECT_NE(desired.error().sentence.find("was not taken: "), std::string::npos);
    }
}

TEST(Desired, AnyDamageToAGoodListIsRefusedOrStillWellFormed) {
    std::mt19937 random(42);
    for (int round = 0; round < 3000; ++round) {
        std::string body = good;
        for (int i = 0; i < 3; ++i) body[random() % body.size()] = static_cast<char>(random());
        if (round % 3 == 0) body.resize(random() % body.size());
        auto desired = parse_desired(body);
        if (!desired) continue;
        for (const Wish& wish : desired->wishes) EXPECT_GT(wish.key.len, 0u);
    }
}

}  // namespace
}  // namespace poold
