// SPDX-License-Identifier: Apache-2.0
// Which nodes are near and which far: as they are named, else as the topology says; and as grants
// arrive and go.
#pragma once

#include <optional>
#include <string>

#include "error.h"
#include "tier/nodes.h"
#include "tier/settings.h"

namespace pooltier {

// One sentence when there is nothing to tier.
libpool::Result<libpool::Topology> tiers_of(const libpool::tier::Settings& settings);

class NodeWatch {
  public:
    // `root`: in front of /sys, "" on a machine.
    NodeWatch(const libpool::Topology& tiers, std::string root);

    // What is near and far now, where that may have changed since it was last asked.
    std::optional<libpool::tier::TierNodes> look();

  private:
    std::string root_;
    libpool::tier::NodeBook book_;
    std::string in_kernel_;  // the list of nodes with memory, as last seen
};

}  // namespace pooltier
