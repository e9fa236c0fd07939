// SPDX-License-Identifier: Apache-2.0
// What a sampler would have seen of a trace: first touches after arming, drawn from the counts.
//
// An epoch's c accesses to a page lie at independent uniform times. So from x to y (shares of an
// epoch) none of them falls with probability (1 - (y - x))^c, which is survival under the hazard
// c · -ln(1 - (y - x)): one exponential variable a page and cycle finds the look that saw it first.
// Up to `few` accesses have times of their own that stay the same for every cycle of the epoch, so
// that a lone access is never seen twice.
#pragma once

#include <span>
#include <vector>

#include "pooltrace/trace.h"
#include "tier/policy.h"

namespace libpool::tier::trace {

class Touches {
  public:
    static constexpr uint32_t few = 4;

    // births: of each page the epoch in which it comes into being (trace.epochs(): never).
    Touches(const Trace& trace, std::span<const uint32_t> births, uint64_t seed);

    enum class Cycle {
        next,
        same,  // as before, with later looks: what was found is found again
    };
    // Fills sights of a reading whose start, looks and runs are set. Returns how many pages were
    // touched, each of which took one fault.
    uint64_t look(Reading& reading, Cycle which = Cycle::next);
    // Fills counts instead: accesses from arming to the last look.
    void count(Reading& reading, Cycle which = Cycle::next);

  private:
    // The part of a cycle that lies in one epoch, in shares of it.
    struct Part {
        size_t epoch;
        double from, to;
        struct Edge {
            Sight look;
            double at, hazard;  // hazard: of one access, from `from` to here
        };
        std::vector<Edge> edges;  // rising; the last one is at `to`
    };
    std::vector<Part> parts_of(const Reading& reading) const;
    double time_of(size_t epoch, PageId page, uint32_t access) const;
    Sight few_seen(const Part& part, PageId page, uint32_t count) const;
    void look_in(const Part& part, Reading& reading);

    const Trace& trace_;
    std::span<const uint32_t> births_;
    uint64_t seed_, cycle_ = 0;
    std::vector<float> left_;  // of each armed page's hazard; negative: not drawn yet
};

}  // namespace libpool::tier::trace
