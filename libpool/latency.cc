// SPDX-License-Identifier: Apache-2.0
#include "latency.h"

#include <numaif.h>
#include <sys/mman.h>
#include <time.h>

#include <algorithm>
#include <array>
#include <numeric>
#include <random>
#include <vector>

#include "uapi.h"

namespace libpool {

#if defined(__x86_64__)

namespace {

constexpr size_t line_bytes = 64;
constexpr size_t line_count = 4096;
constexpr size_t bytes = line_count * line_bytes;
constexpr int rounds = 9;
constexpr double least_ns = 10;

// Memory of one node, each line holding the address of the next in a random cycle.
class Chain {
  public:
    explicit Chain(int node) {
        void* memory =
            mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (memory == MAP_FAILED) return;
        base_ = static_cast<char*>(memory);
        madvise(base_, bytes, MADV_NOHUGEPAGE);
        // Preferred, then checked: a bound node without room would end in the OOM killer.
        std::array<unsigned long, 16> mask{};
        mask[size_t(node) / 64] = 1ul << (size_t(node) % 64);
        mbind(base_, bytes, MPOL_PREFERRED, mask.data(), 1025, 0);
        std::vector<uint32_t> order(line_count);
        std::iota(order.begin(), order.end(), 0u);
        std::shuffle(order.begin(), order.end(), std::mt19937(1));
        for (size_t i = 0; i < line_count; ++i) {
            *slot(order[i]) = slot(order[(i + 1) % line_count]);
        }
        std::vector<void*> pages;
        for (size_t at = 0; at < bytes; at += page_bytes) pages.push_back(base_ + at);
        std::vector<int> nodes(pages.size(), -1);
        ::move_pages(0, pages.size(), pages.data(), nullptr, nodes.data(), 0);
        placed_ = std::all_of(nodes.begin(), nodes.end(), [&](int at) { return at == node; });
    }
    Chain(const Chain&) = delete;
    ~Chain() {
        if (base_) munmap(base_, bytes);
    }
    bool placed() const { return placed_; }

    // One pass, no line of it in a cache.
    double load_ns() {
        for (size_t i = 0; i < line_count; ++i) __builtin_ia32_clflush(slot(i));
        __builtin_ia32_mfence();
        double start_ns = now_ns();
        void** at = slot(0);
        for (size_t i = 0; i < line_count; ++i) {
            at = static_cast<void**>(*const_cast<void* volatile*>(at));
        }
        asm volatile("" : : "r"(at));
        return (now_ns() - start_ns) / line_count;
    }

  private:
    void** slot(size_t line) { return reinterpret_cast<void**>(base_ + line * line_bytes); }
    static double now_ns() {
        timespec time{};
        clock_gettime(CLOCK_MONOTONIC, &time);
        return double(time.tv_sec) * 1e9 + double(time.tv_nsec);
    }
    char* base_ = nullptr;
    bool placed_ = false;
};

double median(std::vector<double> values) {
    std::nth_element(values.begin(), values.begin() + ptrdiff_t(values.size() / 2), values.end());
    return values[values.size() / 2];
}

}  // namespace

Result<double> measure_gain_ns(int near_node, int far_node) {
    Chain near(near_node), far(far_node);
    if (!near.placed() || !far.placed()) {
        return fail(ENOMEM, "node %d has no room for the 256 KiB of a latency probe",
                    near.placed() ? far_node : near_node);
    }
    std::vector<double> near_ns, far_ns;
    for (int round = 0; round < rounds; ++round) {  // in turn: both see the same load
        near_ns.push_back(near.load_ns());
        far_ns.push_back(far.load_ns());
    }
    return std::max(median(far_ns) - median(near_ns), least_ns);
}

#else

Result<double> measure_gain_ns(int, int) {
    return fail(ENOTSUP, "latency is measured on x86-64 only");
}

#endif

}  // namespace libpool
