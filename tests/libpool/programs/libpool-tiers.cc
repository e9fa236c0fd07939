// SPDX-License-Identifier: Apache-2.0
// Tiers that are declared, weighted arenas, hints and drains on a machine with a far node, checked
// with the kernel's own answer (pool_where) and by reading the bytes back.
//
// usage: libpool-tiers              one line per check, exit 1 at the first that does not hold
//        libpool-tiers SECONDS      works on data whose hot part moves on, with tiering, and reads
//                                   all of it back again and again, whatever becomes of the far
//                                   node, until SIGTERM; prints one line a second, exit 1 when a
//                                   word is wrong
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <pool/pool.hpp>
#include <random>
#include <thread>

namespace {

using Clock = std::chrono::steady_clock;
constexpr size_t page_words = POOL_PAGE_BYTES / sizeof(uint64_t);

void must(bool holds, const std::string& what) {
    std::printf("%s  %s\n", holds ? "ok    " : "FAILED", what.c_str());
    std::fflush(stdout);
    if (!holds) std::exit(1);
}

template <typename T>
T value(pool::Result<T> result, const std::string& what) {
    must(result.has_value(), what + (result ? "" : ": " + result.error().message));
    if constexpr (!std::is_void_v<T>) return std::move(*result);
}

size_t count_on(const void* base, size_t bytes, int node) {
    auto nodes = pool::where(base, bytes / POOL_PAGE_BYTES).value();
    return size_t(std::count(nodes.begin(), nodes.end(), node));
}

uint64_t word_of(size_t page) { return page * 0x9e3779b97f4a7c15 + 1; }

void fill(void* base, size_t bytes) {
    for (size_t i = 0; i < bytes / POOL_PAGE_BYTES; ++i) {
        static_cast<uint64_t*>(base)[i * page_words] = word_of(i);
    }
}

size_t wrong_words(const void* base, size_t bytes) {
    size_t wrong = 0;
    for (size_t i = 0; i < bytes / POOL_PAGE_BYTES; ++i) {
        wrong += static_cast<const uint64_t*>(base)[i * page_words] != word_of(i);
    }
    return wrong;
}

void weights(const pool::Topology& topology, int near, int far) {
    auto small =
        value(pool::Arena::create_weighted(topology, {{near, 3}, {far, 1}}, 4 << 20,
                                           POOL_ARENA_SMALL | POOL_ARENA_POPULATE, 8 << 20),
              "an arena can be spread 3 to 1");
    must(small.grain_bytes() == 64 << 10, "in grains of 64 KiB");
    must(
        count_on(small.base(), 4 << 20, near) == 768 && count_on(small.base(), 4 << 20, far) == 256,
        "768 of its pages are near and 256 far");
    auto nodes = pool::where(small.base(), 256).value();
    must(std::count(nodes.begin(), nodes.end(), far) == 64, "and of its first quarter 192 and 64");
    value(small.grow(4 << 20), "it can grow");
    must(count_on(small.base(), 8 << 20, far) == 512, "and stays as spread as it was");

    auto huge = value(pool::Arena::create_weighted(topology, {{far, 1}, {near, 1}}, 8 << 20,
                                                   POOL_ARENA_BIND | POOL_ARENA_POPULATE),
                      "one of huge pages can be spread 1 to 1");
    must(count_on(huge.base(), 2 << 20, far) == 512 && count_on(huge.base(), 8 << 20, far) == 1024,
         "in grains of 2 MiB");
}

void declared(int near, int far) {
    auto turned = value(pool::Topology::read(), "the topology can be read again");
    value(turned.declare({far}, {near}), "the far node can be declared near");
    must(turned.source() == pool::TierSource::declared && turned.tier_count() == 2,
         turned.reason());
    auto arena =
        value(pool::Arena::create(turned, 0, 2 << 20, POOL_ARENA_POPULATE | POOL_ARENA_BIND),
              "an arena can be made in the declared near tier");
    must(count_on(arena.base(), 2 << 20, far) == 512, "and lies there");
    value(turned.measure(), "tiers can be measured");
    std::printf("        %s\n", turned.reason().c_str());
}

// Exit code of a child that does `what`; -1 when it does not end within 20 s.
template <typename What>
int in_a_child(What what) {
    std::fflush(stdout);
    const pid_t child = fork();
    if (child == 0) _exit(what());
    const auto deadline = Clock::now() + std::chrono::seconds(20);
    int how = 0;
    while (waitpid(child, &how, WNOHANG) == 0) {
        if (Clock::now() > deadline) return kill(child, SIGKILL), waitpid(child, &how, 0), -1;
        usleep(10000);
    }
    return WIFEXITED(how) ? WEXITSTATUS(how) : -1;
}

// A server that forks for each client has a copy of the tiering in each of them.
void forked_children(const pool::Topology& topology) {
    constexpr size_t bytes = 4 << 20;
    auto arena = value(pool::Arena::create(topology, 1, bytes, POOL_ARENA_SMALL), "another arena");
    fill(arena.base(), bytes);
    std::optional tiering = value(pool::Tiering::start(topology), "and its tiering");
    value(tiering->add(arena.base(), bytes), "which tracks it");
    while (tiering->stat(POOL_STAT_WINDOWS) == 0) usleep(10000);
    for (int round = 0; round < 20; ++round) {
        const int code = in_a_child([&] {
            const auto hint = tiering->hint(arena.base(), bytes, POOL_HINT_HOT);
            if (hint || hint.error().code != ECHILD) return 1;
            if (tiering->stat(POOL_STAT_WINDOWS) != 0) return 2;
            if (wrong_words(arena.base(), bytes) > 0) return 3;
            tiering.reset();
            return 0;
        });
        if (code != 0)
            must(false, "a forked child may stop its copy: it ended with " + std::to_string(code));
    }
    must(true, "20 forked children are refused hints, read right words and may stop their copy");

    // It lives on with a copy of all descriptors.
    std::fflush(stdout);
    const pid_t child = fork();
    if (child == 0) {
        pause();
        _exit(0);
    }
    tiering.reset();
    auto again =
        value(pool::Tiering::start(topology), "tiering ends and starts while a child lives");
    value(again.add(arena.base(), bytes), "and tracks the same memory again");
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
}

void hints_and_drain(const pool::Topology& topology, int near, int far) {
    constexpr size_t bytes = 4 << 20, pinned = 1 << 20;
    auto arena = value(pool::Arena::create(topology, 1, bytes, POOL_ARENA_SMALL),
                       "an arena can be made in the far tier");
    fill(arena.base(), bytes);
    auto tiering = value(pool::Tiering::start(topology), "tiering starts");
    must(!tiering.hint(arena.base(), bytes, POOL_HINT_HOT), "what is not tracked takes no hint");
    value(tiering.add(arena.base(), bytes), "the arena is tracked");
    value(tiering.hint(arena.base(), pinned, POOL_HINT_PINNED_NEAR), "a part of it is pinned near");
    auto deadline = Clock::now() + std::chrono::seconds(20);
    while (count_on(arena.base(), pinned, near) < pinned / POOL_PAGE_BYTES &&
           Clock::now() < deadline) {
        usleep(100000);
    }
    std::printf("        %s\n", tiering.status().c_str());
    must(count_on(arena.base(), pinned, near) == pinned / POOL_PAGE_BYTES,
         "it comes near though nobody touches it");

    uint64_t calls = 0;
    auto drained = value(tiering.drain(far, std::chrono::seconds(60),
                                       [&](uint64_t, uint64_t) { return ++calls > 0; }),
                         "the far node can be drained");
    must(drained.failed_pages == 0 && drained.done_pages == drained.found_pages && calls > 0,
         std::to_string(drained.done_pages) + " pages left it and none stayed");
    must(count_on(arena.base(), bytes, far) == 0, "the kernel says the same");
    must(wrong_words(arena.base(), bytes) == 0, "and every page holds what it held");
    must(!tiering.drain(1000, std::chrono::seconds(1)), "a node that is not there is refused");
}

volatile sig_atomic_t stopped = 0;

int run_through(int seconds) {
    signal(SIGTERM, [](int) { stopped = 1; });
    constexpr size_t bytes = 12 << 20, hot_pages = 256;
    auto topology = pool::Topology::read();
    if (!topology) return std::puts(topology.error().message.c_str()), 1;
    auto arena =
        pool::Arena::create(*topology, topology->tier_count() - 1, bytes, POOL_ARENA_SMALL);
    if (!arena) return std::puts(arena.error().message.c_str()), 1;
    fill(arena->base(), bytes);
    auto tiering = pool::Tiering::start(*topology, {{{POOL_OPTION_NEAR_LIMIT_BYTES, 4 << 20}}});
    if (!tiering) return std::puts(tiering.error().message.c_str()), 1;
    if (auto added = tiering->add(arena->base(), bytes); !added) {
        return std::puts(added.error().message.c_str()), 1;
    }
    std::puts("running");
    std::fflush(stdout);
    const auto words = static_cast<uint64_t*>(arena->base());
    const size_t pages = bytes / POOL_PAGE_BYTES;
    std::mt19937_64 random(1);
    uint64_t wrong = 0, accesses = 0;
    for (int second = 0; second < seconds && !stopped; ++second) {
        size_t first = size_t(second / 3) * hot_pages % pages;  // the hot part moves on, and by
        const char* hot = static_cast<char*>(arena->base()) + first * POOL_PAGE_BYTES;
        size_t hot_bytes = hot_pages * POOL_PAGE_BYTES;  // hints, so that moves are sure to go on
        if (second % 3 == 0) (void)tiering->hint(hot, hot_bytes, POOL_HINT_PINNED_NEAR);
        if (second % 3 == 2) (void)tiering->hint(hot, hot_bytes, POOL_HINT_NONE);
        auto end = Clock::now() + std::chrono::seconds(1);
        while (Clock::now() < end) {
            for (int i = 0; i < 1000; ++i, ++accesses) {
                size_t page =
                    random() % 10 ? (first + random() % hot_pages) % pages : random() % pages;
                uint64_t& word = words[page * page_words];
                wrong += word != word_of(page);
                word = word_of(page);
            }
        }
        wrong += wrong_words(arena->base(), bytes);
        auto nodes = pool::where(arena->base(), pages).value();
        std::printf("%d s: %zu of %zu pages on node 0, %llu accesses, %llu wrong\n", second + 1,
                    size_t(std::count(nodes.begin(), nodes.end(), 0)), pages,
                    static_cast<unsigned long long>(accesses),
                    static_cast<unsigned long long>(wrong));
        std::fflush(stdout);
    }
    std::puts(tiering->status().c_str());
    return wrong > 0;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc == 2 && std::atoi(argv[1]) > 0) return run_through(std::atoi(argv[1]));
    if (argc != 1) return std::fputs("usage: libpool-tiers [SECONDS]\n", stderr), 2;
    auto topology = value(pool::Topology::read(), "the topology can be read");
    must(topology.tier_count() == 2, "two tiers: " + topology.reason());
    int near = topology.nodes().front().id, far = topology.nodes().back().id;
    weights(topology, near, far);
    declared(near, far);
    hints_and_drain(topology, near, far);
    forked_children(topology);
    return 0;
}
