// SPDX-License-Identifier: Apache-2.0
// The latest things that happened, for `fmctl event list`: a sentence for each journal record, old
// ones included, and the events that the manager published beside them. In memory; numbered from 1
// in each life of fmd.
#pragma once

#include <deque>

#include "core/manager.h"
#include "server/wire.h"

namespace cxlpool {

class EventLog {
  public:
    static constexpr std::size_t most_kept = 10'000;

    // A record that is durable. Refuses one that contradicts the earlier ones (as the manager
    // would).
    Result<void> add(const Record& record);
    void add(const Event& event);

    // Those after number `after`; the last `limit` of them.
    std::vector<wire::EventView> since(std::uint64_t after, std::size_t limit) const;
    std::uint64_t last() const { return last_; }
    const wire::EventView& newest() const { return events_.back(); }

  private:
    void keep(wire::EventView event);

    // The pool as of the last durable record: sentences name grants, and a record has only their
    // number.
    Pool pool_;
    std::deque<wire::EventView> events_;
    std::uint64_t last_ = 0;
};

}  // namespace cxlpool
