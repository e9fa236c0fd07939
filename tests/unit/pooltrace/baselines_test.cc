// SPDX-License-Identifier: Apache-2.0
#include "tier/baselines.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "pooltrace/generate.h"
#include "pooltrace/metrics.h"

namespace libpool::tier::trace {
namespace {

GenerateOptions small(const std::string& kind) {
    GenerateOptions o;
    o.kind = kind;
    o.pages = 2048;
    o.near_pages = 256;
    o.epochs = 120;
    o.accesses_per_s = 5e5;
    return o;
}

Summary run(const std::string& name, const GenerateOptions& o, World world = {}) {
    auto made = generate(o);
    world.near_pages = o.near_pages;
    auto policy = make_policy(name, {});
    Outcome outcome = simulate(made->trace, **policy, world);
    Bound bound;
    bound.near_share = 1;
    return summarize(made->trace, world, outcome, bound, made->jumps);
}

TEST(Baselines, AreMadeByName) {
    for (std::string_view name : policy_names()) EXPECT_TRUE(make_policy(name, {})) << name;
    auto none = make_policy("lru", {});
    ASSERT_FALSE(none);
    EXPECT_EQ(none.error().sentence,
              "There is no policy \"lru\"; there are: first-touch tpp histogram two-ewma ours.");
}

TEST(Baselines, FirstTouchNeverMovesAndCostsNothing) {
    Summary s = run("first-touch", small("hot"));
    EXPECT_EQ(s.promoted + s.demoted, 0u);
    EXPECT_EQ(s.overhead_share, 0);
    EXPECT_EQ(s.near_share, s.base_near_share);
}

// On what each was made for, each must clearly beat first touch, and follow the jump.
TEST(Baselines, FindAHotSetAndFollowIt) {
    for (const char* name : {"tpp", "histogram", "two-ewma"}) {
        SCOPED_TRACE(name);
        for (const char* kind : {"hot", "scattered"}) {
            Summary s = run(name, small(kind));
            EXPECT_GT(s.near_share, 0.7);
            EXPECT_LT(s.base_near_share, 0.2);
        }
    }
    EXPECT_TRUE(run("histogram", small("hot")).recovery.to_90_s);
    EXPECT_TRUE(run("two-ewma", small("hot")).recovery.to_90_s);
}

TEST(Baselines, KeepToTheirCpuBudget) {
    for (const char* name : {"tpp", "histogram", "two-ewma"}) {
        GenerateOptions o = small("uniform");
        o.pages = 16384;
        EXPECT_LT(run(name, o).overhead_share, 0.035) << name;
    }
}

TEST(Baselines, KeepToTheMoversCap) {
    World world;
    world.mover_pages_per_s = 10;
    for (const char* name : {"tpp", "histogram", "two-ewma"}) {
        Summary s = run(name, small("hot"), world);
        EXPECT_EQ(s.refused, 0u) << name;
        EXPECT_GT(s.promoted, 50u) << name;
        EXPECT_LE(s.promoted + s.demoted, 310u) << name;
    }
}

TEST(Baselines, LiveWithPagesThatComeAndGo) {
    for (std::string_view name : policy_names()) {
        SCOPED_TRACE(name);
        auto policy = std::move(*make_policy(name, {}));
        policy->track({0, 512});
        policy->track({1024, 512});
        std::vector<PageId> some = {0, 1, 2, 1024, 1025};
        policy->place(some, Place::far);
        Situation s;
        s.near_pages = s.near_room_pages = 2;
        s.far_room_pages = 10;
        for (int turn = 0; turn < 20; ++turn) {
            if (turn == 5) policy->forget({0, 512});
            if (turn == 10) policy->place(std::vector<PageId>{1024}, Place::nowhere);
            Aim aim = policy->aim(s);
            Reading reading{s.now_s, aim.rungs_s, aim.runs, {}, {}, {}};
            for (const auto& run : aim.runs) {
                EXPECT_TRUE(turn < 5 || run.first >= 1024);
                reading.sights.insert(reading.sights.end(), run.pages, 0);
            }
            s.now_s += 1;
            if (!aim.runs.empty()) policy->observe(reading, s);
            Plan plan = policy->decide(s);
            EXPECT_TRUE(plan.demote.empty());
            for (PageId page : plan.promote) {
                EXPECT_NE(std::ranges::find(some, page), some.end()) << page;
                EXPECT_TRUE(turn < 5 || page >= 1024);
                EXPECT_TRUE(turn < 10 || page != 1024);
            }
        }
    }
}

}  // namespace
}  // namespace libpool::tier::trace
