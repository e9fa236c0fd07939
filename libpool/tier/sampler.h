// SPDX-License-Identifier: Apache-2.0
// Who touched which page: arm once, look several times. Real ones, replayed and exact ones. Not
// thread-safe; the engine calls from one thread at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "error.h"
#include "tier/policy.h"

namespace libpool::tier {

// Page-aligned memory of the tracked process.
struct AddressRun {
    uint64_t start = 0;
    uint64_t pages = 0;
    uint64_t end() const { return start + pages * 4096; }
};

struct SamplerInfo {
    std::string name;      // "rwp", "wp", "damon", "recorded", "truth"
    std::string describe;  // for people: "userfaultfd read-write protection, 1.2 us a fault"
    SampleCosts costs;
    bool writes_only = false;
    bool exact = false;  // gives counts
    bool parts = false;  // of a huge page that was split it sees each page
};

// The answer to a look, in parallel to the pages of the runs in order.
struct Look {
    double at_s = 0;               // since arming, of the looking thread's clock
    std::vector<Sight> sights;     // as in Reading, filled over all looks so far
    std::vector<uint32_t> counts;  // exact samplers only
    std::vector<uint64_t> huge;    // starts of huge pages that the runs touch
};

class Sampler {
  public:
    virtual ~Sampler() = default;

    // Memory that will be armed later. A part of it may go away (munmap, mremap, exec) at any time;
    // looking and arming then report those pages absent instead of failing.
    virtual Result<void> add(const AddressRun& range) = 0;
    virtual void remove(const AddressRun& range) = 0;

    // Begins a cycle on parts of what was added.
    virtual Result<void> arm(std::span<const AddressRun> runs) = 0;
    // Look number `rung` of this cycle. Only pages not found touched before are looked for.
    virtual Result<Look> look(Sight rung) = 0;
    // Ends the cycle: pages that were not touched will cost no fault any more.
    virtual void disarm() = 0;

    virtual SamplerInfo info() const = 0;
};

}  // namespace libpool::tier
