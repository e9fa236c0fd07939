// SPDX-License-Identifier: Apache-2.0
// Virtual time: what will happen, in order. Two things at the same millisecond happen in the order
// in which they were planned; nothing ever reads a clock.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <utility>

#include "core/units.h"

namespace cxlpool::sim {

class Timeline {
  public:
    using Action = std::function<void()>;

    explicit Timeline(Millis now = 0) : now_(now) {}

    Millis now() const { return now_; }

    // A delay of 0 still happens later than everything already planned for this millisecond.
    void after(Millis delay, Action action) {
        planned_.emplace(std::pair{now_ + (delay > 0 ? delay : 0), ++planned_count_},
                         std::move(action));
    }

    std::optional<Millis> next() const {
        if (planned_.empty()) return std::nullopt;
        return planned_.begin()->first.first;
    }

    // Does everything planned up to `until`, including what that plans in turn. Time never goes
    // back.
    void run_until(Millis until) {
        while (!planned_.empty() && planned_.begin()->first.first <= until) {
            auto node = planned_.extract(planned_.begin());
            now_ = node.key().first;
            node.mapped()();
        }
        if (until > now_) now_ = until;
    }

  private:
    Millis now_;
    std::uint64_t planned_count_ = 0;
    std::map<std::pair<Millis, std::uint64_t>, Action> planned_;
};

}  // namespace cxlpool::sim
