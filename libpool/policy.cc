// SPDX-License-Identifier: Apache-2.0
#include "policy.h"

#include <algorithm>
#include <functional>

namespace libpool {

namespace {

struct Sorted {
    std::vector<uint32_t> near;       // coldest first, all of them
    std::vector<uint32_t> newcomers;  // hottest first, admissible ones
};

Sorted sort_pages(std::span<const PageView> pages, double admission) {
    Sorted sorted;
    for (uint32_t i = 0; i < pages.size(); ++i) {
        const PageView& page = pages[i];
        if (page.place == Place::near) sorted.near.push_back(i);
        if (page.place == Place::far && page.windows >= judge_windows &&
            page.rested >= rest_windows && page.rate.lower > admission) {
            sorted.newcomers.push_back(i);
        }
    }
    // Ties end with the index, so that the same input gives the same plan.
    std::sort(sorted.near.begin(), sorted.near.end(), [&](uint32_t a, uint32_t b) {
        const Rate &x = pages[a].rate, &y = pages[b].rate;
        if (x.upper != y.upper) return x.upper < y.upper;
        return x.mean != y.mean ? x.mean < y.mean : a < b;
    });
    std::sort(sorted.newcomers.begin(), sorted.newcomers.end(), [&](uint32_t a, uint32_t b) {
        const Rate &x = pages[a].rate, &y = pages[b].rate;
        if (x.lower != y.lower) return x.lower > y.lower;
        return x.mean != y.mean ? x.mean > y.mean : a < b;
    });
    return sorted;
}

// The rate of the page that would just fit near, were all sorted by heat.
double marginal_rate(std::span<const PageView> pages, uint64_t capacity_pages) {
    std::vector<float> rates;
    for (const PageView& page : pages) {
        if (page.place != Place::unknown && page.windows > 0) rates.push_back(page.rate.mean);
    }
    if (rates.size() <= capacity_pages) return 0;
    auto margin = rates.begin() + static_cast<ptrdiff_t>(capacity_pages);
    std::nth_element(rates.begin(), margin, rates.end(), std::greater<>());
    return *margin;
}

}  // namespace

double admission_rate(const Situation& situation) {
    return situation.move_ns / (situation.gain_ns * situation.stay_s);
}

Plan decide(std::span<const PageView> pages, const Situation& situation) {
    const double admission = admission_rate(situation);
    Sorted sorted = sort_pages(pages, admission);

    Plan plan;
    uint64_t near_count = sorted.near.size();
    uint64_t capacity =
        std::min(situation.near_limit_pages, near_count + situation.near_room_pages);
    plan.boundary_rate = std::max(admission, marginal_rate(pages, capacity));
    uint64_t far_room = situation.far_room_pages;
    size_t victim = 0;  // next of sorted.near

    // Being over the limit is no matter of taste: rest does not protect here.
    while (near_count > situation.near_limit_pages && far_room > 0) {
        plan.demote.push_back(sorted.near[victim++]);
        --near_count;
        --far_room;
    }
    if (near_count > situation.near_limit_pages) return plan;

    uint64_t room = std::min(situation.near_limit_pages - near_count, situation.near_room_pages);
    for (uint32_t newcomer : sorted.newcomers) {
        if (room > 0) {
            plan.promote.push_back(newcomer);
            --room;
            continue;
        }
        while (victim < sorted.near.size() && pages[sorted.near[victim]].rested < rest_windows) {
            ++victim;
        }
        if (victim == sorted.near.size() || far_room == 0) break;
        const Rate& stays = pages[sorted.near[victim]].rate;
        double lower = pages[newcomer].rate.lower;
        bool pays = lower - stays.upper > 2 * admission && lower > swap_margin * stays.upper;
        if (!pays) break;
        plan.demote.push_back(sorted.near[victim++]);
        plan.promote.push_back(newcomer);
        --far_room;
    }
    return plan;
}

}  // namespace libpool
