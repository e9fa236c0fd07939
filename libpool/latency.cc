// SPDX-License-Identifier: Apache-2.0
#include "latency.h"

#include <numa.h>
#include <numaif.h>
#include <sys/mman.h>
#include <time.h>

#include <algorithm>
#include <array>
#include <numeric>
#include <random>
#include <thread>
#include <utility>

#include "apart.h"
#include "signals.h"
#include "uapi.h"

namespace libpool {

namespace {

constexpr size_t line_bytes = 64;
constexpr size_t chain_bytes = LoadChain::line_count * line_bytes;
constexpr int latency_rounds = 9;
constexpr double least_gain_ns = 10;

double monotonic_ns() {
    timespec time{};
    clock_gettime(CLOCK_MONOTONIC, &time);
    return double(time.tv_sec) * 1e9 + double(time.tv_nsec);
}

}  // namespace

double median(std::vector<double> values) {
    std::nth_element(values.begin(), values.begin() + ptrdiff_t(values.size() / 2), values.end());
    return values[values.size() / 2];
}

Result<LoadChain> LoadChain::on(int node) {
#if !defined(__x86_64__)
    return fail(ENOTSUP, "the latency of node %d: it is measured on x86-64 only", node);
#endif
    if (node < 0 || node >= 1024) return fail(EINVAL, "there is no node %d", node);
    void* base = map_apart(chain_bytes, PROT_READ | PROT_WRITE);
    if (base == MAP_FAILED) {
        return fail(errno, "mapping 256 KiB of a latency probe: %s", errno_text(errno).c_str());
    }
    LoadChain chain(base, node);
    madvise(base, chain_bytes, MADV_NOHUGEPAGE);
    // Preferred, then checked: a bound node without room would end in the OOM killer.
    std::array<unsigned long, 16> mask{};
    mask[size_t(node) / 64] = 1ul << (size_t(node) % 64);
    mbind(base, chain_bytes, MPOL_PREFERRED, mask.data(), 1025, 0);
    chain.link();
    if (!chain.placed()) {
        return fail(ENOMEM, "node %d has no room for the 256 KiB of a latency probe", node);
    }
    return chain;
}

LoadChain::LoadChain(LoadChain&& other) noexcept
    : base_(std::exchange(other.base_, nullptr)), next_(other.next_), node_(other.node_) {}

LoadChain::~LoadChain() {
    if (base_) munmap(base_, chain_bytes);
}

void** LoadChain::slot(size_t line) const {
    return reinterpret_cast<void**>(base_ + line * line_bytes);
}

void LoadChain::link() {
    std::vector<uint32_t> order(line_count);
    std::iota(order.begin(), order.end(), 0u);
    std::shuffle(order.begin(), order.end(), std::mt19937(1));
    for (size_t i = 0; i < line_count; ++i) {
        *slot(order[i]) = slot(order[(i + 1) % line_count]);
    }
}

bool LoadChain::placed() const {
    std::vector<void*> pages;
    for (size_t at = 0; at < chain_bytes; at += page_bytes) pages.push_back(base_ + at);
    std::vector<int> nodes(pages.size(), -1);
    ::move_pages(0, pages.size(), pages.data(), nullptr, nodes.data(), 0);
    return std::all_of(nodes.begin(), nodes.end(), [this](int at) { return at == node_; });
}

double LoadChain::load_ns(size_t loads) {
    loads = std::clamp<size_t>(loads, 1, line_count);
    void* at = next_;
#if defined(__x86_64__)
    std::vector<void*> lines(loads);  // the way is walked once to know what to flush
    for (void*& line : lines) {
        line = at;
        at = *static_cast<void**>(at);
    }
    for (void* line : lines) __builtin_ia32_clflush(line);
    __builtin_ia32_mfence();
    at = next_;
#endif
    double start_ns = monotonic_ns();
    for (size_t i = 0; i < loads; ++i) at = *static_cast<void* volatile*>(at);
    double spent_ns = monotonic_ns() - start_ns;
    next_ = at;
    return spent_ns / double(loads);
}

Result<double> measure_gain_ns(int near_node, int far_node) {
    auto near = LoadChain::on(near_node);
    if (!near) return std::unexpected(near.error());
    auto far = LoadChain::on(far_node);
    if (!far) return std::unexpected(far.error());
    std::vector<double> near_ns, far_ns;
    for (int round = 0; round < latency_rounds; ++round) {  // in turn: both see the same load
        near_ns.push_back(near->load_ns(LoadChain::line_count));
        far_ns.push_back(far->load_ns(LoadChain::line_count));
    }
    return std::max(median(far_ns) - median(near_ns), least_gain_ns);
}

Result<std::vector<NodeLatency>> measure_nodes(const std::vector<Vantage>& nodes) {
    Result<std::vector<NodeLatency>> answer;
    auto measure = [&]() -> Result<std::vector<NodeLatency>> {
        std::vector<LoadChain> chains;
        for (const Vantage& one : nodes) {
            auto chain = LoadChain::on(one.node);
            if (!chain) return std::unexpected(chain.error());
            chains.push_back(std::move(*chain));
        }
        std::vector<std::vector<double>> measured(nodes.size());
        const bool can_choose = numa_available() >= 0;
        for (int round = 0; round < latency_rounds; ++round) {
            for (size_t i = 0; i < nodes.size(); ++i) {
                if (can_choose && nodes[i].cpu_node >= 0) numa_run_on_node(nodes[i].cpu_node);
                measured[i].push_back(chains[i].load_ns(LoadChain::line_count));
            }
        }
        std::vector<NodeLatency> latencies;
        for (size_t i = 0; i < nodes.size(); ++i) {
            latencies.push_back({nodes[i].node, median(measured[i])});
        }
        return latencies;
    };
    std::thread thread;
    {
        SignalsBlocked inherited;
        thread = std::thread([&] { answer = measure(); });
    }
    thread.join();
    return answer;
}

}  // namespace libpool
