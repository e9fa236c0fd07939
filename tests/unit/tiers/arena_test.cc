// SPDX-License-Identifier: Apache-2.0
// Weights and growth of arenas, and what std::pmr makes of a tier: on any machine, one node is
// enough. That pages really lie where the weights say is checked in a guest with two nodes.
#include "arena.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <list>
#include <memory_resource>
#include <new>
#include <numeric>
#include <pool/pool.hpp>
#include <string>
#include <thread>

// How many more pieces of the ordinary heap this thread gets; below 0: any number.
static thread_local int pieces_left = -1;

// Inlined, g++ 12 would take new and free for a mismatch.
[[gnu::noinline]] void* operator new(size_t bytes) {
    if (pieces_left == 0) throw std::bad_alloc();
    if (pieces_left > 0) --pieces_left;
    void* piece = std::malloc(std::max<size_t>(bytes, 1));
    if (!piece) throw std::bad_alloc();
    return piece;
}
[[gnu::noinline]] void* operator new(size_t bytes, const std::nothrow_t&) noexcept {
    return std::malloc(std::max<size_t>(bytes, 1));
}
[[gnu::noinline]] void operator delete(void* piece) noexcept { std::free(piece); }
[[gnu::noinline]] void operator delete(void* piece, size_t) noexcept { std::free(piece); }

namespace libpool {
namespace {

TEST(Weights, TakeTurnsAsEvenlyAsTheyCan) {
    EXPECT_EQ(weight_pattern({{0, 3}, {1, 1}}), (std::vector<size_t>{0, 0, 1, 0}));
    EXPECT_EQ(weight_pattern({{0, 100}, {1, 100}}), (std::vector<size_t>{0, 1}));
    EXPECT_EQ(weight_pattern({{7, 9}}), std::vector<size_t>{0});
}

RC_GTEST_PROP(Weights, AreMetExactlyByThePatternAndNearlyByItsParts, ()) {
    std::vector<NodeWeight> weights(*rc::gen::inRange<size_t>(1, 6));
    for (NodeWeight& one : weights) one.weight = *rc::gen::inRange(1u, 256u);
    auto pattern = weight_pattern(weights);
    double total = 0;
    for (auto& one : weights) total += one.weight;
    std::vector<double> count(weights.size(), 0);
    for (size_t at = 0; at < pattern.size(); ++at) {
        ++count[pattern[at]];
        for (size_t i = 0; i < weights.size(); ++i) {
            double due = double(at + 1) * weights[i].weight / total;
            RC_ASSERT(std::abs(count[i] - due) <= (weights.size() <= 2 ? 1.0 : weights.size() - 1));
        }
    }
    for (size_t i = 0; i < weights.size(); ++i) {
        RC_ASSERT(std::abs(count[i] - double(pattern.size()) * weights[i].weight / total) < 1e-9);
    }
}

TEST(Weights, TheGrainKeepsTheMappingsFew) {
    EXPECT_EQ(grain_bytes(1 << 20, true), 64u << 10);
    EXPECT_EQ(grain_bytes(size_t(1) << 30, true), 256u << 10);
    EXPECT_EQ(grain_bytes(size_t(1) << 30, false), 2u << 20);
    EXPECT_EQ(grain_bytes(size_t(1) << 40, false), 256u << 20);
}

// An arena as large as it gets stays below what the kernel allows in mappings.
TEST(Weights, AHugeArenaCanBeMade) {
    auto topology = read_topology("");
    ArenaWish wish;
    wish.bytes = size_t(64) << 30;
    wish.small = true;
    int node = topology->nodes.front().id;
    auto arena = Arena::create_weighted(*topology, {{node, 1}}, wish);
    ASSERT_TRUE(arena) << arena.error().sentence;
    EXPECT_EQ(arena->grain(), 16u << 20);
}

TEST(Weights, BadOnesAreNamed) {
    auto topology = read_topology("");
    int node = topology->nodes.front().id;
    auto sentence = [&](std::vector<NodeWeight> weights) {
        ArenaWish wish;
        wish.bytes = 4096;
        auto arena = Arena::create_weighted(*topology, weights, wish);
        return arena ? "" : arena.error().sentence;
    };
    EXPECT_EQ(sentence({}), "an arena is spread over 1 to 16 nodes, not 0");
    EXPECT_EQ(sentence({{1000, 1}}), "node 1000 has no memory");
    EXPECT_EQ(sentence({{node, 0}}), text("the weight of node %d is 0: it must be 1 to 255", node));
    EXPECT_EQ(sentence({{node, 1}, {node, 2}}), text("node %d is there twice", node));
}

TEST(Growth, KeepsWhatIsThereAndEndsAtItsLimit) {
    auto topology = read_topology("");
    ArenaWish wish;
    wish.bytes = 2 << 20;
    wish.most_bytes = 8 << 20;
    auto arena = Arena::create(*topology, 0, wish);
    ASSERT_TRUE(arena) << arena.error().sentence;
    auto bytes = static_cast<char*>(arena->base());
    std::memset(bytes, 7, arena->bytes());
    ASSERT_TRUE(arena->grow(1));
    EXPECT_EQ(arena->bytes(), 4u << 20);
    EXPECT_EQ(arena->base(), bytes);
    EXPECT_EQ(bytes[(2 << 20) - 1], 7);
    EXPECT_EQ(bytes[2 << 20], 0);
    auto beyond = arena->grow(6 << 20);
    ASSERT_FALSE(beyond);
    EXPECT_EQ(beyond.error().sentence,
              "an arena of 4 MiB cannot grow by 6 MiB: it was made for 8 MiB");
    EXPECT_EQ(arena->bytes(), 4u << 20);
    EXPECT_TRUE(arena->grow(4 << 20));
}

TEST(Growth, ABoundOneWithoutRoomStaysAsLongAsItWas) {
    auto topology = read_topology("");
    ArenaWish wish;
    wish.bytes = 2 << 20;
    wish.most_bytes = size_t(1) << 45;
    wish.bind = true;
    auto arena = Arena::create(*topology, 0, wish);
    ASSERT_TRUE(arena) << arena.error().sentence;
    auto grown = arena->grow(size_t(1) << 44);
    ASSERT_FALSE(grown);
    EXPECT_EQ(grown.error().code, ENOMEM);
    EXPECT_EQ(arena->bytes(), 2u << 20);
}

// ---- std::pmr ----

pool::Result<std::unique_ptr<pool::TierResource>> resource(size_t most_bytes = 64 << 20) {
    auto topology = pool::Topology::read();
    pool::ResourceOptions options;
    options.flags = POOL_ARENA_SMALL;
    options.first_bytes = 2 << 20;
    options.most_bytes = most_bytes;
    return pool::TierResource::create(*topology, 0, options);
}

TEST(Resource, CarriesContainersAboveAPoolAndGrows) {
    auto tier = resource();
    ASSERT_TRUE(tier) << tier.error().message;
    {
        std::pmr::unsynchronized_pool_resource pieces(tier->get());
        std::pmr::list<std::pmr::string> lines(&pieces);
        for (int i = 0; i < 50000; ++i) lines.emplace_back(std::string(100, char('a' + i % 26)));
        int i = 0;
        for (auto& line : lines) ASSERT_EQ(line[99], 'a' + i++ % 26);
        EXPECT_GT((*tier)->size_bytes(), 4u << 20);
        EXPECT_GE((*tier)->size_bytes(), (*tier)->used_bytes());
    }
    EXPECT_EQ((*tier)->used_bytes(), 0u);
    EXPECT_EQ((*tier)->trouble(), "");
}

TEST(Resource, WithoutRoomItThrowsAsAnyOtherAndGoesOn) {
    auto tier = resource(4 << 20);
    ASSERT_TRUE(tier);
    void* most = (*tier)->allocate(3 << 20);
    EXPECT_THROW((void)(*tier)->allocate(3 << 20), std::bad_alloc);
    EXPECT_THROW((void)(*tier)->allocate(64, 4 << 20), std::bad_alloc);
    (*tier)->deallocate(most, 3 << 20);
    void* all = (*tier)->allocate(4 << 20);
    (*tier)->deallocate(all, 4 << 20);
}

// Whichever entry of its own books there is no memory for: the piece is free, and once.
TEST(Resource, WithoutMemoryForItsBooksItThrowsAndLosesNothing) {
    for (int heap_pieces = 0; heap_pieces < 4; ++heap_pieces) {
        SCOPED_TRACE(heap_pieces);
        auto tier = resource(4 << 20);
        ASSERT_TRUE(tier);
        for (size_t bytes : {size_t(64), size_t(3) << 20}) {  // the second one must grow
            void* got = nullptr;
            pieces_left = heap_pieces;
            try {
                got = (*tier)->allocate(bytes);
            } catch (const std::bad_alloc&) {
            }
            pieces_left = -1;
            EXPECT_EQ((*tier)->used_bytes(), got ? bytes : 0u);
            if (got) (*tier)->deallocate(got, bytes);
        }
        void* all = (*tier)->allocate(4 << 20);  // in one piece again
        EXPECT_THROW((void)(*tier)->allocate(64), std::bad_alloc);
        (*tier)->deallocate(all, 4 << 20);
        EXPECT_EQ((*tier)->used_bytes(), 0u);
    }
}

TEST(Resource, AnyThreadMayAllocateAndFree) {
    auto tier = resource();
    ASSERT_TRUE(tier);
    std::pmr::synchronized_pool_resource shared(tier->get());
    std::vector<std::thread> threads;
    for (int id = 0; id < 8; ++id) {
        threads.emplace_back([&, id] {
            std::pmr::monotonic_buffer_resource own(tier->get());
            for (int i = 0; i < 300; ++i) {
                std::pmr::vector<int> mine(size_t(i), id, &own), ours(size_t(i), id, &shared);
                ASSERT_TRUE(mine == ours);
            }
        });
    }
    for (auto& thread : threads) thread.join();
    shared.release();
    EXPECT_EQ((*tier)->used_bytes(), 0u);
}

RC_GTEST_PROP(Resource, PiecesNeverOverlapAndAllOfItComesBack, ()) {
    auto tier = resource(16 << 20);
    struct Piece {
        char* at;
        size_t bytes, alignment;
        char fill;
    };
    std::vector<Piece> pieces;
    for (int step = *rc::gen::inRange(1, 60); step > 0; --step) {
        if (pieces.empty() || *rc::gen::inRange(0, 3) > 0) {
            size_t bytes = *rc::gen::oneOf(rc::gen::inRange<size_t>(0, 5000),
                                           rc::gen::inRange<size_t>(0, 3 << 20));
            size_t alignment = size_t(1) << *rc::gen::inRange(0, 22);
            char* at = nullptr;
            try {
                at = static_cast<char*>((*tier)->allocate(bytes, alignment));
            } catch (const std::bad_alloc&) {
                continue;
            }
            RC_ASSERT(reinterpret_cast<uintptr_t>(at) % alignment == 0u);
            char fill = *rc::gen::arbitrary<char>();
            if (bytes > 0) at[0] = at[bytes - 1] = fill;
            pieces.push_back({at, bytes, alignment, fill});
        } else {
            size_t which = *rc::gen::inRange<size_t>(0, pieces.size());
            auto [at, bytes, alignment, fill] = pieces[which];
            (*tier)->deallocate(at, bytes, alignment);
            pieces.erase(pieces.begin() + ptrdiff_t(which));
        }
        for (auto& a : pieces) {
            if (a.bytes > 0) RC_ASSERT(a.at[0] == a.fill && a.at[a.bytes - 1] == a.fill);
            for (auto& b : pieces)
                RC_ASSERT(&a == &b || a.at + a.bytes <= b.at || b.at + b.bytes <= a.at);
        }
    }
    for (auto& piece : pieces) (*tier)->deallocate(piece.at, piece.bytes, piece.alignment);
    RC_ASSERT((*tier)->used_bytes() == 0u);
    size_t all = (*tier)->size_bytes();  // in one piece again
    (*tier)->deallocate((*tier)->allocate(all, 64), all, 64);
    RC_ASSERT((*tier)->size_bytes() == all);
}

}  // namespace
}  // namespace libpool
