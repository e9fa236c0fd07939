// SPDX-License-Identifier: Apache-2.0
#include "tier/nodes.h"

#include <algorithm>

namespace libpool::tier {

NodeBook::NodeBook(const Topology& topology)
    : known_(topology.nodes),
      later_near_(topology.later_near.begin(), topology.later_near.end()),
      later_far_(topology.later_far.begin(), topology.later_far.end()),
      declared_(topology.source == TierSource::declared),
      present_(topology.nodes) {
    reckon();
}

void NodeBook::see(const std::vector<Node>& present) {
    present_ = present;
    std::erase_if(drained_, [&](int node) {
        return std::none_of(present.begin(), present.end(),
                            [node](const Node& one) { return one.id == node; });
    });
    reckon();
}

Result<void> NodeBook::drain(int node) {
    auto is = [node](int other) { return other == node; };
    bool ours = std::any_of(now_.near.begin(), now_.near.end(), is) ||
                std::any_of(now_.far.begin(), now_.far.end(), is);
    if (!ours) return fail(EINVAL, "node %d is in none of the tiers now", node);
    if (now_.near.size() + now_.far.size() == 1) {
        return fail(EINVAL, "node %d is the only one: its pages can go nowhere", node);
    }
    drained_.insert(node);
    reckon();
    return {};
}

Result<void> NodeBook::readmit(int node) {
    if (drained_.erase(node) == 0) return fail(ENOENT, "node %d was not drained", node);
    reckon();
    return {};
}

size_t NodeBook::tier_of(const Node& node) const {
    for (const Node& one : known_) {
        if (one.id == node.id) return one.tier;
    }
    if (declared_) return later_near_.contains(node.id) ? 0 : 1;
    return node.cpus == 0 ? 1 : 0;
}

bool NodeBook::has_part(const Node& node) const {
    bool known = std::any_of(known_.begin(), known_.end(),
                             [&](const Node& one) { return one.id == node.id; });
    bool named = later_near_.contains(node.id) || later_far_.contains(node.id);
    return !drained_.contains(node.id) && (known || named || !declared_);
}

void NodeBook::reckon() {
    std::vector<Node> ours;
    for (const Node& node : present_) {
        if (!has_part(node)) continue;
        ours.push_back(node);
        ours.back().tier = tier_of(node);
    }
    std::stable_sort(ours.begin(), ours.end(),
                     [](const Node& a, const Node& b) { return a.tier < b.tier; });
    now_ = {};
    for (const Node& node : ours) (node.tier == 0 ? now_.near : now_.far).push_back(node.id);
}

}  // namespace libpool::tier
