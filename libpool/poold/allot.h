// SPDX-License-Identifier: Apache-2.0
// How much near memory each tiered process may take: the operator's tenants and what the processes
// say of themselves, divided by tier/tenants.h. Pure.
#pragma once

#include <string>
#include <vector>

#include "poold/tenants_file.h"
#include "tier/snapshot.h"
#include "tier/tenants.h"

namespace poold {

// One tiered process: what the kernel says of it, and its own word.
struct TieredProcess {
    int pid = 0;
    std::string program;
    std::string cgroup;
    libpool::tier::Snapshot said;
    std::vector<libpool::tier::BenefitStep> benefit;
};

struct Allotment {
    int pid = 0;
    std::string tenant;  // "pid-812" for a process that no rule is about; "" when it is untiered
    uint64_t near_bytes = UINT64_MAX;                          // not limited
    libpool::tier::Limit limit = libpool::tier::Limit::share;  // of its tenant
};

// The rule that a process is under, or nullptr.
const TenantRule* rule_of(const TenantsFile& file, const TieredProcess& process);

// What there is to divide of near nodes with so much room, and so much memory in all: what is near
// already and the room; no more than all, whatever the processes say.
uint64_t near_capacity(const std::vector<TieredProcess>& processes, uint64_t room_bytes,
                       uint64_t total_bytes);

// In the order of `processes`, of which there are at most tenant_limit. What one says that makes no
// sense costs only itself. Processes of one tenant share what it gets by the same rule, with equal
// weights. What nobody has a use for is divided by weight, as room for what they begin to use
// before the next round.
libpool::Result<std::vector<Allotment>> allot(const TenantsFile& file,
                                              const std::vector<TieredProcess>& processes,
                                              uint64_t capacity_bytes);

}  // namespace poold
