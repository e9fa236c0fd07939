// SPDX-License-Identifier: Apache-2.0
#include "store/memory_store.h"

#include <gtest/gtest.h>

namespace cxlpool {
namespace {

std::vector<Record> records(std::uint64_t first, std::uint64_t last) {
    std::vector<Record> list;
    for (std::uint64_t seq = first; seq <= last; ++seq) {
        list.push_back({Seq{seq}, 0, GrantGone{GrantId{seq}}});
    }
    return list;
}

TEST(MemoryStore, KeepsWhatWasAppendedThroughACrash) {
    MemoryStore store;
    ASSERT_TRUE(store.append(records(1, 2)));
    ASSERT_TRUE(store.append(records(3, 3)));
    store.crash();
    EXPECT_EQ(*store.load(), records(1, 3));
}

TEST(MemoryStore, LosesTheUnsyncedTailButForWhatSurvives) {
    for (std::size_t survivors = 0; survivors <= 6; ++survivors) {
        MemoryStore store(MemoryStore::Durable::at_sync);
        ASSERT_TRUE(store.append(records(1, 2)));
        store.sync();
        ASSERT_TRUE(store.append(records(3, 5)));
        EXPECT_EQ(store.unsynced(), 3u);
        EXPECT_EQ(*store.load(), records(1, 5));
        store.crash(survivors);
        EXPECT_EQ(*store.load(), records(1, 2 + std::min<std::size_t>(survivors, 3)));
        EXPECT_EQ(store.unsynced(), 0u);
    }
}

TEST(MemoryStore, AFailedAppendPoisonsItUntilTheNextLife) {
    MemoryStore store;
    ASSERT_TRUE(store.append(records(1, 1)));
    store.fail_next("disk full");
    EXPECT_EQ(store.append(records(2, 2)).error().message, "disk full");
    EXPECT_EQ(store.append(records(2, 2)).error().message, "disk full");
    EXPECT_FALSE(store.load());
    store.crash();
    EXPECT_EQ(*store.load(), records(1, 1));
}

}  // namespace
}  // namespace cxlpool
