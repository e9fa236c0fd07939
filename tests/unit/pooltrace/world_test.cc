// SPDX-License-Identifier: Apache-2.0
#include "pooltrace/world.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <functional>
#include <map>
#include <numeric>

#include "pooltrace/generate.h"
#include "pooltrace/random.h"
#include "tier/baselines.h"

namespace libpool::tier::trace {
namespace {

// Samples everything each `window_s` and does what it is told.
class Scripted : public Policy {
  public:
    explicit Scripted(double window_s, std::function<Plan(const Situation&)> script = {})
        : window_s_(window_s), script_(std::move(script)) {}
    void track(Run run) override { run_ = run; }
    void forget(Run) override {}
    void place(std::span<const PageId> pages, Place where) override {
        for (PageId page : pages) places[page] = where;
    }
    Aim aim(const Situation&) override { return {0, {run_}, {window_s_}}; }
    void observe(const Reading& reading, const Situation&) override { last = reading; }
    Plan decide(const Situation& situation) override {
        seen.push_back(situation);
        return script_ ? script_(situation) : Plan{};
    }
    std::map<PageId, Place> places;
    std::vector<Situation> seen;
    Reading last;

  private:
    double window_s_;
    std::function<Plan(const Situation&)> script_;
    Run run_;
};

Trace trace_of(uint32_t pages, std::vector<uint32_t> counts) {
    Trace trace;
    trace.pages = pages;
    trace.epoch_ns = 1'000'000'000;
    trace.counts = std::move(counts);
    return trace;
}

TEST(World, FirstTouchServesFromWherePagesWereBorn) {
    Trace trace = trace_of(3, {1, 0, 2, 10, 5, 20, 10, 5, 20});
    auto policy = make_first_touch();
    World world;
    world.near_pages = 2;
    Outcome outcome = simulate(trace, *policy, world);
    // Pages 0 and 2 are born first and fill near memory; page 1 comes too late.
    EXPECT_EQ(outcome.rows[0].near, 3);
    EXPECT_EQ(outcome.rows[1].near, 30);
    EXPECT_EQ(outcome.rows[1].far, 5);
    EXPECT_EQ(outcome.rows[2].base_near, 30);
    EXPECT_EQ(outcome.rows[2].overhead_ns, 0);
    EXPECT_EQ(outcome.rows[2].near_used, 2u);
}

TEST(World, AHomeThatTheTraceNamesIsKept) {
    Trace trace = trace_of(3, {1, 1, 1});
    trace.home = {Place::far, Place::near, Place::nowhere};
    Scripted policy(0.5);
    World world;
    world.near_pages = 3;
    simulate(trace, policy, world);
    EXPECT_EQ(policy.places[0], Place::far);
    EXPECT_EQ(policy.places[1], Place::near);
    EXPECT_EQ(policy.places[2], Place::near);
}

TEST(World, AMoveServesWhatIsLeftOfTheEpochAndCosts) {
    Trace trace = trace_of(2, {1, 1, 8, 100, 8, 100, 8, 100});
    Scripted policy(1.25, [](const Situation& s) { return s.now_s < 2 ? Plan{{0}, {1}} : Plan{}; });
    World world;
    world.near_pages = 1;
    Outcome outcome = simulate(trace, policy, world);
    EXPECT_EQ(outcome.cycles, 3u);
    // Swapped at 1.25 s: three quarters of the second epoch are served the new way.
    EXPECT_DOUBLE_EQ(outcome.rows[1].near, 8 * 0.25 + 100 * 0.75);
    EXPECT_DOUBLE_EQ(outcome.rows[1].far, 8 * 0.75 + 100 * 0.25);
    EXPECT_DOUBLE_EQ(outcome.rows[1].base_near, 8);
    EXPECT_EQ(outcome.rows[1].promoted, 1u);
    EXPECT_EQ(outcome.rows[1].demoted, 1u);
    EXPECT_DOUBLE_EQ(outcome.rows[2].near, 100);
    EXPECT_EQ(policy.places[0], Place::far);
    EXPECT_EQ(policy.places[1], Place::near);
}

TEST(World, FaultsLooksAndArmingAreOverhead) {
    Trace trace = trace_of(2, {1, 1, 1000, 0});
    Scripted policy(0.999999);
    World world;
    world.near_pages = 1;
    world.costs = {.arm_page_ns = 1, .arm_run_ns = 10, .fault_ns = 100, .look_page_ns = 1000};
    world.decide_page_ns = 10000;
    Outcome outcome = simulate(trace, policy, world);
    // Both cycles that end were armed in the first epoch. The first finds both pages touched, the
    // second one; the third is still waiting for its look when the trace ends.
    const double each = 2 * 1 + 10 + 2 * 1000 + 2 * 10000;
    EXPECT_DOUBLE_EQ(outcome.rows[0].overhead_ns, 2 * each + 3 * 100);
    EXPECT_DOUBLE_EQ(outcome.rows[1].overhead_ns, each);
    EXPECT_DOUBLE_EQ(policy.seen.back().overhead_cpu_s, outcome.rows[0].overhead_ns * 1e-9);
    world.exact = true;
    Scripted fed(0.999999);
    outcome = simulate(trace, fed, world);
    EXPECT_EQ(outcome.rows[0].overhead_ns, 0);
    EXPECT_EQ(fed.last.counts.size(), 2u);
    EXPECT_GE(fed.last.counts[0], 999u);
}

TEST(World, WhatCannotBeIsRefused) {
    Trace trace = trace_of(4, {1, 1, 1, 0, 1, 1, 1, 0});
    int turn = 0;
    Scripted policy(0.75, [&](const Situation&) {
        // No room; a far page; a near page; a page that is not born; a page that does not exist.
        return turn++ == 0 ? Plan{{2}, {2, 0, 3, 99}} : Plan{};
    });
    World world;
    world.near_pages = 1;
    Outcome outcome = simulate(trace, policy, world);
    EXPECT_EQ(outcome.refused, 5u);
    EXPECT_EQ(outcome.rows[0].promoted + outcome.rows[0].demoted, 0u);
}

TEST(World, TheMoverKeepsToItsCap) {
    Trace trace = trace_of(100, std::vector<uint32_t>(100 * 10, 1));
    Scripted policy(0.5, [](const Situation& s) {
        Plan plan;
        for (PageId page = 0; page < 50; ++page) plan.demote.push_back(page);
        for (PageId page = 50; page < 100; ++page) plan.promote.push_back(page);
        EXPECT_LE(s.move_pages, 4u);
        return plan;
    });
    World world;
    world.near_pages = 50;
    world.mover_pages_per_s = 4;
    Outcome outcome = simulate(trace, policy, world);
    uint64_t moved = 0;
    for (const EpochRow& row : outcome.rows) moved += row.promoted + row.demoted;
    EXPECT_LE(moved, 40u);
    EXPECT_GE(moved, 34u);
}

TEST(World, PingPongIsAPageThatCameBack) {
    Trace trace = trace_of(2, std::vector<uint32_t>(2 * 40, 1));
    bool forward = true;
    Scripted policy(4, [&](const Situation&) {
        PageId out = forward ? 0 : 1;
        forward = !forward;
        return Plan{{out}, {1 - out}};
    });
    World world;
    world.near_pages = 1;
    auto ping_pongs = [&](uint32_t epochs) {
        world.ping_pong_epochs = epochs;
        uint64_t sum = 0;
        forward = true;
        for (const EpochRow& row : simulate(trace, policy, world).rows) sum += row.ping_pong;
        return sum;
    };
    EXPECT_EQ(ping_pongs(3), 0u);
    EXPECT_EQ(ping_pongs(4), 16u);  // 9 decisions, the first moves are no return
}

// Whatever a policy wants: capacity is kept, no access is lost, and the policy is told the truth.
RC_GTEST_PROP(World, KeepsItsBooksUnderAnyPolicy, ()) {
    Random random(*rc::gen::arbitrary<uint64_t>());
    auto pages = *rc::gen::inRange<uint32_t>(2, 40);
    auto epochs = *rc::gen::inRange<uint32_t>(1, 12);
    std::vector<uint32_t> counts(size_t(pages) * epochs);
    for (uint32_t& count : counts) count = random.below(2) ? uint32_t(random.below(20)) : 0;
    Trace trace = trace_of(pages, counts);
    Scripted policy(random.log_between(0.01, 3), [&](const Situation& s) {
        Plan plan;
        for (uint64_t i = random.below(8); i > 0; --i)
            plan.demote.push_back(uint32_t(random.below(pages)));
        for (uint64_t i = random.below(8); i > 0; --i)
            plan.promote.push_back(uint32_t(random.below(pages)));
        uint64_t near = 0;
        for (auto [page, place] : policy.places) near += place == Place::near;
        RC_ASSERT(s.near_room_pages + near == s.near_pages);
        return plan;
    });
    World world;
    world.near_pages = 1 + random.below(pages);
    Outcome outcome = simulate(trace, policy, world);
    RC_ASSERT(outcome.rows.size() == epochs);
    for (size_t e = 0; e < epochs; ++e) {
        const EpochRow& row = outcome.rows[e];
        auto row_counts = trace.epoch(e);
        double all = std::accumulate(row_counts.begin(), row_counts.end(), 0.0);
        RC_ASSERT(std::abs(row.near + row.far - all) < 1e-6);
        RC_ASSERT(std::abs(row.base_near + row.base_far - all) < 1e-6);
        RC_ASSERT(row.near >= -1e-6 && row.far >= -1e-6);
        RC_ASSERT(row.near_used <= world.near_pages);
    }
    Scripted idle(0.1);
    Outcome still = simulate(trace, idle, world);
    for (const EpochRow& row : still.rows) RC_ASSERT(row.near == row.base_near);
}

TEST(World, TheSameSeedIsTheSameRun) {
    GenerateOptions o;
    o.pages = 600;
    o.near_pages = 100;
    o.epochs = 30;
    Trace trace = generate(o)->trace;
    World world;
    world.near_pages = 100;
    auto run = [&](uint64_t seed) {
        world.seed = seed;
        TierConfig config;
        auto policy = make_tier_policy(config);
        std::vector<double> near;
        for (const EpochRow& row : simulate(trace, *policy, world).rows) near.push_back(row.near);
        return near;
    };
    EXPECT_EQ(run(1), run(1));
    EXPECT_NE(run(1), run(2));
}

}  // namespace
}  // namespace libpool::tier::trace
