// SPDX-License-Identifier: Apache-2.0
#include "pooltier/nodes.h"

#include <algorithm>

#include "topology.h"

namespace pooltier {

using libpool::fail;
using libpool::Result;
using libpool::Topology;

Result<Nodes> nodes_of(const libpool::tier::Settings& settings) {
    auto topology = libpool::read_topology("");
    if (!topology) return std::unexpected(topology.error());
    for (const auto* nodes : {&settings.near_nodes, &settings.far_nodes}) {
        for (int node : *nodes) {
            if (!topology->find(node)) return fail(ENOENT, "node %d has no memory here", node);
        }
    }
    Nodes nodes{settings.near_nodes, settings.far_nodes};
    bool two_tiers = topology->tier_names.size() >= 2;
    if ((nodes.near.empty() || nodes.far.empty()) && !two_tiers) {
        return fail(
            ENOTSUP, "%s%s", topology->reason.c_str(),
            topology->nodes.size() < 2 ? "" : "; name them with --near-nodes and --far-nodes");
    }
    auto without = [](std::vector<int> all, const std::vector<int>& some) {
        std::erase_if(
            all, [&](int node) { return std::find(some.begin(), some.end(), node) != some.end(); });
        return all;
    };
    if (nodes.near.empty()) nodes.near = without(topology->tier_nodes(0), nodes.far);
    if (nodes.far.empty()) nodes.far = without(topology->nodes_beyond(0), nodes.near);
    if (nodes.near.empty() || nodes.far.empty()) {
        return fail(ENOTSUP, "there is no %s node left: %s", nodes.near.empty() ? "near" : "far",
                    topology->reason.c_str());
    }
    return nodes;
}

}  // namespace pooltier
