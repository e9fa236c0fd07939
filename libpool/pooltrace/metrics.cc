// SPDX-License-Identifier: Apache-2.0
#include "pooltrace/metrics.h"

#include <algorithm>
#include <functional>
#include <limits>

namespace libpool::tier::trace {

namespace {

constexpr double page_bytes = 4096;

double ratio(double part, double whole) { return whole > 0 ? part / whole : 1; }

double regret_of(double cost, double bound) {
    if (bound > 0) return (cost - bound) / bound;
    return cost > 0 ? std::numeric_limits<double>::infinity() : 0;
}

}  // namespace

Summary summarize(const Trace& trace, const World& world, const Outcome& outcome,
                  const Bound& bound, std::span<const uint32_t> jumps) {
    Summary s;
    s.pages = trace.pages;
    s.near_pages = world.near_pages;
    double near = 0, far = 0, base_near = 0, base_far = 0, overhead_ns = 0;
    for (const EpochRow& row : outcome.rows) {
        near += row.near;
        far += row.far;
        base_near += row.base_near;
        base_far += row.base_far;
        overhead_ns += row.overhead_ns;
        s.promoted += row.promoted;
        s.demoted += row.demoted;
        s.ping_pong += row.ping_pong;
    }
    s.accesses = near + far;
    s.near_share = ratio(near, s.accesses);
    s.base_near_share = ratio(base_near, s.accesses);
    s.bound_near_share = bound.near_share;
    s.of_bound = ratio(s.near_share, s.bound_near_share);
    double placement_ns = far * world.loss_ns + double(s.promoted + s.demoted) * world.move_ns;
    s.cost_s = (placement_ns + overhead_ns) * 1e-9;
    s.base_cost_s = base_far * world.loss_ns * 1e-9;
    s.bound_cost_s = bound.cost_ns * 1e-9;
    s.regret = regret_of(placement_ns, bound.cost_ns);
    s.moved_bytes = double(s.promoted + s.demoted) * page_bytes;
    s.overhead_share = overhead_ns * 1e-9 / outcome.seconds;
    s.cycles = outcome.cycles;
    s.refused = outcome.refused;
    if (!jumps.empty()) {
        uint32_t end = uint32_t(trace.epochs());
        s.recovery.to_90_s = recovery_s(trace, world.near_pages, outcome, jumps.back(), end, 0.90);
        s.recovery.to_95_s = recovery_s(trace, world.near_pages, outcome, jumps.back(), end, 0.95);
    }
    return s;
}

std::optional<double> recovery_s(const Trace& trace, uint64_t near_pages, const Outcome& outcome,
                                 uint32_t jump, uint32_t phase_end, double part) {
    std::vector<uint64_t> total(trace.pages, 0);
    for (uint32_t e = jump; e < phase_end; ++e)
        for (PageId page = 0; page < trace.pages; ++page) total[page] += trace.epoch(e)[page];
    std::vector<PageId> best(trace.pages);
    for (PageId page = 0; page < trace.pages; ++page) best[page] = page;
    size_t kept = std::min<size_t>(near_pages, best.size());
    if (kept < best.size()) {
        std::ranges::nth_element(best, best.begin() + ptrdiff_t(kept), std::greater{},
                                 [&](PageId page) { return total[page]; });
        best.resize(kept);
    }
    std::optional<double> found;
    double ours_after = 0, best_after = 0;
    for (uint32_t e = phase_end; e-- > jump;) {
        double optimum = 0;
        for (PageId page : best) optimum += trace.epoch(e)[page];
        double ours = outcome.rows[e].near;
        ours_after += ours;
        best_after += optimum;
        if (ours >= part * optimum && ours_after >= part * best_after)
            found = double(e - jump) * trace.epoch_s();
    }
    return found;
}

Harm harm_of(const Trace& trace, const World& world, const Outcome& outcome, double epsilon,
             std::span<const Promise> promises) {
    Harm harm;
    harm.worst_s = harm.worst_placement_s = harm.worst_without_u_s =
        -std::numeric_limits<double>::infinity();
    double lost_s = 0, overhead_s = 0, time_s = 0;
    for (const EpochRow& row : outcome.rows) {
        lost_s += ((row.far - row.base_far) * world.loss_ns +
                   double(row.promoted + row.demoted) * world.move_ns) *
                  1e-9;
        overhead_s += row.overhead_ns * 1e-9;
        time_s += trace.epoch_s();
        harm.lost_s = std::max(harm.lost_s, lost_s);
        harm.final_s = lost_s;
        while (promises.size() > 1 && promises[1].now_s <= time_s) promises = promises.subspan(1);
        const Promise& said = promises.front();
        const double above_s = lost_s + overhead_s - epsilon * time_s;
        harm.worst_placement_s = std::max(harm.worst_placement_s, lost_s - said.most_s());
        harm.worst_s = std::max(harm.worst_s, above_s - said.most_s());
        harm.worst_without_u_s = std::max(harm.worst_without_u_s, above_s - said.allowance_s);
    }
    return harm;
}

}  // namespace libpool::tier::trace
