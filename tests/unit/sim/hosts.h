// SPDX-License-Identifier: Apache-2.0
// The two hosts of the simulator's tests.
#pragma once

#include "core/ids.h"

namespace cxlpool::sim {

inline const HostName h1{"h1"}, h2{"h2"};

}  // namespace cxlpool::sim
