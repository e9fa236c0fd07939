// SPDX-License-Identifier: Apache-2.0
// What a run was worth: shares, costs against first touch and against the bound, moves, recovery.
// Costs are seconds of the program's time.
#pragma once

#include <optional>
#include <span>
#include <string>

#include "pooltrace/bound.h"
#include "pooltrace/world.h"

namespace libpool::tier::trace {

struct Recovery {
    std::optional<double> to_90_s, to_95_s;  // none: not within the trace
};

struct Summary {
    std::string policy, workload;
    uint64_t pages = 0, near_pages = 0;
    double accesses = 0;
    double near_share = 0;
    double base_near_share = 0;   // first touch
    double bound_near_share = 0;  // 1 - bound/(loss × accesses)
    double of_bound = 0;          // near_share / bound_near_share
    double cost_s = 0;            // far accesses, moves, overhead
    double base_cost_s = 0;       // far accesses under first touch
    double bound_cost_s = 0;
    double regret = 0;  // (far accesses + moves - bound) / bound; bound 0: 0 or infinite
    uint64_t promoted = 0, demoted = 0, ping_pong = 0;
    double moved_bytes = 0;
    double overhead_share = 0;  // of the program's time
    Recovery recovery;          // from the last jump, when there was one
    uint64_t cycles = 0, refused = 0;
};

Summary summarize(const Trace& trace, const World& world, const Outcome& outcome,
                  const Bound& bound, std::span<const uint32_t> jumps);

// From the jump to the first epoch that serves `part` of what the best unchanging placement serves
// from the jump to the end of that phase, in this epoch and on the average of all that follow.
std::optional<double> recovery_s(const Trace& trace, uint64_t near_pages, const Outcome& outcome,
                                 uint32_t jump, uint32_t phase_end, double part);

// What the policy's status says from a moment on, in seconds.
struct Promise {
    double now_s;
    double allowance_s;      // C
    double unnoticed_s = 0;  // U: what is lost before it is noticed
    double most_s() const { return allowance_s + unnoticed_s; }
};

// The no-harm promise: cost ≤ (1 + ε)·baseline + C + U at every moment, where the baseline's cost
// is the program's time under first touch, and C and U are what was said at that moment (before the
// first word, the first ones). promises: by time, at least one.
struct Harm {
    double worst_s = 0;            // the greatest of cost - (1 + ε)·baseline - C - U
    double worst_placement_s = 0;  // likewise without overhead and ε: what placement alone lost
    double worst_without_u_s = 0;  // likewise without U: the bound that was asked for, and is not
                                   // promised
    double lost_s = 0;             // the greatest loss by placement, moves included
    double final_s = 0;            // the same at the end
    bool violated() const { return worst_s > 0; }
    bool placement_violated() const { return worst_placement_s > 0; }
    bool beyond_allowance() const { return worst_without_u_s > 0; }
};
Harm harm_of(const Trace& trace, const World& world, const Outcome& outcome, double epsilon,
             std::span<const Promise> promises);

}  // namespace libpool::tier::trace
