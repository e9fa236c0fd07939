// SPDX-License-Identifier: Apache-2.0
// The memory blocks of one extent: which they are, how they stand, and setting them offline or
// online. Only blocks that lie wholly inside the extent are ever named, so a neighbour's memory
// cannot be touched.
#pragma once

#include <vector>

#include "poold/decide.h"
#include "poold/host.h"
#include "poold/tree.h"

namespace poold {

// Of a plugged `ram` extent. The address is read from the dax device and must agree with the
// device's window; any doubt ends in `problem`.
Blocks read_blocks(const Tree& tree, const Host& host, const Device& device, const Extent& extent);

// For every plugged `ram` extent that a wish names.
BlocksByKey read_blocks(const Tree& tree, const Seen& seen, const Desired& desired);

std::string block_state_path(uint64_t block);

}  // namespace poold
