// SPDX-License-Identifier: Apache-2.0
// Tiers where the kernel puts all nodes into one, or wrongly: by somebody's word, or by how long
// loads take. Both replace what a topology said before, with the reason.
#pragma once

#include <string>
#include <vector>

#include "latency.h"
#include "topology.h"

namespace libpool {

// Node numbers, each list not empty, no node in both.
struct Declaration {
    std::vector<int> near;
    std::vector<int> far;
    bool measure = false;  // instead of the lists
};

// "near=0-1 far=2,3" (a blank or a semicolon between them), or "measure". EINVAL says what is
// wrong; `where_from` names the origin in it.
Result<Declaration> parse_declaration(const std::string& words, const std::string& where_from);

// Nodes in neither list are no part of the topology from then on: neither sampled nor moved to.
// Nodes that have no memory (yet) are named in the reason. ENOENT when no near or no far one has.
Result<void> declare_tiers(Topology& topology, const Declaration& declared);

// A tier ends where a node takes this many times as long as the fastest of it. Sockets of one
// machine, each measured from its own CPUs, differ by less; CXL memory by more.
inline constexpr double tier_ratio = 1.3;

// Every node of the topology must be in the list.
void tiers_by_latency(Topology& topology, std::vector<NodeLatency> latencies);

// Measures all nodes of this machine. The topology is untouched by a failure.
Result<void> measure_tiers(Topology& topology);

}  // namespace libpool
