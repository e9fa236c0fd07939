// SPDX-License-Identifier: Apache-2.0
// `poold show`: the pool's extents as this host sees them.
#pragma once

#include <string>

#include "poold/host.h"

namespace poold {

std::string show_text(const Seen& seen);

}  // namespace poold
