// SPDX-License-Identifier: Apache-2.0
// Believed rates as a trace that pooltrace reads. Pure.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "tier/policy.h"

namespace pooltier {

class TraceWriter {
  public:
    // Pages that come later than the head are left out: their number is part of it.
    TraceWriter(uint64_t pages, double epoch_s);

    std::string head(std::span<const libpool::tier::Place> places, const std::string& whose) const;
    std::string epoch(std::span<const float> rates);
    // Behind the last epoch: a trace without it was cut off.
    std::string end() const;

  private:
    double epoch_s_;
    std::vector<float> carried_;  // counts less than one, by page
    uint64_t epochs_ = 0;
};

}  // namespace pooltier
