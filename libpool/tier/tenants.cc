// SPDX-License-Identifier: Apache-2.0
#include "tier/tenants.h"

#include <algorithm>

namespace libpool::tier {

namespace {

using Level = unsigned __int128;  // pages per weight, in 2^-level_bits

// Finer than any two (x + 1) / weight of one tenant can be apart: what is left after the level was
// found is at most one page for each tenant.
constexpr int level_bits = 20;
static_assert(weight_limit < 1 << level_bits);

struct Bounds {
    uint64_t low = 0;   // has it already
    uint64_t high = 0;  // wants no more
    uint64_t weight = 1;
    uint64_t pages = 0;
    double next_rate = 0;  // touches/s of the page after these; kept, for curves may be long
};

uint64_t pages_at(const Bounds& one, Level level) {
    Level pages = (level * one.weight) >> level_bits;
    return static_cast<uint64_t>(std::clamp<Level>(pages, one.low, one.high));
}

bool fits(const std::vector<Bounds>& all, Level level, uint64_t capacity) {
    uint64_t left = capacity;
    for (const Bounds& one : all) {
        uint64_t pages = pages_at(one, level);
        if (pages > left) return false;
        left -= pages;
    }
    return true;
}

double rate_of_page(const Tenant& tenant, uint64_t page) {
    for (const auto& step : tenant.benefit) {
        if (page < step.pages) return step.rate;
        page -= step.pages;
    }
    return 0;
}

// Whether the next page goes to a rather than to b, b being the earlier one.
bool goes_before(const Bounds& a, const Bounds& b) {
    Level key_a = Level(a.pages + 1) * b.weight, key_b = Level(b.pages + 1) * a.weight;
    if (key_a != key_b) return key_a < key_b;
    return a.next_rate > b.next_rate;
}

// Fills all up to `high` by the rule, from `low` on, which is known to fit. Returns what is left.
uint64_t fill(std::vector<Bounds>& all, std::span<const Tenant> tenants, uint64_t capacity) {
    Level below = 0, above = Level(1) << 100;  // weight 1 and 2^64 pages are far below it
    while (above - below > 1) {
        Level middle = below + (above - below) / 2;
        (fits(all, middle, capacity) ? below : above) = middle;
    }
    auto give = [&](size_t i, uint64_t pages) {
        all[i].pages += pages;
        all[i].next_rate = rate_of_page(tenants[i], all[i].pages);
        capacity -= pages;
    };
    for (size_t i = 0; i < all.size(); ++i) {
        all[i].pages = 0;
        give(i, pages_at(all[i], below));
    }
    while (capacity > 0) {
        size_t next = all.size();
        for (size_t i = 0; i < all.size(); ++i) {
            if (all[i].pages == all[i].high) continue;
            if (next == all.size() || goes_before(all[i], all[next])) next = i;
        }
        if (next == all.size()) break;
        give(next, 1);
    }
    return capacity;
}

// Pages of the curve that are worth near memory.
uint64_t useful_pages(const Tenant& tenant, double worth_rate) {
    uint64_t pages = 0;
    for (const auto& step : tenant.benefit) {
        if (step.rate > worth_rate) pages += std::min(step.pages, UINT64_MAX - pages);
    }
    return pages;
}

double served(const Tenant& tenant, uint64_t pages) {
    double rate = 0;
    for (const auto& step : tenant.benefit) {
        uint64_t taken = std::min(pages, step.pages);
        rate += double(taken) * step.rate;
        pages -= taken;
    }
    return rate;
}

Result<void> check(const Tenant& tenant) {
    if (tenant.weight < 1 || tenant.weight > weight_limit) {
        return fail(EINVAL, "tenant %s: a weight is 1 to %llu, not %llu", tenant.name.c_str(),
                    static_cast<unsigned long long>(weight_limit),
                    static_cast<unsigned long long>(tenant.weight));
    }
    if (tenant.floor_pages > tenant.cap_pages) {
        return fail(EINVAL, "tenant %s: its floor of %llu pages is above its cap of %llu",
                    tenant.name.c_str(), static_cast<unsigned long long>(tenant.floor_pages),
                    static_cast<unsigned long long>(tenant.cap_pages));
    }
    for (size_t i = 0; i < tenant.benefit.size(); ++i) {
        double rate = tenant.benefit[i].rate;
        bool falls = i == 0 || rate <= tenant.benefit[i - 1].rate;
        if (!(rate >= 0) || !falls) {
            return fail(EINVAL, "tenant %s: the rates of its benefit curve do not fall at step %zu",
                        tenant.name.c_str(), i);
        }
    }
    return {};
}

Limit limit_of(const Tenant& tenant, uint64_t pages, uint64_t use, bool above_level) {
    if (pages >= use) return Limit::satisfied;
    if (pages == tenant.cap_pages) return Limit::cap;
    return above_level ? Limit::floor : Limit::share;
}

}  // namespace

Result<Shares> divide(uint64_t capacity_pages, std::span<const Tenant> tenants, double worth_rate) {
    if (tenants.size() > tenant_limit) {
        return fail(EINVAL, "%zu tenants: %zu is the limit", tenants.size(), tenant_limit);
    }
    std::vector<Bounds> all;
    std::vector<uint64_t> uses;
    for (const Tenant& tenant : tenants) {
        if (auto good = check(tenant); !good) return std::unexpected(good.error());
        uses.push_back(useful_pages(tenant, worth_rate));
        uint64_t wants = std::min(tenant.cap_pages, uses.back());
        all.push_back({0, std::min(tenant.floor_pages, wants), tenant.weight, 0});
    }
    uint64_t left = fill(all, tenants, capacity_pages);  // the floors
    const bool floors_fit = left > 0 || std::all_of(all.begin(), all.end(), [](const Bounds& one) {
                                return one.pages == one.high;
                            });
    if (floors_fit) {
        for (size_t i = 0; i < all.size(); ++i) {
            all[i].low = all[i].pages;
            all[i].high = std::min(tenants[i].cap_pages, uses[i]);
        }
        left = fill(all, tenants, capacity_pages);
    }
    Shares shares;
    shares.free_pages = left;
    for (size_t i = 0; i < all.size(); ++i) {
        const Bounds& one = all[i];
        // At its floor, and by the level alone it would have less: somebody unsatisfied has less.
        bool above_level =
            floors_fit && one.pages > 0 && one.pages == one.low &&
            std::any_of(all.begin(), all.end(), [&](const Bounds& other) {
                return other.pages < other.high &&
                       Level(other.pages + 1) * one.weight < Level(one.pages) * other.weight;
            });
        shares.tenants.push_back({one.pages, served(tenants[i], one.pages),
                                  limit_of(tenants[i], one.pages, uses[i], above_level)});
    }
    return shares;
}

std::string describe(const Tenant& tenant, const Share& share) {
    static constexpr const char* reasons[] = {"its share", "its floor", "its cap",
                                              "all it has a use for"};
    auto number = [](uint64_t pages) { return static_cast<unsigned long long>(pages); };
    return text(
        "floor %llu, cap %s, weight %llu: %llu pages near, %s", number(tenant.floor_pages),
        tenant.cap_pages == UINT64_MAX ? "none" : text("%llu", number(tenant.cap_pages)).c_str(),
        number(tenant.weight), number(share.near_pages), reasons[static_cast<size_t>(share.limit)]);
}

}  // namespace libpool::tier
