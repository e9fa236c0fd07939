// SPDX-License-Identifier: Apache-2.0
// What the processes of a tenant say, as one. Pure.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "tier/snapshot.h"

namespace libpool::tier {

struct TenantMember {
    std::string tenant;
    const Snapshot* said;
};

struct TenantSum {
    std::string tenant;
    uint64_t processes = 0;
    uint64_t near_bytes = 0, far_bytes = 0, moved_bytes = 0, returned_pages = 0;
    // Of the touches of all its processes; 90 % interval, as if they erred independently.
    double near_share = 0, near_share_low = 0, near_share_high = 0;
    double allowance_s = 0, balance_s = 0;  // of their banks
    double overhead_cpu_s = 0, program_cpu_s = 0;
};

// By name. Who is not tiered is left out.
std::vector<TenantSum> sum_by_tenant(std::span<const TenantMember> members);

}  // namespace libpool::tier
