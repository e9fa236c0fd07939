// SPDX-License-Identifier: Apache-2.0
#include "tier/choose.h"

#include <gtest/gtest.h>

namespace libpool::tier {
namespace {

// Random pages, some of them in huge blocks; room is counted as the engine does.
struct Space {
    Pages pages;
    Situation situation;
    uint64_t near = 0;
    uint64_t dice;

    Space(uint64_t seed, uint32_t blocks, bool some_huge) : dice(seed * 2 + 1) {
        pages.reserve_to(blocks * block_pages);
        for (uint32_t b = 0; b < blocks; ++b) {
            pages.blocks[b].pages = b + 1 == blocks ? 300 : block_pages;
            pages.blocks[b].huge = some_huge && b + 1 < blocks && roll(dice) % 2;
            const bool huge = pages.blocks[b].huge;
            PageState same;
            for (uint32_t i = 0; i < pages.blocks[b].pages; ++i) {
                PageState& state = pages.states[b * block_pages + i];
                if (i == 0 || !huge) {
                    same.set_belief(Belief(roll(dice) % belief_count));
                    same.set_place(roll(dice) % 4 == 0 ? Place::near : Place::far);
                    same.set_home_near(roll(dice) % 4 == 0);
                    same.set_credit(PageState::credit_full);
                }
                state = same;
                near += state.place() == Place::near;
            }
        }
    }
    Choice choose_now(double balance_s) {
        situation.near_room_pages = situation.near_pages > near ? situation.near_pages - near : 0;
        Terms terms;
        terms.balance_s = balance_s;
        return choose(pages, {}, situation, terms, dice);
    }
};

void check(Space& space, const Choice& choice) {
    const uint64_t before = space.near;
    std::vector<uint32_t> moved(space.pages.blocks.size(), 0);
    for (PageId page : choice.plan.demote) {
        ASSERT_EQ(space.pages.states[page].place(), Place::near);
        space.pages.states[page].set_place(Place::far);
        --space.near;
        ++moved[page / block_pages];
    }
    for (PageId page : choice.plan.promote) {
        ASSERT_EQ(space.pages.states[page].place(), Place::far);
        space.pages.states[page].set_place(Place::near);
        ++space.near;
        ++moved[page / block_pages];
    }
    EXPECT_LE(space.near, std::max(before, space.situation.near_pages));
    EXPECT_LE(choice.plan.promote.size() + choice.plan.demote.size(), space.situation.move_pages);
    for (size_t b = 0; b < moved.size(); ++b) {
        const uint32_t unit = space.pages.blocks[b].huge ? block_pages : 1;
        EXPECT_EQ(moved[b] % unit, 0u) << "block " << b;
    }
}

TEST(Choose, NeverPlansBeyondCapacityNorPartsOfHugePages) {
    for (uint64_t seed = 1; seed <= 60; ++seed) {
        for (bool huge : {false, true}) {
            Space space(seed, 12, huge);
            space.situation.far_room_pages = seed % 3 == 0 ? 900 : 1u << 20;
            space.situation.near_pages = space.near + seed * 37 % 1500;
            if (seed % 5 == 0) space.situation.near_pages = space.near / 2;
            if (seed % 4 == 0) space.situation.move_pages = 700;
            for (int turn = 0; turn < 4; ++turn) {
                Choice choice = space.choose_now(seed % 7 == 0 ? -1 : 100);
                SCOPED_TRACE(seed);
                check(space, choice);
            }
        }
    }
}

TEST(Choose, FillsFreeRoomWithTheHottest) {
    Space space(1, 4, false);
    for (PageState& state : space.pages.states) {
        if (state.place() == Place::near) state.set_place(Place::far);
        state.set_belief(belief_about(5, 0));
        state.set_home_near(false);
    }
    space.near = 0;
    for (PageId page = 100; page < 200; ++page) {
        space.pages.states[page].set_belief(belief_about(500, 0));
    }
    space.situation.near_pages = 100;
    space.situation.far_room_pages = 1u << 20;
    Choice choice = space.choose_now(100);
    ASSERT_EQ(choice.plan.promote.size(), 100u);
    for (PageId page : choice.plan.promote) {
        EXPECT_GE(page, 100u);
        EXPECT_LT(page, 200u);
    }
}

// By writes alone: pages that were only read looked idle, and were the first to go.
TEST(Choose, WhereReadsAreNotSeenNothingThatIsNearAnywayGivesUpItsPlace) {
    uint64_t left_otherwise = 0, filled = 0;
    for (uint64_t seed = 1; seed <= 50; ++seed) {
        for (bool writes_only : {false, true}) {
            Space space(seed, 4, seed % 2);
            space.situation.near_pages = space.near + (seed % 3) * 100;
            space.situation.far_room_pages = 1 << 20;
            space.situation.writes_only = writes_only;
            const Choice choice = space.choose_now(1e9);
            filled += writes_only ? choice.plan.promote.size() : 0;
            for (PageId page : choice.plan.demote) {
                if (!space.pages.states[page].home_near()) continue;
                ++left_otherwise;
                ASSERT_FALSE(writes_only) << "page " << page << " of seed " << seed;
            }
        }
    }
    EXPECT_GT(left_otherwise, 0u);
    EXPECT_GT(filled, 0u);  // room is used all the same
}

}  // namespace
}  // namespace libpool::tier
