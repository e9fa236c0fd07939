// SPDX-License-Identifier: Apache-2.0
// Placement against a naive twin that looks at single DC blocks and knows no intervals.
#include "core/placement.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <set>

namespace cxlpool {
namespace {

constexpr Bytes kBlock = 2 * MiB;

struct World {
    Pool pool;
    PlaceRequest request;
};

// Devices with random holes, all of it clean or all of it dirty, so that fit alone decides.
World any_world() {
    World world;
    const bool clean = *rc::gen::arbitrary<bool>();
    const int devices = *rc::gen::inRange(1, 4);
    Grant taken;
    taken.id = GrantId{1};
    for (int i = 0; i < devices; ++i) {
        const DeviceName name{"mem" + std::to_string(i)};
        DeviceState& state = world.pool.devices[name];
        state.block = kBlock;
        state.size = *rc::gen::resize(100, rc::gen::inRange<Bytes>(8, 40)) * kBlock;
        if (clean) state.clean.add({0, state.size});
        for (Bytes at = 0; at < state.size; at += kBlock) {
            if (*rc::gen::inRange(0, 8) == 0) taken.extents.push_back({name, {at, kBlock}});
        }
        world.request.devices.push_back(name);
    }
    if (!taken.extents.empty()) world.pool.grants[taken.id] = taken;
    world.request.use = *rc::gen::element(Use::ram, Use::dax);
    world.request.unit = kBlock * *rc::gen::element<Bytes>(1, 2, 4);
    for (const DeviceName& name : world.request.devices) {
        world.request.offset[name] =
            *rc::gen::inRange<Bytes>(0, world.request.unit / kBlock) * kBlock;
    }
    world.request.size = world.request.unit * *rc::gen::inRange<Bytes>(1, 10);
    world.request.most_extents = *rc::gen::inRange<std::size_t>(1, 9);
    return world;
}

// The property holds in every world, and enough of the worlds had room (or one piece) for it to
// mean something.
template <class Property>
void holds(const char* name, Property property) {
    int meant = 0;
    EXPECT_TRUE(rc::check(name, [&] {
        const World world = any_world();
        const auto placed = place(world.pool, world.request);
        if (placed && property(world, *placed)) ++meant;
    }));
    EXPECT_GT(meant, 20) << name << " was hardly tried";
}

bool is_free(const Pool& pool, const DeviceName& device, Bytes at) {
    for (const auto& [id, grant] : pool.grants) {
        for (const Extent& extent : grant.extents) {
            if (extent.device == device && extent.range.contains({at, kBlock})) return false;
        }
    }
    return true;
}

// The twin: lengths of the runs of free, aligned, whole units, a device.
std::map<DeviceName, std::vector<Bytes>> runs(const World& world) {
    std::map<DeviceName, std::vector<Bytes>> all;
    const PlaceRequest& request = world.request;
    for (const DeviceName& name : request.devices) {
        Bytes run = 0, end_of_run = 0;
        const auto close = [&] {
            if (run > 0) all[name].push_back(run);
            run = 0;
        };
        const Bytes size = world.pool.devices.at(name).size;
        for (Bytes at = request.offset.at(name); at + request.unit <= size; at += request.unit) {
            bool whole = true;
            for (Bytes in = 0; in < request.unit; in += kBlock) {
                whole = whole && is_free(world.pool, name, at + in);
            }
            if (!whole || at != end_of_run) close();
            if (whole) {
                run += request.unit;
                end_of_run = at + request.unit;
            }
        }
        close();
    }
    return all;
}

// How few pieces can hold it: largest runs first, at most so many a device. 0: it does not fit.
std::size_t fewest_pieces(const World& world) {
    std::vector<Bytes> usable;
    for (auto [name, lengths] : runs(world)) {
        std::ranges::sort(lengths, std::ranges::greater{});
        lengths.resize(std::min(lengths.size(), world.request.most_extents));
        usable.insert(usable.end(), lengths.begin(), lengths.end());
    }
    std::ranges::sort(usable, std::ranges::greater{});
    Bytes sum = 0;
    for (std::size_t i = 0; i < usable.size(); ++i) {
        sum += usable[i];
        if (sum >= world.request.size) return i + 1;
    }
    return 0;
}

TEST(Placement, WhatItGivesIsFreeAlignedAndAsMuchAsAsked) {
    holds("sound", [](const World& world, const std::vector<Extent>& placed) {
        Bytes sum = 0;
        std::map<DeviceName, std::size_t> count;
        std::set<std::pair<DeviceName, Bytes>> seen;
        for (const Extent& extent : placed) {
            const Bytes offset = world.request.offset.at(extent.device);
            RC_ASSERT(extent.range.length > 0u);
            RC_ASSERT(extent.range.length % world.request.unit == 0u);
            RC_ASSERT(extent.range.dpa % world.request.unit == offset);
            RC_ASSERT(extent.range.end() <= world.pool.devices.at(extent.device).size);
            for (Bytes at = extent.range.dpa; at < extent.range.end(); at += kBlock) {
                RC_ASSERT(is_free(world.pool, extent.device, at));
                RC_ASSERT(seen.insert({extent.device, at}).second);
            }
            RC_ASSERT(++count[extent.device] <= world.request.most_extents);
            sum += extent.range.length;
        }
        RC_ASSERT(sum == world.request.size);
        return true;
    });
}

TEST(Placement, FindsRoomWheneverThereIsRoom) {
    EXPECT_TRUE(rc::check("complete", [] {
        const World world = any_world();
        const auto placed = place(world.pool, world.request);
        RC_ASSERT(placed.has_value() == (fewest_pieces(world) != 0u));
        if (!placed) RC_ASSERT(placed.error().code == Code::no_space);
    }));
}

TEST(Placement, TakesTheFewestPieces) {
    holds("fewest", [](const World& world, const std::vector<Extent>& placed) {
        RC_ASSERT(placed.size() == fewest_pieces(world));
        return true;
    });
}

TEST(Placement, OnePieceComesFromTheSmallestGapThatHoldsIt) {
    holds("best fit", [](const World& world, const std::vector<Extent>& placed) {
        if (placed.size() != 1) return false;
        Bytes smallest = ~Bytes{0};
        for (const auto& [name, lengths] : runs(world)) {
            for (const Bytes length : lengths) {
                if (length >= world.request.size) smallest = std::min(smallest, length);
            }
        }
        // The gap it lies in: grow it by whole free units to both sides.
        Range gap = placed.front().range;
        const DeviceName& name = placed.front().device;
        const auto unit_free = [&](Bytes at) {
            if (at + world.request.unit > world.pool.devices.at(name).size) return false;
            for (Bytes in = 0; in < world.request.unit; in += kBlock) {
                if (!is_free(world.pool, name, at + in)) return false;
            }
            return true;
        };
        while (gap.dpa >= world.request.unit && unit_free(gap.dpa - world.request.unit)) {
            gap.dpa -= world.request.unit;
            gap.length += world.request.unit;
        }
        while (unit_free(gap.end())) gap.length += world.request.unit;
        RC_ASSERT(gap.length == smallest);
        return true;
    });
}

TEST(Placement, TheTwoUsesGrowFromTheTwoEnds) {
    Pool pool;
    DeviceState& state = pool.devices[DeviceName{"mem0"}];
    state.size = GiB;
    state.block = kBlock;
    PlaceRequest request{.devices = {DeviceName{"mem0"}},
                         .size = 128 * MiB,
                         .use = Use::ram,
                         .unit = 128 * MiB,
                         .offset = {},
                         .avoid = {}};
    EXPECT_EQ(place(pool, request)->front().range.dpa, 0u);
    request.use = Use::dax;
    request.unit = kBlock;
    EXPECT_EQ(place(pool, request)->front().range.end(), GiB);
}

TEST(Placement, CleanBytesComeBeforeDirtyOnes) {
    Pool pool;
    DeviceState& state = pool.devices[DeviceName{"mem0"}];
    state.size = GiB;
    state.block = kBlock;
    state.clean.add({512 * MiB, 256 * MiB});
    const PlaceRequest request{.devices = {DeviceName{"mem0"}},
                               .size = 128 * MiB,
                               .use = Use::ram,
                               .unit = 128 * MiB,
                               .offset = {},
                               .avoid = {}};
    EXPECT_EQ(place(pool, request)->front().range.dpa, 512 * MiB);
}

}  // namespace
}  // namespace cxlpool
