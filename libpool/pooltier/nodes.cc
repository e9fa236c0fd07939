// SPDX-License-Identifier: Apache-2.0
#include "pooltier/nodes.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>

#include "tier/descriptor.h"
#include "tiers.h"

namespace pooltier {

using libpool::fail;
using libpool::Result;
using libpool::Topology;

namespace {

// "0-1": short, and cheap to ask for again and again.
std::string nodes_with_memory(const std::string& root) {
    std::string path = root + "/sys/devices/system/node/has_memory";
    libpool::tier::Descriptor file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
    char list[256];
    ssize_t got = file ? read(file.get(), list, sizeof list) : 0;
    return std::string(list, static_cast<size_t>(std::max<ssize_t>(got, 0)));
}

}  // namespace

Result<Topology> tiers_of(const libpool::tier::Settings& settings) {
    auto topology = libpool::read_topology("");
    if (!topology) return std::unexpected(topology.error());
    for (const auto* nodes : {&settings.near_nodes, &settings.far_nodes}) {
        for (int node : *nodes) {
            if (!topology->find(node)) return fail(ENOENT, "node %d has no memory here", node);
        }
    }
    libpool::Declaration nodes{settings.near_nodes, settings.far_nodes};
    bool two_tiers = topology->tier_names.size() >= 2;
    if ((nodes.near.empty() || nodes.far.empty()) && !two_tiers) {
        return fail(
            ENOTSUP, "%s%s", topology->reason.c_str(),
            topology->nodes.size() < 2 ? "" : "; name them with --near-nodes and --far-nodes");
    }
    if (nodes.near.empty() && nodes.far.empty()) return topology;
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
    if (auto done = declare_tiers(*topology, nodes); !done) return std::unexpected(done.error());
    return topology;
}

NodeWatch::NodeWatch(const Topology& tiers, std::string root)
    : root_(std::move(root)), book_(tiers), in_kernel_(nodes_with_memory(root_)) {}

std::optional<libpool::tier::TierNodes> NodeWatch::look() {
    std::string in_kernel = nodes_with_memory(root_);
    if (in_kernel == in_kernel_) return std::nullopt;
    auto present = libpool::read_nodes(root_);
    if (!present) return std::nullopt;  // in the middle of a change: the next time
    in_kernel_ = std::move(in_kernel);
    book_.see(*present);
    return book_.now();
}

}  // namespace pooltier
