// SPDX-License-Identifier: Apache-2.0
#include "poold/allot.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "tier/control_client.h"
#include "tier/tenants.h"

namespace poold {

using libpool::fail;
using libpool::Result;
using namespace libpool::tier;

namespace {

constexpr uint64_t page_bytes = 4096;

// Each may be a tenant of its own: nobody can start so many that nothing is divided any more.
static_assert(tenant_limit >= process_limit);

// A page has a use for near memory when its move would pay within this time.
constexpr double worth_horizon_s = 60;

double worth_rate(const Snapshot& said) {
    bool known = said.loss_ns > 0 && said.move_ns > 0 && std::isfinite(said.move_ns / said.loss_ns);
    return known ? said.move_ns / said.loss_ns / worth_horizon_s : 0;
}

using Steps = std::vector<TierPolicy::Step>;

// Pages that are worth their move, by falling rate, whatever the process said in what order: what
// divide() takes.
Steps worthy(const TieredProcess& process) {
    double worth = worth_rate(process.said);
    Steps steps;
    uint64_t left = UINT32_MAX;
    for (const BenefitStep& step : process.benefit) {
        if (!(step.rate > worth) || !std::isfinite(step.rate) || step.pages == 0) continue;
        steps.push_back({std::min(step.pages, left), step.rate});
        left -= steps.back().pages;
        if (left == 0 || steps.size() == benefit_limit) break;
    }
    std::stable_sort(steps.begin(), steps.end(),
                     [](const auto& a, const auto& b) { return a.rate > b.rate; });
    return steps;
}

struct Group {
    Tenant tenant;
    std::vector<size_t> members;  // of the processes
    std::vector<Steps> steps;     // of each member
};

uint64_t pages_up(uint64_t bytes) {
    return bytes == UINT64_MAX ? UINT64_MAX : bytes / page_bytes + (bytes % page_bytes != 0);
}

std::vector<Group> group(const TenantsFile& file, const std::vector<TieredProcess>& processes) {
    std::vector<Group> groups;
    std::map<std::string, size_t> by_name;
    for (size_t i = 0; i < processes.size(); ++i) {
        if (processes[i].said.state != TieringState::tiered) continue;
        const TenantRule* rule = rule_of(file, processes[i]);
        std::string name = rule ? rule->name : "pid-" + std::to_string(processes[i].said.target);
        auto [at, is_new] = by_name.try_emplace(name, groups.size());
        if (is_new) {
            Tenant tenant;
            tenant.name = name;
            if (rule) {
                tenant.floor_pages = rule->floor_bytes / page_bytes;
                tenant.cap_pages = std::max(pages_up(rule->cap_bytes), tenant.floor_pages);
                tenant.weight = rule->weight;
            }
            groups.push_back({std::move(tenant), {}, {}});
        }
        groups[at->second].members.push_back(i);
        groups[at->second].steps.push_back(worthy(processes[i]));
    }
    for (Group& one : groups) {
        Steps& all = one.tenant.benefit;
        for (const Steps& steps : one.steps) all.insert(all.end(), steps.begin(), steps.end());
        std::stable_sort(all.begin(), all.end(),
                         [](const auto& a, const auto& b) { return a.rate > b.rate; });
    }
    return groups;
}

// What is left over, by weight and below the caps, so that a process whose work grows need not wait
// for the next round.
std::vector<uint64_t> with_room(const std::vector<Group>& groups, const Shares& shares) {
    std::vector<uint64_t> pages;
    double weights = 0;
    for (const Group& one : groups) weights += double(one.tenant.weight);
    for (size_t i = 0; i < groups.size(); ++i) {
        auto extra = static_cast<uint64_t>(double(shares.free_pages) *
                                           double(groups[i].tenant.weight) / weights);
        pages.push_back(std::min(shares.tenants[i].near_pages + extra, groups[i].tenant.cap_pages));
    }
    return pages;
}

Result<std::vector<uint64_t>> among_members(const Group& one, uint64_t pages) {
    std::vector<Tenant> members;
    for (size_t i = 0; i < one.members.size(); ++i) {
        Tenant member;
        member.name = one.tenant.name;
        member.benefit = one.steps[i];
        members.push_back(std::move(member));
    }
    auto shares = divide(pages, members);
    if (!shares) return std::unexpected(shares.error());
    std::vector<uint64_t> out;
    for (const Share& share : shares->tenants) {
        out.push_back(share.near_pages + shares->free_pages / members.size());
    }
    return out;
}

}  // namespace

const TenantRule* rule_of(const TenantsFile& file, const TieredProcess& process) {
    for (const TenantRule& rule : file.rules) {
        if (!rule.program.empty() && rule.program != process.program) continue;
        if (rule.pid && *rule.pid != process.said.target) continue;
        if (!rule.label.empty() && rule.label != process.said.tenant) continue;
        if (!rule.cgroup.empty()) {
            bool below = process.cgroup == rule.cgroup || rule.cgroup == "/" ||
                         process.cgroup.starts_with(rule.cgroup + "/");
            if (!below) continue;
        }
        return &rule;
    }
    return nullptr;
}

uint64_t near_capacity(const std::vector<TieredProcess>& processes, uint64_t room_bytes,
                       uint64_t total_bytes) {
    uint64_t rest = total_bytes - std::min(room_bytes, total_bytes);
    for (const TieredProcess& process : processes) rest -= std::min(process.said.near_bytes, rest);
    return total_bytes - rest;
}

Result<std::vector<Allotment>> allot(const TenantsFile& file,
                                     const std::vector<TieredProcess>& processes,
                                     uint64_t capacity_bytes) {
    std::vector<Allotment> out;
    for (const TieredProcess& process : processes)
        out.push_back({.pid = process.pid, .tenant = {}});
    std::vector<Group> groups = group(file, processes);
    std::vector<Tenant> tenants;
    for (const Group& one : groups) tenants.push_back(one.tenant);
    auto shares = divide(capacity_bytes / page_bytes, tenants);
    if (!shares) return std::unexpected(shares.error());
    std::vector<uint64_t> pages = with_room(groups, *shares);
    for (size_t i = 0; i < groups.size(); ++i) {
        auto parts = among_members(groups[i], pages[i]);
        if (!parts) return std::unexpected(parts.error());
        for (size_t j = 0; j < groups[i].members.size(); ++j) {
            size_t process = groups[i].members[j];
            out[process] = {processes[process].pid, groups[i].tenant.name, (*parts)[j] * page_bytes,
                            shares->tenants[i].limit};
        }
    }
    return out;
}

}  // namespace poold
