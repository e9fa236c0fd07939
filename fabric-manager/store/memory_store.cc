// SPDX-License-Identifier: Apache-2.0
#include "store/memory_store.h"

#include <algorithm>
#include <utility>

namespace cxlpool {

Result<std::vector<Record>> MemoryStore::load() {
    if (poison_) return std::unexpected(*poison_);
    return records_;
}

Result<void> MemoryStore::append(const std::vector<Record>& records) {
    if (!next_failure_.empty()) {
        poison_ = Error{Code::storage, std::exchange(next_failure_, {})};
    }
    if (poison_) return std::unexpected(*poison_);
    records_.insert(records_.end(), records.begin(), records.end());
    if (durable_at_ == Durable::at_append) sync();
    return {};
}

void MemoryStore::sync() { durable_ = records_.size(); }

std::size_t MemoryStore::unsynced() const { return records_.size() - durable_; }

void MemoryStore::crash(std::size_t survivors) {
    records_.resize(durable_ + std::min(survivors, unsynced()));
    sync();
    poison_.reset();
    next_failure_.clear();
}

}  // namespace cxlpool
