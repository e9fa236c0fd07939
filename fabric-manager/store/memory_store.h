// SPDX-License-Identifier: Apache-2.0
// A journal in memory that can crash as a disk can: what was not synced is lost, but for as much of
// it as the caller chooses. For the simulator, the crash tests and fmd without a state file.
#pragma once

#include <cstddef>
#include <optional>
#include <vector>

#include "store/store.h"

namespace cxlpool {

class MemoryStore final : public Store {
  public:
    enum class Durable {
        at_append,  // append returns when the records are durable: the contract of Store
        at_sync,    // append only takes the records in; the caller must not act on them before
                    // sync(). This is an append that is still on its way to the disk when the power
                    // goes.
    };

    explicit MemoryStore(Durable durable = Durable::at_append) : durable_at_(durable) {}

    Result<std::vector<Record>> load() override;
    Result<void> append(const std::vector<Record>& records) override;

    void sync();
    std::size_t unsynced() const;  // records that crash() would lose

    // The power goes: of the unsynced tail only the first `survivors` records are on the disk. Ends
    // a poisoning: the next life begins with load().
    void crash(std::size_t survivors = 0);

    // The next append fails with this sentence, and poisons the store as a full disk does.
    void fail_next(std::string why) { next_failure_ = std::move(why); }

  private:
    Durable durable_at_;
    std::vector<Record> records_;  // what load() sees
    std::size_t durable_ = 0;      // so many of them a crash leaves
    std::string next_failure_;
    std::optional<Error> poison_;
};

}  // namespace cxlpool
