// SPDX-License-Identifier: Apache-2.0
// The world of the simulator: a clock, near memory of so many pages, a program that does what its
// trace says, and a policy that samples and moves. Beside it runs the same program under first
// touch, for the comparison.
//
// Accesses of an epoch lie at independent uniform times in it. Moves take no time, and cost.
#pragma once

#include <cstdint>
#include <vector>

#include "pooltrace/trace.h"
#include "tier/policy.h"

namespace libpool::tier::trace {

// Measured natively, with uffd-WP in place of RWP: docs/TIERING.md.
inline constexpr SampleCosts native_costs{
    .arm_page_ns = 100, .arm_run_ns = 1000, .fault_ns = 1150, .look_page_ns = 16};
// Measured in a TCG guest.
inline constexpr SampleCosts guest_costs{
    .arm_page_ns = 450, .arm_run_ns = 5000, .fault_ns = 3600, .look_page_ns = 61};

struct World {
    uint64_t near_pages = 1;
    double loss_ns = 150;
    double move_ns = 2000;
    SampleCosts costs = native_costs;
    double decide_page_ns = 20;      // of each sampled page: 20 ms for a million pages
    bool exact = false;              // the policy gets counts, and they cost nothing
    double mover_pages_per_s = 0;    // cap; 0: none
    uint32_t ping_pong_epochs = 10;  // a page moved back within so many was moved in vain
    uint64_t seed = 1;               // of the times of accesses
};

struct EpochRow {
    double near = 0, far = 0;            // accesses
    double base_near = 0, base_far = 0;  // the same under first touch
    uint64_t promoted = 0, demoted = 0, ping_pong = 0;
    double overhead_ns = 0;  // sampling and deciding
    uint64_t near_used = 0;
};

struct Outcome {
    std::vector<EpochRow> rows;
    uint64_t cycles = 0;
    uint64_t refused = 0;  // moves the policy wanted and the world had no room or page for
    double seconds = 0;    // of the simulated program
};

// Drives the policy over the whole trace. The policy is new: it has tracked nothing yet.
Outcome simulate(const Trace& trace, Policy& policy, const World& world);

}  // namespace libpool::tier::trace
