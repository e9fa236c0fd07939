// SPDX-License-Identifier: Apache-2.0
// The memory of one device: a file that the QEMU of every attached host maps shared. Open here, it
// is locked against a second fmd, private, of the exact size, and known by an identity that no
// other file of the same name has.
#pragma once

#include <atomic>
#include <string>

#include "backend/qmp/unique_fd.h"
#include "core/extents.h"
#include "core/result.h"

namespace cxlpool {

class PoolFile {
  public:
    static Result<PoolFile> open(const std::string& path, Bytes size);

    // "inode 1234 born 1795334400.123456789"
    const std::string& identity() const { return identity_; }

    // Erases the range, flushes it, and reads every byte of it back; returns how many. What it
    // changes is what every host's mapping shows. Blocks; may run on another thread. Ends with an
    // error soon after `stop` is set.
    Result<Bytes> scrub(const Range& range, const std::atomic<bool>& stop) const;

    // False in a build whose scrub() only says it did (CXLPOOL_TEST_NO_SCRUB).
    static bool really_scrubs();

  private:
    PoolFile(std::string path, UniqueFd fd) : path_(std::move(path)), fd_(std::move(fd)) {}
    Result<void> check(Bytes size);
    Result<void> identify();
    Result<void> erase(const Range& range, const std::atomic<bool>& stop) const;
    Result<Bytes> read_back(const Range& range, const std::atomic<bool>& stop) const;
    std::unexpected<Error> io_error(const char* what, const Range& range, int error) const;

    std::string path_;
    UniqueFd fd_;  // holds the lock
    Bytes size_ = 0;
    std::string identity_;
};

}  // namespace cxlpool
