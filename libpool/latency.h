// SPDX-License-Identifier: Apache-2.0
// How long a load takes from the memory of a node: dependent loads, timed here and now. Without it
// "does a move pay?" would compare a measured cost with a guessed gain, which on an emulated or a
// loaded machine are worlds apart.
#pragma once

#include <cstddef>
#include <vector>

#include "error.h"

namespace libpool {

// 256 KiB of a node, each cache line holding the address of the next in a random cycle. Owns its
// mapping, which has a memory policy of its own: NUMA balancing leaves such memory alone.
class LoadChain {
  public:
    static constexpr size_t line_count = 4096;

    // ENOMEM when the node has no room for it (or is not there); ENOTSUP where caches cannot be
    // bypassed (not x86-64).
    static Result<LoadChain> on(int node);
    LoadChain(LoadChain&& other) noexcept;
    LoadChain& operator=(LoadChain&&) = delete;
    ~LoadChain();

    // Nanoseconds per load over the next `loads` lines of the cycle (at most line_count), none of
    // them in a cache.
    double load_ns(size_t loads);

    // Whether all of it is still where it was put: a drain or a demotion takes it away.
    bool placed() const;
    int node() const { return node_; }

  private:
    LoadChain(void* base, int node) : base_(static_cast<char*>(base)), next_(base), node_(node) {}
    void link();
    void** slot(size_t line) const;
    char* base_;
    void* next_;
    int node_;
};

double median(std::vector<double> values);

// Nanoseconds by which a load from far_node takes longer than one from near_node, at least 10: a
// difference that cannot be told from noise is no reason to give up. Takes 256 KiB on each node for
// some milliseconds. Errors as LoadChain::on().
Result<double> measure_gain_ns(int near_node, int far_node);

struct NodeLatency {
    int node = 0;
    double load_ns = 0;
};

// One node, and the node from whose CPUs it is reached fastest (negative: none is known).
struct Vantage {
    int node = 0;
    int cpu_node = -1;
};

// Every node from the CPUs of its vantage, in turn over some rounds, each with the median of its
// rounds. On a thread of its own: the caller's CPU affinity stays what it is. Where that thread may
// not run on those CPUs it measures from where it is.
Result<std::vector<NodeLatency>> measure_nodes(const std::vector<Vantage>& nodes);

}  // namespace libpool
