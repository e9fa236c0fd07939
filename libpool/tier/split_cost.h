// SPDX-License-Identifier: Apache-2.0
// What splitting a huge page costs here and now, and whether it works at all. Pure.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>

#include "error.h"

namespace libpool::tier {

class SplitCost {
  public:
    double block_ns() const { return block_ns_; }
    // Why no more are to be tried, or "". One refusal may be of that block (the program has just
    // unmapped it); of nothing but refusals the kernel, or whoever forbids it, is the reason.
    const std::string& hopeless() const { return hopeless_; }

    void took(double ns, const Result<void>& result) {
        if (!result) {
            if (++refused_ >= most_refused && done_ == 0) hopeless_ = result.error().sentence;
            return;
        }
        block_ns_ += (done_ == 0 ? 1 : step) * (ns - block_ns_);
        ++done_;
    }

  private:
    static constexpr uint64_t most_refused = 4;
    static constexpr double step = 0.2;  // weight of the newest one
    double block_ns_ = 1e5;              // a guess
    uint64_t done_ = 0, refused_ = 0;
    std::string hopeless_;
};

}  // namespace libpool::tier
