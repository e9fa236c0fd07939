// SPDX-License-Identifier: Apache-2.0
// A recorded trace behind the Sampler interface: the whole engine runs over it in the time of the
// clock it is given, which may be a simulated one. Built with pooltrace, apart from the library.
//
// Page i of the trace is the page at first_address + i × 4096. The trace begins when the sampler is
// made; a page is absent before it is born, and behind the end nothing is touched.
#pragma once

#include <memory>

#include "pooltrace/trace.h"
#include "tier/clock.h"
#include "tier/sampler.h"

namespace libpool::tier {

struct Recording {
    enum class Shows {
        first_touches,  // as a tracker with one bit a page sees them (pooltrace/touches.h)
        counts,         // exactly
    };
    trace::Trace trace;
    uint64_t first_address = 0;
    Shows shows = Shows::first_touches;
    SampleCosts costs;  // what info() says; the clock is not charged with them
    uint64_t seed = 1;
};

// `clock` outlives the sampler. Pages of runs outside the trace are absent.
std::unique_ptr<Sampler> make_recorded_sampler(Recording recording, Clock& clock);

}  // namespace libpool::tier
