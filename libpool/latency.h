// SPDX-License-Identifier: Apache-2.0
// What one access saves when its page is near: dependent loads from memory of both nodes, timed
// here and now. Without it "does a move pay?" would compare a measured cost with a guessed gain,
// which on an emulated or a loaded machine are worlds apart.
#pragma once

#include "error.h"

namespace libpool {

// Nanoseconds by which a load from far_node takes longer than one from near_node, at least 10: a
// difference that cannot be told from noise is no reason to give up. Takes 256 KiB on each node for
// some milliseconds. ENOMEM when a node has no room for that; ENOTSUP where caches cannot be
// bypassed.
Result<double> measure_gain_ns(int near_node, int far_node);

}  // namespace libpool
