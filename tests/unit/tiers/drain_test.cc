// SPDX-License-Identifier: Apache-2.0
// Draining a node: the order, and carrying it out against a kernel that has little room, busy
// pages, slow moves and programs that go on allocating.
#include "tier/drain.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <map>

namespace libpool::tier {
namespace {

constexpr uint64_t page = 4096;

DrainUnit unit(uint64_t number, float rate, uint32_t pages = 1) {
    return {number * page, pages, rate};
}

std::vector<float> rates(const std::vector<DrainUnit>& units) {
    std::vector<float> all;
    for (auto& one : units) all.push_back(one.rate);
    return all;
}

TEST(DrainOrder, TheHottestGoNearAndTheOthersToFarNodesThatStay) {
    auto order = order_drain({unit(0, 1), unit(1, 9), unit(2, 0), unit(3, 5)}, {2, 100}, 0.5);
    EXPECT_EQ(rates(order.near), (std::vector<float>{9, 5}));
    EXPECT_EQ(rates(order.far), (std::vector<float>{1, 0}));
    EXPECT_TRUE(order.stay.empty());
}

TEST(DrainOrder, WhatIsNotWorthAPlaceNearGoesThereOnlyWhenFarIsFull) {
    auto order = order_drain({unit(0, 0.1f), unit(1, 9), unit(2, 0), unit(3, 0)}, {3, 1}, 0.5);
    EXPECT_EQ(rates(order.near), std::vector<float>{9});
    EXPECT_EQ(rates(order.far), std::vector<float>{0.1f});
    EXPECT_EQ(rates(order.late_near), (std::vector<float>{0, 0}));
}

TEST(DrainOrder, TheColdestStayWhereThereIsNoRoom) {
    auto order = order_drain({unit(0, 3), unit(1, 2), unit(2, 1)}, {1, 1}, 0);
    EXPECT_EQ(rates(order.stay), std::vector<float>{1});
}

RC_GTEST_PROP(DrainOrder, LosesNothingOverfillsNothingAndNeverPutsAColderPageNearer, ()) {
    std::vector<DrainUnit> units;
    uint64_t all = 0;
    for (int i = *rc::gen::inRange(0, 40); i > 0; --i) {
        uint32_t pages = *rc::gen::element(1u, 1u, 1u, 512u);
        units.push_back(unit(uint64_t(i) * 512, float(*rc::gen::inRange(0, 6)), pages));
        all += pages;
    }
    DrainRoom room{*rc::gen::inRange<uint64_t>(0, 2000), *rc::gen::inRange<uint64_t>(0, 2000)};
    auto order = order_drain(units, room, *rc::gen::inRange(0, 4));
    auto pages = [](const std::vector<DrainUnit>& some) {
        uint64_t sum = 0;
        for (auto& one : some) sum += one.pages;
        return sum;
    };
    RC_ASSERT(pages(order.near) + pages(order.late_near) <= room.near_pages);
    RC_ASSERT(pages(order.far) <= room.far_pages);
    RC_ASSERT(pages(order.near) + pages(order.far) + pages(order.late_near) + pages(order.stay) ==
              all);
    for (auto* list : {&order.near, &order.far, &order.late_near, &order.stay}) {
        auto hot = rates(*list);
        RC_ASSERT(std::is_sorted(hot.rbegin(), hot.rend()));
    }
    bool small = std::all_of(units.begin(), units.end(), [](auto& one) { return one.pages == 1; });
    if (!small) return;  // a huge page may not fit where small ones do
    for (auto& a : order.near)
        for (auto& b : order.far) RC_ASSERT(a.rate >= b.rate);
    for (auto& a : order.far)
        for (auto& b : order.stay) RC_ASSERT(a.rate >= b.rate);
}

TEST(DrainUnits, AreWholeBlocksOfOneRateAndElseSinglePages) {
    std::vector<uint64_t> addresses;
    for (uint64_t i = 500; i < 512 + 512 + 3; ++i) addresses.push_back(i * page);
    auto same = drain_units(addresses, [](uint64_t) { return 1.0f; });
    ASSERT_EQ(same.size(), 12 + 1 + 3u);
    EXPECT_EQ(same[12], unit(512, 1, 512));
    auto mixed = drain_units(addresses, [](uint64_t at) { return at == 700 * page ? 2.0f : 1.0f; });
    EXPECT_EQ(mixed.size(), addresses.size());
    addresses.erase(addresses.begin() + 100);
    EXPECT_EQ(drain_units(addresses, [](uint64_t) { return 1.0f; }).size(), addresses.size());
}

// Node 0 near, nodes 1 and 2 far; 1 is to leave. Moving takes time, on a clock of its own.
class FakeHost final : public Kernel {
  public:
    std::map<uint64_t, int> pages;   // address → node
    std::map<uint64_t, int> busy;    // address → so many refusals
    std::map<uint64_t, float> heat;  // address → touches/s
    std::map<int, uint64_t> room{{0, 1 << 20}, {2, 1 << 20}};
    std::vector<uint64_t> arrive;  // on node 1, at the next look
    double now_s = 50;
    double page_s = 0;
    std::vector<uint64_t> order;  // in which pages left

    explicit FakeHost(uint64_t count) {
        for (uint64_t i = 0; i < count; ++i) pages[i * page] = 1;
    }
    long move_pages(pid_t, std::span<const uint64_t> which, std::span<const int> targets,
                    std::span<int> status) override {
        for (size_t i = 0; i < which.size(); ++i) {
            auto found = pages.find(which[i]);
            if (found == pages.end()) {
                status[i] = -ENOENT;
            } else {
                status[i] = targets.empty() ? found->second : move_one(*found, targets[i]);
            }
        }
        return 0;
    }
    Result<uint64_t> room_bytes(int node) override {
        if (!room.contains(node)) return fail(ENOENT, "node %d is not there", node);
        return room[node] * page;
    }
    uint64_t count_on(int node) const {
        return uint64_t(std::count_if(pages.begin(), pages.end(),
                                      [&](auto& one) { return one.second == node; }));
    }
    Result<Evacuation> run(double seconds, const Progress& progress = {}) {
        KernelMover mover(*this);
        DrainWorld world{*this,
                         mover,
                         [this] { return now_s; },
                         [this](double s) { now_s += s; },
                         [this] { return look(); },
                         [this](uint64_t at) { return heat.contains(at) ? heat[at] : 0.0f; }};
        return drain({0, {0}, {2}, 0.5, now_s + seconds}, world, progress);
    }

  private:
    int move_one(std::pair<const uint64_t, int>& one, int target) {
        if (busy[one.first] > 0) return --busy[one.first], -EBUSY;
        if (!room.contains(target)) return -ENODEV;
        if (room[target] == 0) return -ENOMEM;
        --room[target];
        now_s += page_s;
        order.push_back(one.first);
        return one.second = target;
    }
    Result<std::vector<uint64_t>> look() {
        for (uint64_t at : arrive) pages[at] = 1;
        arrive.clear();
        std::vector<uint64_t> found;
        for (auto [at, node] : pages)
            if (node == 1) found.push_back(at);
        return found;
    }
};

TEST(Drain, EmptiesTheNodeHotPagesNearAndColdOnesFar) {
    FakeHost host(3000);
    for (uint64_t i = 100; i < 300; ++i) host.heat[i * page] = float(i);
    auto done = host.run(10);
    ASSERT_TRUE(done) << done.error().sentence;
    EXPECT_EQ(done->found_pages, 3000u);
    EXPECT_EQ(done->done_pages, 3000u);
    EXPECT_EQ(host.count_on(0), 200u);
    EXPECT_EQ(host.count_on(2), 2800u);
    EXPECT_EQ(host.order.front(), 299 * page);  // the hottest left first
}

TEST(Drain, WhatTheDeadlineCutsOffIsTheColdestAndIsTold) {
    FakeHost host(4000);
    host.page_s = 0.001;
    for (uint64_t i = 0; i < 4000; ++i) host.heat[i * page] = float(i % 997);
    auto done = host.run(2);
    ASSERT_TRUE(done);
    EXPECT_EQ(done->done_pages + done->failed_pages, 4000u);
    EXPECT_NEAR(double(done->done_pages), 2000, 512);  // at most a batch over
    EXPECT_EQ(done->reasons, (Reasons{{ETIME, done->failed_pages}}));
    float coldest_gone = 1e9f, hottest_left = 0;
    for (auto [at, node] : host.pages) {
        if (node == 1) hottest_left = std::max(hottest_left, host.heat[at]);
        if (node != 1) coldest_gone = std::min(coldest_gone, host.heat[at]);
    }
    EXPECT_GE(coldest_gone, hottest_left);
}

TEST(Drain, BusyPagesAreTriedAgainAndPinnedOnesTold) {
    FakeHost host(1000);
    host.busy[5 * page] = 2;
    host.busy[6 * page] = 1 << 30;
    auto done = host.run(10);
    ASSERT_TRUE(done);
    EXPECT_EQ(done->failed_pages, 1u);
    EXPECT_EQ(done->reasons, (Reasons{{EBUSY, 1}}));
    EXPECT_LT(host.now_s, 52);  // it does not wait for the deadline for nothing
}

TEST(Drain, PagesThatComeMeanwhileGoToo) {
    FakeHost host(10);
    host.arrive = {};
    int looks = 0;
    auto done = host.run(10, [&](uint64_t, uint64_t) {
        if (looks++ == 0) host.arrive = {100 * page, 101 * page};
        return true;
    });
    ASSERT_TRUE(done);
    EXPECT_EQ(done->found_pages, 12u);
    EXPECT_EQ(done->done_pages, 12u);
}

TEST(Drain, WithoutRoomTheColdestStay) {
    FakeHost host(1000);
    host.room = {{0, 100}, {2, 300}};
    for (uint64_t i = 0; i < 1000; ++i) host.heat[i * page] = float(1 + i);
    auto done = host.run(10);
    ASSERT_TRUE(done);
    EXPECT_EQ(done->reasons, (Reasons{{ENOSPC, 600}}));
    EXPECT_EQ(host.pages[999 * page], 0);
    EXPECT_EQ(host.pages[700 * page], 2);
    EXPECT_EQ(host.pages[0], 1);
}

TEST(Drain, AFarNodeThatVanishesMeanwhileIsNoPlaceAndNoError) {
    FakeHost host(2000);
    auto done = host.run(10, [&](uint64_t pages, uint64_t) {
        if (pages >= 512) host.room.erase(2);
        return true;
    });
    ASSERT_TRUE(done);
    EXPECT_EQ(done->failed_pages, 0u);
    EXPECT_GT(host.count_on(0), 1000u);
}

TEST(Drain, EndsWhenItIsToldTo) {
    FakeHost host(5000);
    auto done = host.run(10, [](uint64_t, uint64_t) { return false; });
    ASSERT_TRUE(done);
    EXPECT_TRUE(done->stopped);
    EXPECT_EQ(done->reasons, (Reasons{{ECANCELED, done->failed_pages}}));
    EXPECT_GE(done->failed_pages, 4000u);
}

RC_GTEST_PROP(Drain, AccountsForEveryPageWhateverHappens, ()) {
    FakeHost host(*rc::gen::inRange<uint64_t>(0, 2500));
    host.page_s = *rc::gen::element(0.0, 0.0001, 0.01);
    host.room = {{0, *rc::gen::inRange<uint64_t>(0, 3000)},
                 {2, *rc::gen::inRange<uint64_t>(0, 3000)}};
    for (auto& [at, node] : host.pages) {
        if (at / page % 13 == 0) host.heat[at] = float(*rc::gen::inRange(0, 9));
        if (at / page % 17 == 0) host.busy[at] = *rc::gen::inRange(0, 9);
    }
    auto done = host.run(1);
    RC_ASSERT(done.has_value());
    RC_ASSERT(done->found_pages == host.pages.size());
    RC_ASSERT(done->failed_pages == host.count_on(1));
    uint64_t told = 0;
    for (auto [reason, pages] : done->reasons) told += pages;
    RC_ASSERT(told == done->failed_pages);
    RC_ASSERT(done->done_pages + done->failed_pages == done->found_pages);
}

}  // namespace
}  // namespace libpool::tier
