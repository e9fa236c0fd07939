// SPDX-License-Identifier: Apache-2.0
#include "pooltier/table.h"

#include "pooltier/verbs.h"

namespace pooltier {

const std::vector<Verb>& all_verbs() {
    static const Option json{"--json", "", "print JSON"};
    static const Option near_limit{"--near-limit", "SIZE", "near memory it may take: 512M; none"};
    static const Option cpu{"--cpu", "PERCENT", "overhead, of the program's CPU time (1)"};
    static const Option mbps{"--mbps", "N", "MiB/s moved at most; 0: no cap (0)"};
    static const Option near_nodes{"--near-nodes", "LIST",
                                   "nodes that are near: 0,2-3; else as the topology says"};
    static const Option far_nodes{"--far-nodes", "LIST", "nodes that are far"};
    static const Option min_range{"--min-range", "SIZE", "smaller mappings are left alone (2M)"};
    static const Option seed0{"--seed", "N", "of the random choices; 0: draw one (0)"};
    static const Option measured{"--loss-ns", "N",
                                 "what a far access costs more; 0: measure it (0)"};
    static const Option near{"--near", "SIZE", "near memory: 64M, or a part of all pages: 1/8"};
    static const Option loss{"--loss-ns", "N", "what a far access costs more (150)"};
    static const Option move{"--move-ns", "N", "what moving a page costs (2000)"};
    static const Option seed{"--seed", "N", "of the random choices (1)"};
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
          near_nodes,
          far_nodes,
          {"--sampler", "NAME", "auto, rwp, wp or damon (auto)"},
          {"--tenant", "NAME", "whom poold books its near memory on"},
          min_range,
          seed0,
          measured,
          {"--say", "WHAT", "none, trouble or all: what the library tells on standard error"},
          {"--config", "FILE", "lines of name = value; options win"},
          {"--wait", "", "with one tier only, wait for a second one (a grant) and go on untiered"},
          {"--hand-over", "", "open the sampler only, and wait for pooltier attach to tier it"},
          {"--require", "", "do not run it untiered"}},
         run,
         true},
        {"attach",
         {"PID"},
         "tier a process from outside, as root, until either ends",
         {near_limit, cpu, mbps, near_nodes, far_nodes, min_range, seed0, measured},
         attach},
        {"explain", {"PID", "ADDR"}, "why is this page near, or far?", {json}, explain},
        {"set", {"PID"}, "change the limits of a running one", {near_limit, cpu, mbps}, set},
        {"record",
         {"PID", "FILE"},
         "write what it believes of its pages as a trace for pooltrace",
         {{"--seconds", "N", "how long (10)"}, {"--epoch-ms", "N", "length of an epoch (1000)"}},
         record},
        {"replay",
         {"FILE"},
         "a recorded trace under the policy, beside no tiering",
         {near, loss, move, seed},
         replay},
        {"what-if",
         {"FILE"},
         "a recorded trace with other settings",
         {near,
          cpu,
          mbps,
          {"--policy", "NAMES", "ours, first-touch, tpp, histogram, two-ewma (ours)"},
          loss,
          move,
          seed},
         replay},
    };
    return verbs;
}

}  // namespace pooltier
