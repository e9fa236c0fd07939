// SPDX-License-Identifier: Apache-2.0
// What libpool does to pages, on a machine with a far node; every claim is checked with the
// kernel's own answer (pool_where) and by reading the bytes back. Prints one line per check, exits
// 1 at the first that does not hold. usage: libpool-pages START LENGTH (bytes of the far node's
// physical memory)
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <pool/pool.hpp>

namespace {

constexpr size_t arena_bytes = 4 << 20;
constexpr size_t page_count = arena_bytes / POOL_PAGE_BYTES;

void must(bool holds, const std::string& what) {
    std::printf("%s  %s\n", holds ? "ok    " : "FAILED", what.c_str());
    std::fflush(stdout);
    if (!holds) std::exit(1);
}

template <typename T>
T value(pool::Result<T> result, const std::string& what) {
    must(result.has_value(), what + (result ? "" : ": " + result.error().message));
    return std::move(*result);
}

void fill(char* base) {
    for (size_t i = 0; i < page_count; ++i) {
        *reinterpret_cast<uint64_t*>(base + i * POOL_PAGE_BYTES) = i * 0x9e3779b97f4a7c15;
    }
}

bool intact(const char* base) {
    for (size_t i = 0; i < page_count; ++i) {
        auto word = *reinterpret_cast<const uint64_t*>(base + i * POOL_PAGE_BYTES);
        if (word != i * 0x9e3779b97f4a7c15) return false;
    }
    return true;
}

size_t count_on(const void* base, int node) {
    auto nodes = value(pool::where(base, page_count), "the kernel says where the pages are");
    return size_t(std::count(nodes.begin(), nodes.end(), node));
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 3) return std::fputs("usage: libpool-pages START LENGTH\n", stderr), 2;
    uint64_t start = std::strtoull(argv[1], nullptr, 0),
             length = std::strtoull(argv[2], nullptr, 0);

    auto topology = value(pool::Topology::read(), "the topology can be read");
    must(topology.tier_count() == 2, "two tiers: " + topology.reason());
    int near = topology.nodes().front().id, far = topology.nodes().back().id;
    must(topology.nodes().back().tier == 1 && topology.nodes().back().cpus == 0,
         "the node without CPUs is the far one");

    auto probed = pool::probe_sampler();
    must(probed.has_value(), "the sampler works" + (probed ? "" : ": " + probed.error().message));

    auto too_big = pool::Arena::create(topology, 1, size_t(1) << 40, POOL_ARENA_BIND);
    must(!too_big && too_big.error().code == ENOMEM,
         "a bound arena without room is refused at once");

    auto arena =
        value(pool::Arena::create(topology, 1, arena_bytes, POOL_ARENA_BIND | POOL_ARENA_SMALL),
              "an arena can be made in the far tier");
    auto base = static_cast<char*>(arena.base());
    fill(base);
    must(count_on(base, far) == page_count, "all its pages are on the far node");

    auto held =
        value(pool::held_bytes(0, start, length), "pages in a physical range can be counted");
    must(held >= arena_bytes && held < 2 * arena_bytes, "the far node's range holds the arena");

    // Half of the range first: what is not in it stays.
    auto half = value(pool::evacuate_physical(0, start, length / 2, {near}),
                      "half of the physical range can be emptied");
    must(half.failed_pages == 0 && half.found_pages == half.done_pages, "no page of it is left");
    auto rest =
        value(pool::held_bytes(0, start + length / 2, length - length / 2), "the rest is counted");
    must(count_on(base, far) * POOL_PAGE_BYTES <= rest, "pages of the other half stay far");

    auto all = value(pool::evacuate_node(0, far, {near}), "the node can be emptied");
    must(all.failed_pages == 0 && count_on(base, near) == page_count, "then all pages are near");
    must(intact(base), "and hold what they held");

    // Another process, and a request to stop.
    pid_t child = fork();
    if (child == 0) {
        auto copy =
            pool::Arena::create(topology, 1, arena_bytes, POOL_ARENA_BIND | POOL_ARENA_SMALL);
        fill(static_cast<char*>(copy->base()));
        pause();
        _exit(0);
    }
    uint64_t before = 0;
    for (int tries = 0; tries < 100 && before < arena_bytes; ++tries) {
        usleep(100000);
        before = pool::held_bytes(child, start, length).value_or(0);
    }
    must(before >= arena_bytes, "another process's pages in the range are seen");
    auto stopped =
        value(pool::evacuate_node(child, far, {near}, [](uint64_t, uint64_t) { return false; }),
              "an evacuation can be stopped");
    must(stopped.stopped && stopped.done_pages < stopped.found_pages, "it ends after a batch");
    auto moved =
        value(pool::evacuate_physical(child, start, length, {near}), "and be taken up again");
    must(moved.failed_pages == 0, "no page of it is left");
    must(pool::held_bytes(child, start, length).value_or(1) == 0,
         "the process holds nothing there");
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
    auto gone = pool::held_bytes(child, start, length);
    must(!gone && gone.error().code == ESRCH, "a process that has ended is an error");
    return 0;
}
