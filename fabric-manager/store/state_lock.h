// SPDX-License-Identifier: Apache-2.0
// One fmd a state file: a lock on a file of its own beside it, held for life and dropped by the
// kernel however the process ends. A lock on the database file itself would be SQLite's to lose:
// closing any descriptor of that file in this process drops the locks that SQLite holds on it.
#pragma once

#include <filesystem>

#include "core/result.h"

namespace cxlpool {

class StateLock {
  public:
    // Refused, with the pid of the other, when another process holds it. Creates `<state>.lock`.
    static Result<StateLock> take(const std::filesystem::path& state);

    StateLock(StateLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    StateLock& operator=(StateLock&& other) noexcept {
        std::swap(fd_, other.fd_);
        return *this;
    }
    ~StateLock();

  private:
    explicit StateLock(int fd) : fd_(fd) {}
    int fd_;
};

}  // namespace cxlpool
