// SPDX-License-Identifier: Apache-2.0
// What may go wrong in one run. Every seed draws its own subset of faults (swarm testing): a run
// with few kinds of fault goes deeper into each than one with all of them.
#pragma once

#include <string>

#include "backend/sim/random.h"
#include "backend/sim/world.h"
#include "core/fabric.h"

namespace cxlpool::fmsim {

struct Swarm {
    sim::RackConfig rack;
    Limits limits;
    Millis safety_ms = 60'000;    // with faults
    Millis liveness_ms = 60'000;  // without
    Millis intent_every_ms = 2'000;
    Millis chaos_every_ms = 4'000;  // 0: hosts behave
    Millis sync_ms = 0;             // how long a commit takes, at most
    unsigned crash_per_effect = 0;  // chance in a thousand, after each effect of fmd
    bool foreign = false;
    // What hosts may do, each with its own switch.
    bool reboots = false, power_cycles = false, unreachable = false, hangs = false, silent = false,
         driver = false, lies = false, slow = false, refuses = false, returns = false,
         holds = false;

    std::string describe() const;
};

Swarm draw_swarm(std::uint64_t seed);

// One thing that a host does wrong now, or stops to do wrong. Returns what, for the trace.
std::string chaos(const Swarm& swarm, sim::SimWorld& world, sim::Random& random);

// Faults stop: every host is up, reachable, and behaves.
void heal(sim::SimWorld& world);

}  // namespace cxlpool::fmsim
