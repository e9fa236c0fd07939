// SPDX-License-Identifier: Apache-2.0
// The bound is checked against two others that share nothing with it: all placements of tiny
// worlds, and minimum-cost flow.
#include "pooltrace/bound.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <bit>
#include <limits>

#include "exact_flow.h"
#include "pooltrace/generate.h"
#include "pooltrace/random.h"

namespace libpool::tier::trace {
namespace {

constexpr int64_t loss = 150, move = 2000;

Trace random_trace(uint64_t seed, uint32_t pages, uint32_t epochs, bool late) {
    Random random(seed);
    Trace trace;
    trace.pages = pages;
    trace.epoch_ns = 1'000'000;
    std::vector<uint32_t> birth(pages), rate(pages);
    for (uint32_t page = 0; page < pages; ++page) {
        birth[page] = late && random.below(2) ? uint32_t(random.below(epochs)) : 0;
        rate[page] = 1 + uint32_t(random.below(30));
    }
    for (uint32_t e = 0; e < epochs; ++e) {
        for (uint32_t page = 0; page < pages; ++page) {
            if (random.below(4) == 0) rate[page] = uint32_t(random.below(40));
            uint32_t count = e < birth[page] ? 0 : uint32_t(random.below(rate[page] + 1));
            trace.counts.push_back(e == birth[page] ? std::max(1u, count) : count);
        }
    }
    return trace;
}

exact::Problem problem_of(const Trace& trace, uint32_t near_pages) {
    exact::Problem problem;
    problem.pages = trace.pages;
    problem.epochs = uint32_t(trace.epochs());
    problem.near_pages = near_pages;
    problem.loss = loss;
    problem.move = move;
    problem.counts = trace.counts;
    for (Place place : first_places(trace, near_pages))
        problem.home.push_back(place == Place::near ? 'n' : place == Place::far ? 'f' : '-');
    return problem;
}

// Every placement in every epoch.
int64_t brute_force(const exact::Problem& p) {
    constexpr int64_t never = std::numeric_limits<int64_t>::max() / 2;
    uint32_t sets = 1u << p.pages;
    std::vector<int64_t> best(sets, never), next(sets);
    uint32_t homes = 0, born = 0;
    for (uint32_t page = 0; page < p.pages; ++page) {
        homes |= uint32_t(p.home[page] == 'n') << page;
        born |= uint32_t(p.home[page] != '-') << page;
    }
    best[homes] = 0;
    for (uint32_t e = 0; e < p.epochs; ++e) {
        uint32_t alive = born;
        for (uint32_t page = 0; page < p.pages; ++page)
            alive |= uint32_t(p.counts[e * p.pages + page] != 0) << page;
        for (uint32_t to = 0; to < sets; ++to) {
            next[to] = never;
            if ((to & ~alive) != 0 || std::popcount(to) > int(p.near_pages)) continue;
            for (uint32_t from = 0; from < sets; ++from) {
                if (best[from] == never) continue;
                int64_t cost = best[from] + move * std::popcount((from ^ to) & born);
                next[to] = std::min(next[to], cost);
            }
            for (uint32_t page = 0; page < p.pages; ++page)
                if (!(to >> page & 1)) next[to] += loss * p.counts[e * p.pages + page];
        }
        born = alive;
        best = next;
    }
    return *std::min_element(best.begin(), best.end());
}

RC_GTEST_PROP(Bound, TinyWorldsAgreeWithAllPlacements, ()) {
    auto seed = *rc::gen::arbitrary<uint64_t>();
    auto pages = *rc::gen::inRange<uint32_t>(2, 6);
    auto epochs = *rc::gen::inRange<uint32_t>(1, 7);
    auto near = *rc::gen::inRange<uint32_t>(1, pages + 1);
    Trace trace = random_trace(seed, pages, epochs, *rc::gen::arbitrary<bool>());
    exact::Problem problem = problem_of(trace, near);
    int64_t truth = brute_force(problem);
    RC_ASSERT(exact::optimum(problem) == truth);
    BoundProblem same{near, double(loss), double(move)};
    Bound bound = lower_bound(trace, same, {400, 1e-6});
    RC_ASSERT(bound.cost_ns <= double(truth) * (1 + 1e-9));
    RC_ASSERT(bound.plan_ns >= double(truth) * (1 - 1e-9));
    // Any prices certify.
    Random random(seed);
    std::vector<double> prices(epochs);
    for (double& price : prices) price = random.between(0, 8000);
    RC_ASSERT(dual_value(trace, same, prices) <= double(truth) * (1 + 1e-9));
}

TEST(Bound, IsCloseToTheExactFlowAtMediumSize) {
    for (uint64_t seed = 1; seed <= 3; ++seed) {
        SCOPED_TRACE(seed);
        Trace trace = random_trace(seed, 200, 30, seed == 2);
        exact::Problem problem = problem_of(trace, 50);
        auto truth = double(exact::optimum(problem));
        Bound bound = lower_bound(trace, {50, double(loss), double(move)}, {1000, 1e-4});
        EXPECT_LE(bound.cost_ns, truth * (1 + 1e-9));
        EXPECT_GE(bound.cost_ns, truth * 0.99);
        EXPECT_GE(bound.plan_ns, truth * (1 - 1e-9));
        EXPECT_LE(bound.plan_ns, truth * 1.03);
    }
}

TEST(Bound, IsCloseToTheExactFlowOnGeneratedTraces) {
    for (const char* kind : {"hot", "zipf", "pagerank", "turns", "cyclic"}) {
        SCOPED_TRACE(kind);
        GenerateOptions o;
        o.kind = kind;
        o.pages = 160;
        o.near_pages = 20;
        o.epochs = 40;
        o.accesses_per_s = 2e4;
        Trace trace = generate(o)->trace;
        auto truth = double(exact::optimum(problem_of(trace, 20)));
        Bound bound = lower_bound(trace, {20, double(loss), double(move)}, {1000, 1e-4});
        EXPECT_LE(bound.cost_ns, truth * (1 + 1e-9));
        EXPECT_GE(bound.cost_ns, truth * 0.99);
    }
}

TEST(Bound, WithRoomForEverythingCostsOnlyWhatStartsFar) {
    Trace trace = random_trace(7, 20, 10, false);
    Bound bound = lower_bound(trace, {20, double(loss), double(move)});
    EXPECT_DOUBLE_EQ(bound.cost_ns, 0);
    EXPECT_DOUBLE_EQ(bound.plan_ns, 0);
    EXPECT_DOUBLE_EQ(bound.near_share, 1);
}

}  // namespace
}  // namespace libpool::tier::trace
