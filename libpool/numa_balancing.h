// SPDX-License-Identifier: Apache-2.0
// The kernel's NUMA balancing, the setting kernel.numa_balancing: while it is on the kernel moves
// pages between nodes by itself, and knows nothing of a near limit. It may be changed at any time,
// so whoever tells of it reads it anew.
#pragma once

#include <optional>
#include <string>

namespace libpool {

// 0: off; 1: pages go to the CPU that uses them (as Debian has it); 2: those of far tiers that are
// hot come near. Nothing where the kernel was built without it, or cannot be asked. `root`: "" on
// a machine.
std::optional<int> read_numa_balancing(const std::string& root);

// One sentence on what it does to a tiered program; "" where it is off.
std::string describe_numa_balancing(int mode);

}  // namespace libpool
