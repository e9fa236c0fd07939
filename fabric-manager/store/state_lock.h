// SPDX-License-Identifier: Apache-2.0
// One fmd a state file: a lock on a file of its own beside it, held for life and dropped by the
// kernel however the process ends. A lock on the database file itself would be SQLite's to lose:
// closing any descriptor of that file in this process drops the locks that SQLite holds on it.
// The file stays when fmd ends, unless the state was refused: then what was made is unmade.
#pragma once

#include <filesystem>
#include <string>
#include <utility>

#include "core/result.h"

namespace cxlpool {

class StateLock {
  public:
    // Refused, with the pid of the other, when another process holds it. Creates `<state>.lock`.
    static Result<StateLock> take(const std::filesystem::path& state);
    // The state is good: a lock file that was made for it stays.
    void keep() { made_.clear(); }

    StateLock(StateLock&& other) noexcept
        : fd_(std::exchange(other.fd_, -1)), made_(std::exchange(other.made_, {})) {}
    StateLock& operator=(StateLock&&) = delete;
    ~StateLock();

  private:
    StateLock(int fd, std::string made) : fd_(fd), made_(std::move(made)) {}
    int fd_;
    std::string made_;  // the lock file, when this one made it and it is not kept yet
};

}  // namespace cxlpool
