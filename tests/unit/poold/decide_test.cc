// SPDX-License-Identifier: Apache-2.0
// The decision, over every small world there is: each state of an extent x each wish x each
// standing of its memory blocks, and the three rules that hold in all of them.
#include "poold/decide.h"

#include <gtest/gtest.h>

#include "fake_tree.h"

namespace poold {
namespace {

const std::vector<ExtentState> states = {
    ExtentState::pending,    ExtentState::accepted,  ExtentState::plugging, ExtentState::plugged,
    ExtentState::unplugging, ExtentState::releasing, ExtentState::stuck};

Device device_with(std::vector<Extent> extents) {
    Device device;
    device.bdf = "0000:0d:00.0";
    device.driver = our_driver;
    device.state = "ready";
    device.serial = 1;
    device.region_len = 1024 * mib;
    device.window = Window{4352 * mib, 4096 * mib, 1};
    device.extents = std::move(extents);
    return device;
}

Extent extent_at(uint64_t dpa, ExtentState state) {
    Extent extent;
    extent.dpa = dpa;
    extent.len = 256 * mib;
    extent.state = state;
    return extent;
}

Wish wish_for(const Extent& extent, Use use, Want want) {
    return Wish{{1, extent.dpa, extent.len}, "g1", use, want};
}

Blocks blocks_of(std::vector<uint64_t> online, std::vector<uint64_t> offline) {
    return Blocks{4352 * mib, 256 * mib, 128 * mib, std::move(online), std::move(offline), ""};
}

std::vector<Action> decide_for(const Extent& extent, const Wish& wish, const Blocks* blocks) {
    BlocksByKey by_key;
    if (blocks) by_key[wish.key] = *blocks;
    return decide(Desired{1, {wish}}, {device_with({extent})}, by_key);
}

const Order* order_in(const Action& action) {
    if (auto* close = std::get_if<CloseDax>(&action)) return &close->order;
    return std::get_if<Order>(&action);
}

// What a person would write down, with no cleverness: the expected kind of action.
enum class Kind { nothing, plug, unplug, empty, refill, close, say };

Kind expected(const Extent& extent, const Wish& wish, const Blocks* blocks) {
    bool plug = wish.want == Want::plugged;
    if (extent.state == ExtentState::accepted && plug) return Kind::plug;
    if (extent.state == ExtentState::accepted) {
        return extent.want == "unplugged" ? Kind::nothing : Kind::unplug;
    }
    if (extent.state != ExtentState::plugged) return Kind::nothing;
    bool ram = extent.use == Use::ram;
    if (plug) {
        if (extent.use && *extent.use != wish.use) return Kind::say;
        if (extent.want == "unplugged") return Kind::plug;
        if (ram && blocks && blocks->problem.empty() && !blocks->offline.empty())
            return Kind::refill;
        return Kind::nothing;
    }
    if (extent.use == Use::dax) return Kind::close;
    if (!blocks) return Kind::nothing;
    if (!blocks->problem.empty()) return Kind::say;
    return blocks->online.empty() ? Kind::unplug : Kind::empty;
}

Kind kind_of(const std::vector<Action>& actions) {
    if (actions.empty()) return Kind::nothing;
    const Action& action = actions.front();
    if (std::holds_alternative<Empty>(action)) return Kind::empty;
    if (std::holds_alternative<Refill>(action)) return Kind::refill;
    if (std::holds_alternative<CloseDax>(action)) return Kind::close;
    if (std::holds_alternative<Say>(action)) return Kind::say;
    return std::get<Order>(action).line.find("unplugged") == std::string::npos ? Kind::plug
                                                                               : Kind::unplug;
}

TEST(Decide, EverySmallWorld) {
    Blocks in_doubt = blocks_of({34}, {35});
    in_doubt.problem = "dax0.0 is not where it should be";
    const std::vector<Blocks> standings = {blocks_of({34, 35}, {}), blocks_of({35}, {34}),
                                           blocks_of({}, {34, 35}), blocks_of({}, {}), in_doubt};
    int worlds = 0;
    for (ExtentState state : states) {
        for (const char* order : {"", "plugged", "unplugged"}) {
            for (std::optional<Use> use : {std::optional<Use>(), {Use::ram}, {Use::dax}}) {
                for (Use wished : {Use::ram, Use::dax}) {
                    for (Want want : {Want::plugged, Want::unplugged}) {
                        for (size_t i = 0; i <= standings.size(); ++i) {
                            const Blocks* blocks = i < standings.size() ? &standings[i] : nullptr;
                            if (blocks && use != Use::ram) continue;
                            Extent extent = extent_at(256 * mib, state);
                            extent.want = order;
                            extent.use = use;
                            if (use) extent.dax = "dax0.0";
                            Wish wish = wish_for(extent, wished, want);
                            auto actions = decide_for(extent, wish, blocks);
                            ++worlds;
                            ASSERT_LE(actions.size(), 1u);
                            EXPECT_EQ(kind_of(actions), expected(extent, wish, blocks))
                                << name_of(state) << " want " << order << " blocks " << i;
                            if (actions.empty()) continue;
                            EXPECT_EQ(key_of(actions[0]), wish.key);
                            if (const Order* one = order_in(actions[0])) {
                                bool says = one->line.find("unplugged") != std::string::npos;
                                EXPECT_EQ(says, want == Want::unplugged);
                                EXPECT_EQ(one->line.find("268435456 268435456 "), 0u);
                            }
                        }
                    }
                }
            }
        }
    }
    EXPECT_EQ(worlds, 7 * 3 * 2 * 2 * (6 + 1 + 1));
}

TEST(Decide, ThePlugOrderNamesTheUse) {
    Extent extent = extent_at(0, ExtentState::accepted);
    auto ram = decide_for(extent, wish_for(extent, Use::ram, Want::plugged), nullptr);
    auto dax = decide_for(extent, wish_for(extent, Use::dax, Want::plugged), nullptr);
    EXPECT_EQ(std::get<Order>(ram[0]).line, "0 268435456 plugged ram");
    EXPECT_EQ(std::get<Order>(dax[0]).line, "0 268435456 plugged dax");
    EXPECT_EQ(std::get<Order>(ram[0]).folder, "/sys/bus/pci/devices/0000:0d:00.0/dcd");
}

// Two extents, every subset of them listed, every pair of states: what is not listed is not
// touched.
TEST(Decide, WhatIsNotListedIsNeverTouched) {
    for (ExtentState first : states) {
        for (ExtentState second : states) {
            for (int listed = 0; listed < 4; ++listed) {
                for (Want want : {Want::plugged, Want::unplugged}) {
                    Extent a = extent_at(0, first), b = extent_at(256 * mib, second);
                    a.use = b.use = Use::ram;
                    Desired desired{1, {}};
                    BlocksByKey blocks;
                    for (const Extent* one : {&a, &b}) {
                        if (!(listed & (one == &a ? 1 : 2))) continue;
                        desired.wishes.push_back(wish_for(*one, Use::ram, want));
                        blocks[desired.wishes.back().key] = blocks_of({34}, {35});
                    }
                    for (const Action& action : decide(desired, {device_with({a, b})}, blocks)) {
                        int bit = key_of(action).dpa == 0 ? 1 : 2;
                        EXPECT_TRUE(listed & bit);
                    }
                }
            }
        }
    }
}

TEST(Decide, OnlyTheExactExtentCounts) {
    Extent extent = extent_at(256 * mib, ExtentState::accepted);
    for (Key key :
         {Key{2, 256 * mib, 256 * mib}, Key{1, 0, 256 * mib}, Key{1, 256 * mib, 128 * mib},
          Key{1, 256 * mib, 512 * mib}, Key{1, 0, 1024 * mib}}) {
        Desired desired{1, {Wish{key, "g1", Use::ram, Want::plugged}}};
        EXPECT_TRUE(decide(desired, {device_with({extent})}, {}).empty());
    }
}

TEST(Decide, ADeviceThatIsNotReadyOrNotOursGetsNoOrders) {
    Extent extent = extent_at(0, ExtentState::accepted);
    Desired desired{1, {wish_for(extent, Use::ram, Want::plugged)}};
    Device device = device_with({extent});
    ASSERT_EQ(decide(desired, {device}, {}).size(), 1u);
    device.state = "broken";
    EXPECT_TRUE(decide(desired, {device}, {}).empty());
    device.state = "ready";
    device.driver = "cxl_pci";
    EXPECT_TRUE(decide(desired, {device}, {}).empty());
}

TEST(Decide, ASerialThatTwoFunctionsClaimNamesNeither) {
    Extent extent = extent_at(0, ExtentState::accepted);
    Desired desired{1, {wish_for(extent, Use::ram, Want::plugged)}};
    Device one = device_with({extent}), two = device_with({});
    two.bdf = "0000:0e:00.0";
    EXPECT_TRUE(decide(desired, {one, two}, {}).empty());
}

TEST(Decide, TheOtherUseIsExplained) {
    Extent extent = extent_at(0, ExtentState::plugged);
    extent.use = Use::dax;
    auto actions = decide_for(extent, wish_for(extent, Use::ram, Want::plugged), nullptr);
    ASSERT_EQ(actions.size(), 1u);
    EXPECT_EQ(
        std::get<Say>(actions[0]).sentence,
        "grant g1 wants it as ram and it is in use as dax: release the grant that put it there "
        "first");
}

}  // namespace
}  // namespace poold
