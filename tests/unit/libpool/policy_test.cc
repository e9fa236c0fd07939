// SPDX-License-Identifier: Apache-2.0
#include "policy.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <set>

#include "recording.h"

namespace libpool {
namespace {

PageView page(Place place, float rate, uint8_t rested = 255) {
    return {place, 255, rested, {rate / 2, rate, rate * 2}};
}

Situation roomy() {
    Situation situation;
    situation.near_room_pages = 1000;
    situation.far_room_pages = 1000;
    return situation;
}

// The twin: the four rules by repeated search, quadratic and without any sorting.
Plan naive(const std::vector<PageView>& pages, const Situation& s) {
    Plan plan;
    std::set<uint32_t> gone, come;
    uint64_t near = 0, far_room = s.far_room_pages;
    for (const PageView& p : pages) near += p.place == Place::near;
    auto coldest = [&](bool mind_rest) {
        int best = -1;
        for (uint32_t i = 0; i < pages.size(); ++i) {
            if (pages[i].place != Place::near || gone.contains(i)) continue;
            if (mind_rest && pages[i].rested < rest_windows) continue;
            auto key = [&](uint32_t k) {
                return std::tuple(pages[k].rate.upper, pages[k].rate.mean, k);
            };
            if (best < 0 || key(i) < key(uint32_t(best))) best = int(i);
        }
        return best;
    };
    auto hottest = [&] {
        int best = -1;
        for (uint32_t i = 0; i < pages.size(); ++i) {
            const PageView& p = pages[i];
            if (p.place != Place::far || come.contains(i) || p.windows < judge_windows) continue;
            if (p.rested < rest_windows) continue;
            if (!(double(p.rate.lower) > s.move_ns / s.gain_ns / s.stay_s)) continue;
            if (best < 0 || p.rate.lower > pages[best].rate.lower ||
                (p.rate.lower == pages[best].rate.lower && p.rate.mean > pages[best].rate.mean)) {
                best = int(i);
            }
        }
        return best;
    };
    for (; near > s.near_limit_pages && far_room > 0; --near, --far_room) {
        int out = coldest(false);
        gone.insert(uint32_t(out));
        plan.demote.push_back(uint32_t(out));
    }
    if (near > s.near_limit_pages) return plan;
    uint64_t room = std::min(s.near_limit_pages - near, s.near_room_pages);
    for (int in = hottest(); in >= 0; in = hottest()) {
        if (room > 0) {
            --room;
        } else {
            int out = coldest(true);
            if (out < 0 || far_room == 0) break;
            double gap = double(pages[in].rate.lower) - double(pages[out].rate.upper);
            if (!(gap > 2 * s.move_ns / s.gain_ns / s.stay_s)) break;
            if (!(pages[in].rate.lower > 4 * double(pages[out].rate.upper))) break;
            gone.insert(uint32_t(out));
            plan.demote.push_back(uint32_t(out));
            --far_room;
        }
        come.insert(uint32_t(in));
        plan.promote.push_back(uint32_t(in));
    }
    return plan;
}

std::vector<PageView> any_pages() {
    auto codes = *rc::gen::container<std::vector<int>>(rc::gen::inRange(0, 3 * 4 * 16 * 4));
    std::vector<PageView> pages;
    for (int code : codes) {
        auto low = std::exp2(float(code / 12 % 16) - 4);
        auto high = low * static_cast<float>(1 << (code % 4));
        pages.push_back({static_cast<Place>(code % 3),
                         uint8_t(code / 3 % 4 * 2),
                         uint8_t(code / 192 * 4),
                         {low, (low + high) / 2, high}});
    }
    return pages;
}

Situation any_situation() {
    Situation s;
    s.near_limit_pages = *rc::gen::weightedOneOf<uint64_t>(
        {{1, rc::gen::just(UINT64_MAX)}, {3, rc::gen::inRange<uint64_t>(0, 40)}});
    s.near_room_pages = *rc::gen::inRange<uint64_t>(0, 40);
    s.far_room_pages = *rc::gen::inRange<uint64_t>(0, 40);
    s.move_ns = *rc::gen::element(100.0, 2000.0, 2e6);
    return s;
}

RC_GTEST_PROP(Policy, AgreesWithItsNaiveTwin, ()) {
    auto pages = any_pages();
    Situation situation = any_situation();
    Plan plan = decide(pages, situation), expected = naive(pages, situation);
    RC_ASSERT(plan.demote == expected.demote);
    RC_ASSERT(plan.promote == expected.promote);
}

RC_GTEST_PROP(Policy, KeepsToItsLimitsAndNeverMovesAPageToWhereItIs, ()) {
    auto pages = any_pages();
    Situation s = any_situation();
    Plan plan = decide(pages, s);
    uint64_t near = 0;
    for (const PageView& p : pages) near += p.place == Place::near;
    std::set<uint32_t> moved;
    for (uint32_t i : plan.demote) {
        RC_ASSERT(pages[i].place == Place::near);
        RC_ASSERT(moved.insert(i).second);
    }
    for (uint32_t i : plan.promote) {
        RC_ASSERT(pages[i].place == Place::far);
        RC_ASSERT(moved.insert(i).second);
    }
    uint64_t after = near - plan.demote.size() + plan.promote.size();
    RC_ASSERT(plan.demote.size() <= s.far_room_pages);
    RC_ASSERT(plan.promote.size() <= s.near_room_pages + plan.demote.size());
    // Above the limit only when the far nodes have no room to go back to, and then nothing comes.
    RC_ASSERT(after <= s.near_limit_pages ||
              (plan.promote.empty() && plan.demote.size() == s.far_room_pages));
}

TEST(Policy, TakesTheHottestFirstAndOnlyWhatPays) {
    std::vector<PageView> pages = {page(Place::far, 5), page(Place::far, 500),
                                   page(Place::far, 0.05f), page(Place::unknown, 900)};
    EXPECT_EQ(decide(pages, roomy()).promote, (std::vector<uint32_t>{1, 0}));
    Situation slow = roomy();
    slow.move_ns = 2e6;  // 2 ms a page: only what is touched > 111 times a second pays in 120 s
    EXPECT_EQ(decide(pages, slow).promote, std::vector<uint32_t>{1});
}

TEST(Policy, SwapsOnlyForAClearWinner) {
    Situation full = roomy();
    full.near_limit_pages = 1;
    std::vector<PageView> clear = {page(Place::near, 1), page(Place::far, 100)};
    Plan swap = decide(clear, full);
    EXPECT_EQ(swap.demote, std::vector<uint32_t>{0});
    EXPECT_EQ(swap.promote, std::vector<uint32_t>{1});
    std::vector<PageView> close = {page(Place::near, 30), page(Place::far, 60)};
    EXPECT_TRUE(decide(close, full).promote.empty());
    std::vector<PageView> just_moved = {page(Place::near, 1, 2), page(Place::far, 100)};
    EXPECT_TRUE(decide(just_moved, full).promote.empty());
}

TEST(Policy, ALoweredLimitIsKeptAtOnceAndTheColdestLeave) {
    std::vector<PageView> pages = {page(Place::near, 9, 0), page(Place::near, 3, 0),
                                   page(Place::near, 6, 0)};
    Situation cut = roomy();
    cut.near_limit_pages = 1;
    EXPECT_EQ(decide(pages, cut).demote, (std::vector<uint32_t>{1, 2}));
}

// A recording of a guest: 4 MiB, 128 hot pages at seeded places, all far at first.
TEST(Policy, FindsTheHotPagesOfARecordedRun) {
    std::ifstream file(RECORDINGS "/hotset-4m.txt");
    auto lines = read_recording(file);
    ASSERT_TRUE(lines) << lines.error().sentence;
    RecordedSampler sampler(*lines, 0);
    Range range{0, sampler.pages()};
    std::ifstream truth_file(RECORDINGS "/hotset-4m.hot");
    std::set<uint32_t> truth;
    for (uint32_t hot; truth_file >> hot;) truth.insert(hot);
    ASSERT_EQ(truth.size(), 128u);

    Heat heat(range.pages);
    std::vector<Seen> seen;
    for (auto window = sampler.scan(range, seen); window; window = sampler.scan(range, seen)) {
        heat.observe(*window, seen);
    }
    std::vector<PageView> pages;
    for (size_t i = 0; i < range.pages; ++i) {
        Place place = sampler.first_nodes()[i] == 1 ? Place::far : Place::near;
        pages.push_back({place, heat.windows(i), 255, heat.rate(i)});
    }
    Situation situation = roomy();
    situation.near_limit_pages = 128;
    Plan plan = decide(pages, situation);
    size_t right = 0;
    for (uint32_t i : plan.promote) right += truth.contains(i);
    EXPECT_LE(plan.promote.size(), 128u);
    EXPECT_GE(right, 122u) << "of " << plan.promote.size() << " promoted";
}

}  // namespace
}  // namespace libpool
