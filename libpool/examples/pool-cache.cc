// SPDX-License-Identifier: Apache-2.0
// A small cache that tells libpool what it knows: its index is used by every request and pinned
// near, its values start far and come near as they are asked for, and a backup that reads all of
// them once is no reason to bring any near. On a machine with one tier it says so and runs in that.
//
// usage: pool-cache [ENTRIES [REQUESTS]] (20000, 20000000: long enough to watch). Says each second
// where its memory is. Every value that is read is checked. Exit code: 0; 1 when a value was wrong
// or the cache cannot be made; 2 for wrong usage.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory_resource>
#include <optional>
#include <pool/pool.hpp>
#include <random>
#include <unordered_map>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t value_words = 128;  // 1 KiB
constexpr size_t value_bytes = value_words * sizeof(uint64_t);
constexpr uint64_t near_limit_bytes = 16 << 20;

[[noreturn]] void stop(int code, const std::string& sentence) {
    std::fprintf(stderr, "pool-cache: %s\n", sentence.c_str());
    std::exit(code);
}

template <typename T>
T must(pool::Result<T> result) {
    if (!result) stop(1, result.error().message);
    return std::move(*result);
}

// Values in `value_memory`, the index in `index_memory`. One thread.
class Cache {
  public:
    Cache(std::pmr::memory_resource* index_memory, std::pmr::memory_resource* value_memory)
        : pieces_(index_memory), values_(value_memory), index_(&pieces_) {}

    void put(uint64_t key) {
        auto* words = static_cast<uint64_t*>(values_.allocate(value_bytes, 64));
        for (size_t i = 0; i < value_words; ++i) words[i] = key * 0x9e3779b97f4a7c15 + i;
        index_[key] = words;
    }
    // The value's first word, or nothing when a word of it is wrong.
    const uint64_t* get(uint64_t key) const {
        auto found = index_.find(key);
        if (found == index_.end()) return nullptr;
        for (size_t i = 0; i < value_words; i += 16) {
            if (found->second[i] != key * 0x9e3779b97f4a7c15 + i) return nullptr;
        }
        return found->second;
    }
    size_t size() const { return index_.size(); }

  private:
    std::pmr::unsynchronized_pool_resource pieces_;
    std::pmr::monotonic_buffer_resource values_;
    std::pmr::unordered_map<uint64_t, uint64_t*> index_;
};

void hint(std::optional<pool::Tiering>& tiering, const pool::TierResource& memory,
          pool_hint_kind kind) {
    if (!tiering) return;
    auto said = tiering->hint(memory.base(), memory.size_bytes(), kind);
    if (!said) stop(1, said.error().message);
}

// Nine of ten requests are for the first tenth of the keys.
uint64_t draw_key(std::mt19937_64& random, uint64_t entries) {
    uint64_t hot = std::max<uint64_t>(entries / 10, 1);
    return random() % 10 < 9 ? random() % hot : random() % entries;
}

double near_percent(const pool::Topology& topology, const pool::TierResource& memory) {
    auto nodes = must(pool::where(memory.base(), memory.size_bytes() / POOL_PAGE_BYTES));
    size_t near = 0, present = 0;
    for (int node : nodes) {
        if (node < 0) continue;
        ++present;
        near += pool_topology_node_tier(topology.get(), node) == 0;
    }
    return present ? 100.0 * double(near) / double(present) : 0;
}

void print_places(const char* when, const pool::Topology& topology, const pool::TierResource& index,
                  const pool::TierResource& values) {
    std::printf("%-18s near: %5.1f %% of the index, %5.1f %% of the values\n", when,
                near_percent(topology, index), near_percent(topology, values));
}

uint64_t number(const char* word, uint64_t most) {
    char* end = nullptr;
    uint64_t value = std::strtoull(word, &end, 10);
    if (*word < '0' || *word > '9' || *end || value == 0 || value > most) {
        stop(2, std::string("usage: pool-cache [ENTRIES [REQUESTS]], not \"") + word + "\"");
    }
    return value;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc > 3) stop(2, "usage: pool-cache [ENTRIES [REQUESTS]]");
    const uint64_t entries = argc > 1 ? number(argv[1], 10'000'000) : 20000;
    const uint64_t requests = argc > 2 ? number(argv[2], 1'000'000'000) : 20'000'000;

    auto topology = must(pool::Topology::read());
    std::optional<pool::Tiering> tiering;
    if (auto started =
            pool::Tiering::start(topology, {{{POOL_OPTION_NEAR_LIMIT_BYTES, near_limit_bytes}}})) {
        tiering.emplace(std::move(*started));
    } else {
        std::printf("no tiering: %s\n", started.error().message.c_str());
    }

    pool::ResourceOptions options;
    options.flags = POOL_ARENA_SMALL;
    options.tiering = tiering ? &*tiering : nullptr;
    options.first_bytes = std::max<uint64_t>(entries * 64, 1 << 20);
    auto index = must(pool::TierResource::create(topology, 0, options));
    options.first_bytes = entries * value_bytes * 2;
    auto values = must(pool::TierResource::create(topology, topology.tier_count() - 1, options));
    hint(tiering, *index, POOL_HINT_PINNED_NEAR);

    int wrong = 0;
    {
        Cache cache(index.get(), values.get());
        hint(tiering, *values, POOL_HINT_STREAM);  // filling it says nothing of later use
        for (uint64_t key = 0; key < entries; ++key) cache.put(key);
        hint(tiering, *values, POOL_HINT_NONE);
        print_places("filled", topology, *index, *values);

        std::mt19937_64 random(1);
        auto last_said = Clock::now();
        for (uint64_t i = 0; i < requests; ++i) {
            wrong += !cache.get(draw_key(random, entries));
            if (i % 1024 != 0 || Clock::now() < last_said + std::chrono::seconds(1)) continue;
            last_said = Clock::now();
            print_places("under requests", topology, *index, *values);
        }
        print_places("after requests", topology, *index, *values);

        hint(tiering, *values, POOL_HINT_STREAM);
        for (uint64_t key = 0; key < entries; ++key) wrong += !cache.get(key);
        hint(tiering, *values, POOL_HINT_NONE);
        print_places("after the backup", topology, *index, *values);
        std::printf("%zu entries, %llu requests, %d wrong\n", cache.size(),
                    static_cast<unsigned long long>(requests), wrong);
    }
    if (tiering) std::printf("%s\n", tiering->status().c_str());
    return wrong > 0;
}
