// SPDX-License-Identifier: Apache-2.0
// Which nodes are near and which far: as they are named, else as the topology says.
#pragma once

#include <vector>

#include "error.h"
#include "tier/settings.h"

namespace pooltier {

struct Nodes {
    std::vector<int> near;
    std::vector<int> far;  // nearest first
};

// One sentence when there is nothing to tier.
libpool::Result<Nodes> nodes_of(const libpool::tier::Settings& settings);

}  // namespace pooltier
