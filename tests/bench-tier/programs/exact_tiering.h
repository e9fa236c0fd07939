// SPDX-License-Identifier: Apache-2.0
// libpool's engine and policy, fed by the plugin's exact counts instead of a tracker: what is lost
// by not seeing everything is the difference to libpool as it is.
#pragma once

#include <cstdint>
#include <expected>
#include <memory>
#include <string>

namespace work {

struct ExactWish {
    std::string counters;  // the file or PCI resource that the plugin writes
    uint64_t data = 0, pages = 0;
    int near_node = 0, far_node = 1;
    uint64_t near_limit_bytes = UINT64_MAX;
    double loss_ns = 150, cpu_share = 0.01;
};

class ExactTiering {
  public:
    virtual ~ExactTiering() = default;
    virtual std::string json() const = 0;  // its figures, one object
    // The error is a sentence.
    static std::expected<std::unique_ptr<ExactTiering>, std::string> start(const ExactWish& wish);
};

}  // namespace work
