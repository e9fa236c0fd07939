// SPDX-License-Identifier: Apache-2.0
// What an engine holds of each page that it manages, by malloc's own count: not under sanitizers,
// whose malloc counts nothing.
#include <gtest/gtest.h>
#include <malloc.h>

#include "simulated_engine.h"

namespace libpool::tier {
namespace {

// What malloc has given to an engine and its policy, of so many pages.
struct Held {
    size_t most = 0;   // at any time, also for a moment
    size_t calm = 0;   // the same, when the hot set is near
    size_t after = 0;  // between two looks
};

Held memory_held(uint64_t pages) {
    const auto in_use = [] {
        const struct mallinfo2 now = mallinfo2();
        return now.uordblks + now.hblkhd;
    };
    World world(pages);
    world.reserve();
    heat_up(world, pages / 2, pages / 8, 50, 0.02);
    Held held;
    const size_t before = in_use();
    world.at_clock = [&] {
        const size_t now = in_use() - before;
        held.most = std::max(held.most, now);
        if (world.at_s() > 30) held.calm = std::max(held.calm, now);
    };
    Trip run(world, config_with_limit(pages / 8));
    held.after = in_use() - before;
    EXPECT_GT(world.near_share(), 0.9);
    EXPECT_LE(run.engine.status().policy.memory_bytes, 0.0005 * double(pages * page_bytes));
    return held;
}

TEST(Engine, HoldsATwoThousandthOfTheMemoryThatItManages) {
    constexpr uint64_t pages = 1 << 18, managed = pages * page_bytes;
    const Held one = memory_held(pages), two = memory_held(2 * pages);
    const auto percent = [](size_t bytes, uint64_t of) {
        return text("%.4f %%", 100 * double(bytes) / double(of));
    };
    RecordProperty("each_page_more", percent(two.after - one.after, managed));
    RecordProperty("calm", percent(two.calm, 2 * managed));
    RecordProperty("most", percent(two.most, 2 * managed));
    EXPECT_LT(double(two.after - one.after), 0.0005 * managed);
    EXPECT_LT(one.after, 0.0005 * managed + (256 << 10));  // what it has of any size
    EXPECT_LT(double(two.calm), 0.001 * 2 * managed);
    EXPECT_LT(double(two.most), 0.002 * 2 * managed);
}

}  // namespace
}  // namespace libpool::tier
