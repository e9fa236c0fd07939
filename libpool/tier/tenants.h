// SPDX-License-Identifier: Apache-2.0
// Who gets how much of the near tier, when several programs or cgroups want it. Pure.
//
// The rule is weighted max-min fairness of pages (Bertsekas and Gallager, Data Networks, 2nd ed.,
// 6.5.2; water filling as in Radunovic and Le Boudec, "A Unified Framework for Max-Min and Min-Max
// Fairness"), on what each tenant has a use for:
//
//   use    d = min(cap, pages of its benefit curve that are touched more often than worth_rate)
//   floor  l = min(floor, d)
//   share  x = clamp(weight * t, l, d), with one level t for all, so that the sum of x is the
//              capacity, or the sum of d when that is less
//
// in whole pages: page after page goes to the tenant that wants more and whose (x + 1) / weight is
// the least; of equals to the one whose next page is touched more, then to the first. Floors are
// filled before anything else; when they do not fit, they are filled by that same rule.
//
// What follows, and the tests check: a tenant that is not satisfied has, per weight, no less than
// anybody who is above its floor (no envy, up to one page); nobody gets less by more capacity or by
// a higher weight of its own; what nobody has a use for stays free. Curves count by their length
// and not by their height: shares by height would let a tenant win by touching its pages in vain.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "error.h"
#include "tier/tier_policy.h"

namespace libpool::tier {

inline constexpr uint64_t weight_limit = 10'000;
inline constexpr size_t tenant_limit = 4096;

struct Tenant {
    std::string name;
    uint64_t floor_pages = 0;
    uint64_t cap_pages = UINT64_MAX;
    uint64_t weight = 100;                  // 1…weight_limit
    std::vector<TierPolicy::Step> benefit;  // by falling rate, as TierPolicy::benefit() gives it
};

enum class Limit : uint8_t {
    share,      // more would be of use, others have as good a right to it
    floor,      // only its floor keeps it from less
    cap,        // more would be of use, its cap forbids it
    satisfied,  // it has all that it has a use for
};

struct Share {
    uint64_t near_pages = 0;
    double served_rate = 0;  // touches/s that these pages serve
    Limit limit = Limit::share;
    friend bool operator==(const Share&, const Share&) = default;
};

struct Shares {
    std::vector<Share> tenants;  // in the order that was asked
    uint64_t free_pages = 0;     // nobody has a use for them, or a cap forbids it
};

// EINVAL, naming the tenant: a weight out of range, a floor above the cap, rates that rise.
// worth_rate: touches/s up to which near memory is of no use to a page (the rate at which a move
// does not pay).
Result<Shares> divide(uint64_t capacity_pages, std::span<const Tenant> tenants,
                      double worth_rate = 0);

// "floor 10, cap none, weight 100: 25 pages near, its share".
std::string describe(const Tenant& tenant, const Share& share);

}  // namespace libpool::tier
