// SPDX-License-Identifier: Apache-2.0
// The "sim" side of fmd.json: the same devices and hosts as for any backend, plus one optional
// object that tells how the simulated hosts behave:
//   "sim": {"seed": 7, "old_bytes": true, "hosts": {"h2": {"driver": "none"}, "h3": {"silent":
//   true}}}
#pragma once

#include <string_view>

#include "backend/sim/world.h"
#include "core/result.h"

namespace cxlpool::sim {

// The text of fmd.json → a rack. Unknown keys and wrong values are refused with their JSON path.
Result<RackConfig> parse_rack(std::string_view json_text);

}  // namespace cxlpool::sim
