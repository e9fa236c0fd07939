// SPDX-License-Identifier: Apache-2.0
// The simulated device does what QEMU's was measured to do.
#include "backend/sim/device.h"

#include <gtest/gtest.h>

#include "hosts.h"

namespace cxlpool::sim {
namespace {

SimDevice small_device() {
    return SimDevice(DeviceName{"mem0"},
                     {.serial = 1, .size = 64 * MiB, .block = 2 * MiB, .identity = "x"});
}

std::vector<Range> pieces(std::size_t count) {
    std::vector<Range> group;
    for (std::size_t i = 0; i < count; ++i) group.push_back({i * 4 * MiB, 2 * MiB});
    return group;
}

TEST(Device, AnOfferIsPendingUntilTheHostAnswers) {
    SimDevice device = small_device();
    ASSERT_TRUE(device.add(h1, {{0, 4 * MiB}}));
    EXPECT_EQ(device.presence(h1, {0, 2 * MiB}), Presence::pending);
    EXPECT_EQ(device.presence(h2, {0, 2 * MiB}), Presence::none);
    EXPECT_TRUE(device.answer(h1, {{0, 4 * MiB}}, true));
    EXPECT_EQ(device.presence(h1, {2 * MiB, 2 * MiB}), Presence::accepted);
    EXPECT_EQ(device.presence(h1, {4 * MiB, 2 * MiB}), Presence::none);
}

TEST(Device, APendingOfferCannotBeWithdrawn) {
    SimDevice device = small_device();
    ASSERT_TRUE(device.add(h1, {{0, 4 * MiB}}));
    EXPECT_FALSE(device.release(h1, {{0, 4 * MiB}}));
    EXPECT_EQ(device.presence(h1, {0, 4 * MiB}), Presence::pending);
}

TEST(Device, GroupsAreAnsweredInOrder) {
    SimDevice device = small_device();
    ASSERT_TRUE(device.add(h1, {{0, 4 * MiB}}));
    ASSERT_TRUE(device.add(h1, {{8 * MiB, 4 * MiB}}));
    EXPECT_FALSE(device.answer(h1, {{8 * MiB, 4 * MiB}}, true));
    EXPECT_TRUE(device.answer(h1, {{0, 4 * MiB}}, false));
    EXPECT_TRUE(device.answer(h1, {{8 * MiB, 4 * MiB}}, true));
    EXPECT_EQ(device.presence(h1, {0, 4 * MiB}), Presence::none);
}

TEST(Device, TheLogHoldsEightRecords) {
    SimDevice device = small_device();
    ASSERT_TRUE(device.add(h1, pieces(8)));
    EXPECT_EQ(device.next_group(h1).size(), 8u);
    SimDevice other = small_device();
    ASSERT_TRUE(other.add(h1, pieces(9)));
    EXPECT_EQ(other.log(h1).size(), 8u);
    EXPECT_TRUE(other.next_group(h1).empty()) << "More never clears: the group is never whole";
    EXPECT_EQ(other.lost_records(), 1u);
    EXPECT_EQ(other.presence(h1, pieces(9).back()), Presence::pending);
}

TEST(Device, DoingItTwiceIsDoingItOnce) {
    SimDevice device = small_device();
    ASSERT_TRUE(device.add(h1, pieces(2)));
    ASSERT_TRUE(device.add(h1, pieces(2)));
    EXPECT_EQ(device.log(h1).size(), 2u);
    EXPECT_FALSE(device.add(h1, pieces(3))) << "a part of it is there";
    EXPECT_TRUE(device.release(h2, pieces(2))) << "nothing to release";
}

TEST(Device, RefusesWhatIsNotWholeBlocksOfIt) {
    SimDevice device = small_device();
    EXPECT_FALSE(device.add(h1, {{0, 1 * MiB}}));
    EXPECT_FALSE(device.add(h1, {{1 * MiB, 2 * MiB}}));
    EXPECT_FALSE(device.add(h1, {{62 * MiB, 4 * MiB}}));
    EXPECT_FALSE(device.add(h1, {{0, 0}}));
    EXPECT_EQ(device.presence(h1, {0, 64 * MiB}), Presence::none);
}

TEST(Device, BytesStayUntilErasedAndOnlyReachableBlocksAreWritten) {
    SimDevice device = small_device();
    device.write(h1, {0, 2 * MiB}, 7);
    EXPECT_EQ(device.mark(0), kZeros) << "stores to what it has not got vanish";
    ASSERT_TRUE(device.add(h1, {{0, 4 * MiB}}));
    device.write(h1, {0, 4 * MiB}, 7);
    EXPECT_EQ(device.mark(0), kZeros) << "pending is not accessible yet";
    ASSERT_TRUE(device.answer(h1, {{0, 4 * MiB}}, true));
    device.write(h1, {0, 64 * MiB}, 7);
    EXPECT_EQ(device.mark(1), 7u);
    EXPECT_EQ(device.mark(2), kZeros);
    ASSERT_TRUE(device.give_back(h1, {0, 2 * MiB}));
    EXPECT_EQ(device.presence(h1, {0, 2 * MiB}), Presence::none);
    EXPECT_EQ(device.presence(h1, {2 * MiB, 2 * MiB}), Presence::accepted);
    EXPECT_FALSE(device.give_back(h1, {0, 2 * MiB})) << "not its any more";
    device.forget(h1);
    EXPECT_EQ(device.presence(h1, {0, 64 * MiB}), Presence::none);
    EXPECT_EQ(device.mark(0), 7u) << "a dead host leaves its bytes behind";
    device.erase({0, 4 * MiB});
    EXPECT_EQ(device.mark(0), kZeros);
}

}  // namespace
}  // namespace cxlpool::sim
