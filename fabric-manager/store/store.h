// SPDX-License-Identifier: Apache-2.0
// The journal on durable storage. One thread uses it. Two implementations: SqliteStore, and
// MemoryStore, which loses what was not synced, as a power cut does.
#pragma once

#include <vector>

#include "core/record.h"
#include "core/result.h"

namespace cxlpool {

class Store {
  public:
    virtual ~Store() = default;

    // All records, in order. Once, before the first append.
    virtual Result<std::vector<Record>> load() = 0;

    // Returns when all of them are durable, in order, or none is (one commit). After an error the
    // store is poisoned: every later call fails too. It is never retried, since after a failed
    // fsync nobody knows what is on the disk: the caller stops acknowledging and exits.
    virtual Result<void> append(const std::vector<Record>& records) = 0;
};

}  // namespace cxlpool
