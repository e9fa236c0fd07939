// SPDX-License-Identifier: Apache-2.0
// Which nodes are near and far at this moment: tiers as a topology gave them, while nodes come (a
// grant has arrived), go (it was released), and are drained. Pure.
#pragma once

#include <set>
#include <vector>

#include "topology.h"

namespace libpool::tier {

struct TierNodes {
    std::vector<int> near;
    std::vector<int> far;  // nearest first
    friend bool operator==(const TierNodes&, const TierNodes&) = default;
};

class NodeBook {
  public:
    // Nodes that come later: by a declaration where it says, else those without a CPU are far and
    // those with one are near. What a declaration does not name stays out.
    explicit NodeBook(const Topology& topology);

    // With memory right now, by id. A drained node that has gone is forgotten: when it comes back
    // it is another grant's.
    void see(const std::vector<Node>& present);

    // Neither near nor far from now on. EINVAL when it is neither, or the last of all.
    Result<void> drain(int node);
    // ENOENT when it was not drained.
    Result<void> readmit(int node);

    const TierNodes& now() const { return now_; }

  private:
    void reckon();
    size_t tier_of(const Node& node) const;
    bool has_part(const Node& node) const;

    std::vector<Node> known_;  // of the topology
    std::set<int> later_near_, later_far_;
    bool declared_;
    std::vector<Node> present_;
    std::set<int> drained_;
    TierNodes now_;
};

}  // namespace libpool::tier
