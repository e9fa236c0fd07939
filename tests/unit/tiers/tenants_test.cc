// SPDX-License-Identifier: Apache-2.0
// Shares of the near tier: stories, what the rule promises, and a twin that hands out page by page.
#include "tier/tenants.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

namespace libpool::tier {
namespace {

Tenant tenant(const char* name, uint64_t hot_pages, uint64_t weight = 100, uint64_t floor = 0,
              uint64_t cap = UINT64_MAX) {
    return {name, floor, cap, weight, {{hot_pages, 10.0}}};
}

std::vector<uint64_t> pages_of(const Result<Shares>& shares) {
    std::vector<uint64_t> pages;
    for (const Share& share : shares->tenants) pages.push_back(share.near_pages);
    return pages;
}

TEST(Tenants, ThoseWhoWantMoreShareWhatTheOthersLeave) {
    std::vector<Tenant> all{tenant("web", 1000), tenant("cron", 100), tenant("db", 1000, 200)};
    auto shares = divide(1000, all);
    ASSERT_TRUE(shares);
    EXPECT_EQ(pages_of(shares), (std::vector<uint64_t>{300, 100, 600}));
    EXPECT_EQ(shares->tenants[0].limit, Limit::share);
    EXPECT_EQ(shares->tenants[1].limit, Limit::satisfied);
    EXPECT_EQ(shares->free_pages, 0u);
    EXPECT_EQ(describe(all[1], shares->tenants[1]),
              "floor 0, cap none, weight 100: 100 pages near, all it has a use for");
}

TEST(Tenants, AFloorIsKeptAndPaidByTheOthersAlike) {
    std::vector<Tenant> all{tenant("small", 500, 1, 400), tenant("a", 1000), tenant("b", 1000)};
    auto shares = divide(1000, all);
    EXPECT_EQ(pages_of(shares), (std::vector<uint64_t>{400, 300, 300}));
    EXPECT_EQ(shares->tenants[0].limit, Limit::floor);
}

TEST(Tenants, AFloorIsNotKeptForPagesThatNobodyTouches) {
    std::vector<Tenant> all{tenant("idle", 10, 1, 400), tenant("busy", 1000)};
    EXPECT_EQ(pages_of(divide(500, all)), (std::vector<uint64_t>{10, 490}));
}

TEST(Tenants, FloorsThatDoNotFitAreCutByWeight) {
    std::vector<Tenant> all{tenant("a", 900, 100, 900), tenant("b", 900, 200, 900),
                            tenant("c", 900, 100)};
    EXPECT_EQ(pages_of(divide(600, all)), (std::vector<uint64_t>{200, 400, 0}));
}

TEST(Tenants, ACapHoldsAndWhatItForbidsStaysFree) {
    std::vector<Tenant> all{tenant("a", 900, 100, 0, 100), tenant("b", 50)};
    auto shares = divide(1000, all);
    EXPECT_EQ(pages_of(shares), (std::vector<uint64_t>{100, 50}));
    EXPECT_EQ(shares->tenants[0].limit, Limit::cap);
    EXPECT_EQ(shares->free_pages, 850u);
}

TEST(Tenants, PagesTouchedTooSeldomToBeWorthAMoveDoNotCount) {
    std::vector<Tenant> all{{"a", 0, UINT64_MAX, 100, {{10, 5.0}, {1000, 0.1}}}, tenant("b", 40)};
    auto shares = divide(100, all, 0.5);
    EXPECT_EQ(pages_of(shares), (std::vector<uint64_t>{10, 40}));
    EXPECT_DOUBLE_EQ(shares->tenants[0].served_rate, 50);
}

TEST(Tenants, TheLastPageGoesWhereItIsTouchedMost) {
    std::vector<Tenant> all{{"a", 0, UINT64_MAX, 1, {{9, 1.0}}},
                            {"b", 0, UINT64_MAX, 1, {{9, 7.0}}}};
    EXPECT_EQ(pages_of(divide(5, all)), (std::vector<uint64_t>{2, 3}));
}

TEST(Tenants, BadOnesAreNamed) {
    auto sentence = [](const Tenant& bad) { return divide(1, {&bad, 1}).error().sentence; };
    EXPECT_EQ(sentence(tenant("t", 1, 0)), "tenant t: a weight is 1 to 10000, not 0");
    EXPECT_EQ(sentence(tenant("t", 1, 1, 5, 4)),
              "tenant t: its floor of 5 pages is above its cap of 4");
    EXPECT_EQ(sentence({"t", 0, 9, 1, {{1, 2.0}, {1, 3.0}}}),
              "tenant t: the rates of its benefit curve do not fall at step 1");
    EXPECT_EQ(sentence({"t", 0, 9, 1, {{1, -1.0}}}),
              "tenant t: the rates of its benefit curve do not fall at step 0");
    EXPECT_TRUE(divide(7, {}));
    EXPECT_EQ(divide(7, {})->free_pages, 7u);
}

TEST(Tenants, AsManyAsThereMayBeAlikeAreServedAlike) {
    std::vector<Tenant> all(tenant_limit, tenant("t", 100));
    for (Tenant& one : all) one.benefit.assign(256, {100, 10.0});
    auto shares = divide(tenant_limit * 3 - 1, all);
    ASSERT_TRUE(shares) << shares.error().sentence;
    std::vector<uint64_t> pages = pages_of(shares);
    EXPECT_EQ(pages.back(), 2u);  // of equals the first ones come first
    pages.pop_back();
    EXPECT_EQ(pages, std::vector<uint64_t>(tenant_limit - 1, 3));
    all.push_back(tenant("t", 1));
    EXPECT_EQ(divide(1, all).error().sentence, "4097 tenants: 4096 is the limit");
}

TEST(Tenants, NumbersAsLargeAsTheyGetDoNotOverflow) {
    std::vector<Tenant> all{tenant("a", UINT64_MAX, weight_limit),
                            tenant("b", UINT64_MAX, 1, 1),
                            {"c", 0, UINT64_MAX, 1, {{UINT64_MAX, 2}, {UINT64_MAX, 1}}}};
    auto shares = divide(UINT64_MAX, all);
    unsigned __int128 sum = shares->free_pages;
    for (const Share& share : shares->tenants) sum += share.near_pages;
    EXPECT_TRUE(sum == UINT64_MAX);
    EXPECT_EQ(shares->free_pages, 0u);
}

// ---- any tenants ----

std::vector<Tenant> any_tenants() {
    std::vector<Tenant> all(*rc::gen::inRange<size_t>(1, 7));
    for (Tenant& one : all) {
        one.name = "t";
        one.weight = *rc::gen::weightedOneOf<uint64_t>(
            {{3, rc::gen::inRange<uint64_t>(1, 5)}, {1, rc::gen::inRange<uint64_t>(1, 10001)}});
        if (*rc::gen::arbitrary<bool>()) one.cap_pages = *rc::gen::inRange<uint64_t>(0, 80);
        if (*rc::gen::arbitrary<bool>()) {
            one.floor_pages = std::min(one.cap_pages, *rc::gen::inRange<uint64_t>(0, 60));
        }
        double rate = *rc::gen::inRange(0, 9);
        for (int steps = *rc::gen::inRange(0, 4); steps-- > 0;) {
            one.benefit.push_back({*rc::gen::inRange<uint64_t>(0, 40), rate});
            rate = std::max(0.0, rate - *rc::gen::inRange(0, 4));
        }
    }
    return all;
}

uint64_t use_of(const Tenant& one, double worth_rate) {
    uint64_t pages = 0;
    for (auto& step : one.benefit) pages += step.rate > worth_rate ? step.pages : 0;
    return pages;
}
uint64_t want_of(const Tenant& one, double worth_rate) {
    return std::min(one.cap_pages, use_of(one, worth_rate));
}

// The rule word for word: one page at a time, to the first floor and then beyond.
std::vector<uint64_t> twin(uint64_t capacity, const std::vector<Tenant>& all, double worth_rate) {
    std::vector<uint64_t> pages(all.size(), 0);
    auto next_rate = [&](size_t i) {
        uint64_t at = 0;
        for (auto& step : all[i].benefit) {
            at += step.pages;
            if (pages[i] < at) return step.rate;
        }
        return 0.0;
    };
    for (bool floors : {true, false}) {
        while (capacity > 0) {
            int best = -1;
            for (size_t i = 0; i < all.size(); ++i) {
                uint64_t most = want_of(all[i], worth_rate);
                if (floors) most = std::min(most, all[i].floor_pages);
                if (pages[i] >= most) continue;
                if (best < 0) {
                    best = int(i);
                    continue;
                }
                uint64_t mine = (pages[i] + 1) * all[size_t(best)].weight;
                uint64_t its = (pages[size_t(best)] + 1) * all[i].weight;
                if (mine < its || (mine == its && next_rate(i) > next_rate(size_t(best)))) {
                    best = int(i);
                }
            }
            if (best < 0) break;
            ++pages[size_t(best)];
            --capacity;
        }
    }
    return pages;
}

RC_GTEST_PROP(Tenants, AreServedAsTheTwinDoesPageByPage, ()) {
    auto all = any_tenants();
    uint64_t capacity = *rc::gen::inRange<uint64_t>(0, 300);
    double worth = *rc::gen::inRange(0, 3);
    RC_ASSERT(pages_of(divide(capacity, all, worth)) == twin(capacity, all, worth));
}

RC_GTEST_PROP(Tenants, KeepCapacityFloorsCapsAndEnvyNobody, ()) {
    auto all = any_tenants();
    uint64_t capacity = *rc::gen::inRange<uint64_t>(0, 300);
    auto shares = divide(capacity, all);
    uint64_t sum = shares->free_pages, floors = 0;
    for (auto& one : all) floors += std::min(one.floor_pages, want_of(one, 0));
    for (size_t i = 0; i < all.size(); ++i) {
        uint64_t pages = shares->tenants[i].near_pages, want = want_of(all[i], 0);
        sum += pages;
        RC_ASSERT(pages <= want);  // hence within the cap
        if (floors <= capacity) RC_ASSERT(pages >= std::min(all[i].floor_pages, want));
        if (pages < want) RC_ASSERT(shares->free_pages == 0u);
        if (pages == use_of(all[i], 0)) RC_ASSERT(shares->tenants[i].limit == Limit::satisfied);
        for (size_t k = 0; pages < want && k < all.size(); ++k) {
            uint64_t other = shares->tenants[k].near_pages;
            if (floors > capacity || other <= all[k].floor_pages) continue;
            // Had it one page more, it would not be below the other per weight.
            RC_ASSERT((pages + 1) * all[k].weight >= other * all[i].weight);
        }
    }
    RC_ASSERT(sum == capacity);
}

RC_GTEST_PROP(Tenants, NobodyLosesByMoreCapacityOrByAHigherWeightOfItsOwn, ()) {
    auto all = any_tenants();
    uint64_t capacity = *rc::gen::inRange<uint64_t>(0, 300);
    auto before = pages_of(divide(capacity, all));
    auto more = pages_of(divide(capacity + *rc::gen::inRange<uint64_t>(1, 50), all));
    for (size_t i = 0; i < all.size(); ++i) RC_ASSERT(more[i] >= before[i]);
    size_t who = *rc::gen::inRange<size_t>(0, all.size());
    all[who].weight = std::min(weight_limit, all[who].weight * 2);
    RC_ASSERT(pages_of(divide(capacity, all))[who] >= before[who]);
}

}  // namespace
}  // namespace libpool::tier
