// SPDX-License-Identifier: Apache-2.0
// Who shares the near tier, as the operator wrote it down:
//
//   file   = { [ line ] [ "#" … ] NL }
//   line   = "capacity" "=" ( SIZE | "auto" )
//          | "tenant" NAME { word "=" value }
//   word   = "program" | "cgroup" | "pid" | "label"     whom it is about; all that are given hold
//          | "floor" | "cap" | "weight"                 sizes, and 1 to 10000
//
// The first tenant that a process matches is its. A process that matches none is a tenant of its
// own, with weight 100. `label` is POOLTIER_TENANT: the process's own word, so give it no floor
// among users who do not trust each other.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "error.h"

namespace poold {

struct TenantRule {
    std::string name;
    std::string program;  // comm, as the kernel says
    std::string cgroup;   // path below /sys/fs/cgroup, or a parent of it
    std::optional<int> pid;
    std::string label;
    uint64_t floor_bytes = 0;
    uint64_t cap_bytes = UINT64_MAX;
    uint64_t weight = 100;
};

struct TenantsFile {
    std::optional<uint64_t> capacity_bytes;  // nothing: what is near and what the nodes have free
    bool capacity_given = false;
    std::vector<TenantRule> rules;
};

inline constexpr size_t tenants_file_limit_bytes = 256 << 10;
inline constexpr size_t tenant_rule_limit = 512;

// `name` is what sentences call the file.
libpool::Result<TenantsFile> parse_tenants(std::string_view lines, const std::string& name);
libpool::Result<TenantsFile> read_tenants(const std::string& path);

}  // namespace poold
