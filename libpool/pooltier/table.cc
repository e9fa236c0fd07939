// SPDX-License-Identifier: Apache-2.0
#include "pooltier/table.h"

#include "pooltier/verbs.h"

namespace pooltier {

const std::vector<Verb>& all_verbs() {
    static const Option json{"--json", "", "print JSON"};
    static const Option near_limit{"--near-limit", "SIZE", "near memory it may take: 512M; none"};
    static const Option cpu{"--cpu", "PERCENT", "overhead, of the program's CPU time (1)"};
    static const Option mbps{"--mbps", "N", "MiB/s moved at most; 0: no cap (0)"};
    static const std::vector<Verb> verbs{
        {"status", {"[PID]"}, "tiered processes, or all about one", {json}, status},
        {"top",
         {},
         "tiered processes, again and again",
         {{"--count", "N", "end after N frames; 1 when the output is no terminal"},
          {"--interval", "SECONDS", "between two frames (2)"}},
         top},
        {"run",
         {},
         "run a program tiered, without privileges",
         {near_limit,
          cpu,
          mbps,
          {"--near-nodes", "LIST", "nodes that are near: 0,2-3; else as the topology says"},
          {"--far-nodes", "LIST", "nodes that are far"},
          {"--sampler", "NAME", "auto, rwp, wp (auto)"},
          {"--tenant", "NAME", "whom poold books its near memory on"},
          {"--min-range", "SIZE", "smaller mappings are left alone (2M)"},
          {"--seed", "N", "of the random choices; 0: draw one (0)"},
          {"--say", "WHAT", "none, trouble or all: what the library tells on standard error"},
          {"--config", "FILE", "lines of name = value; options win"},
          {"--require", "", "do not run it untiered"}},
         run,
         true},
        {"explain", {"PID", "ADDR"}, "why is this page near, or far?", {json}, explain},
        {"set", {"PID"}, "change the limits of a running one", {near_limit, cpu, mbps}, set},
        {"record",
         {"PID", "FILE"},
         "write what it believes of its pages as a trace for pooltrace",
         {{"--seconds", "N", "how long (10)"}, {"--epoch-ms", "N", "length of an epoch (1000)"}},
         record},
    };
    return verbs;
}

}  // namespace pooltier
