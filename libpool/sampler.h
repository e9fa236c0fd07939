// SPDX-License-Identifier: Apache-2.0
// Who touched which page: arm, wait, scan. Real (sampler_rwp), replayed (recording), and simulated
// in the tests. Not thread-safe; the engine calls from one thread at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "error.h"
#include "heat.h"

namespace libpool {

// Page-aligned memory of this process.
struct Range {
    uint64_t start = 0;
    uint64_t pages = 0;
};

class Sampler {
  public:
    virtual ~Sampler() = default;

    virtual Result<void> add(const Range& range) = 0;
    virtual void remove(const Range& range) = 0;

    // Opens a window on a range that was added.
    virtual Result<void> arm(const Range& range) = 0;
    // Closes it: what was seen of each page, and the window's true length in seconds.
    virtual Result<double> scan(const Range& range, std::vector<Seen>& seen) = 0;

    // What one touch in a window costs the program, as measured.
    virtual double fault_ns() const = 0;
    virtual std::string describe() const = 0;
};

// userfaultfd read-write protection of this process (kernel >= 7.3). The error says what is
// missing.
Result<std::unique_ptr<Sampler>> make_rwp_sampler();

// Is it usable, at this moment, by this process? Leaves nothing behind.
Result<void> probe_rwp();

}  // namespace libpool
