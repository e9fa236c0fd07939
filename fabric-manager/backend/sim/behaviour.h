// SPDX-License-Identifier: Apache-2.0
// How a simulated host behaves and what may go wrong on the way to it. All zero / default = a
// healthy rack; tests and the "sim" object of fmd.json change single members.
#pragma once

#include <string>

#include "core/units.h"

namespace cxlpool::sim {

// What owns the DCD function inside the guest.
enum class Driver {
    ready,   // ours, and it answers
    none,    // nothing is bound
    other,   // another driver has it (cxl_pci)
    broken,  // ours, and it gave up
};

// What the host's agent says instead of the truth.
enum class Lie {
    none,
    claims_plugged,    // everything it was asked to plug is plugged, though nothing is
    claims_unplugged,  // everything is unplugged, though it is still in use
    claims_nothing,    // it has no extent at all
    claims_others,     // it has an extent that nobody gave it
    claims_nonsense,   // sizes and addresses that cannot be
};

struct Behaviour {
    Driver driver = Driver::ready;
    std::string other_driver = "cxl_pci";
    std::string online_policy = "offline";
    bool silent = false;         // the agent (poold) is dead or was never started
    bool hung = false;           // the guest is stopped: neither driver nor agent does anything
    bool unreachable = false;    // fmd cannot talk to its machine
    bool never_accepts = false;  // offers stay unanswered
    bool rejects = false;        // offers are answered with an empty list
    bool never_returns = false;  // releases stay unanswered
    Lie lie = Lie::none;

    Millis accept_ms = 5;     // from the event to the driver's answer
    Millis plug_ms = 60;      // for 256 MiB
    Millis unplug_ms = 55;    // for an idle extent
    Millis report_ms = 1000;  // between reports when nothing changes
    Millis boot_ms = 3000;    // from power-on to driver and agent
    Bytes memory_block = 128 * MiB;
    Bytes held = 0;      // memory in use that refuses the unplug …
    Millis held_ms = 0;  // … for so long after the first try; 0 = for ever
};

// Chances in a thousand, for each command or completion.
struct Faults {
    unsigned command_lost = 0;        // no effect, no completion, ever
    unsigned command_refused = 0;     // no effect, reported as failed
    unsigned failed_with_effect = 0;  // took effect, reported as failed
    unsigned command_slow = 0;        // executed up to slow_ms later; those behind it wait
    unsigned completion_lost = 0;
    unsigned completion_late = 0;      // delivered up to late_ms later
    unsigned completion_repeated = 0;  // delivered a second time, up to late_ms later
    unsigned scrub_failed = 0;         // after erasing a part
    unsigned scrub_slow = 0;
    unsigned report_late = 0;  // overtaken by younger ones
    unsigned report_repeated = 0;
    Millis slow_ms = 4000;
    Millis late_ms = 60'000;
};

}  // namespace cxlpool::sim
