// SPDX-License-Identifier: Apache-2.0
#include "tier/tenant_sum.h"

#include <algorithm>
#include <cmath>
#include <map>

namespace libpool::tier {

namespace {

// A process may say anything; what is none spoils the share of others of its name.
double touches_of(const Snapshot& said) {
    const double rate = said.policy.touches_per_s;
    return std::isfinite(rate) ? std::clamp(rate, 0.0, 1e12) : 0;
}

TenantSum sum_of(const std::string& tenant, const std::vector<const Snapshot*>& processes) {
    TenantSum sum;
    sum.tenant = tenant;
    sum.processes = processes.size();
    double touches = 0;
    for (const Snapshot* s : processes) touches += touches_of(*s);
    double low_squared = 0, high_squared = 0;
    for (const Snapshot* s : processes) {
        // Before anybody has seen a touch all count alike.
        const double part = touches > 0 ? touches_of(*s) / touches : 1 / double(processes.size());
        const TierStatus& policy = s->policy;
        sum.near_share += part * policy.near_share;
        low_squared += std::pow(part * (policy.near_share - policy.near_share_low), 2);
        high_squared += std::pow(part * (policy.near_share_high - policy.near_share), 2);
        sum.near_bytes += s->near_bytes;
        sum.far_bytes += s->far_bytes;
        sum.moved_bytes += s->moved_bytes;
        sum.returned_pages += policy.bank.returned_pages;
        sum.allowance_s += policy.bank.allowance_s;
        sum.balance_s += policy.bank.balance_s;
        sum.overhead_cpu_s += s->overhead_cpu_s;
        sum.program_cpu_s += s->program_cpu_s;
    }
    sum.near_share_low = std::max(0.0, sum.near_share - std::sqrt(low_squared));
    sum.near_share_high = std::min(1.0, sum.near_share + std::sqrt(high_squared));
    return sum;
}

}  // namespace

std::vector<TenantSum> sum_by_tenant(std::span<const TenantMember> members) {
    std::map<std::string, std::vector<const Snapshot*>> tenants;
    for (const TenantMember& member : members) {
        if (member.said->state == TieringState::tiered)
            tenants[member.tenant].push_back(member.said);
    }
    std::vector<TenantSum> sums;
    for (const auto& [tenant, processes] : tenants) sums.push_back(sum_of(tenant, processes));
    return sums;
}

}  // namespace libpool::tier
