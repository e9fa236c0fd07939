// SPDX-License-Identifier: Apache-2.0
// A listening Unix socket whose file has its owner and mode before anyone can connect. A file left
// by a dead process is removed, but only when nobody answers on it. The file goes with the object.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>

#include "core/result.h"

namespace cxlpool {

struct SocketAccess {
    mode_t mode = 0600;
    std::optional<uid_t> owner;  // none: whoever runs fmd
    std::optional<gid_t> group;
};

class UnixListener {
  public:
    static Result<UnixListener> listen(const std::string& path, const SocketAccess& access);

    UnixListener(UnixListener&& other) noexcept;
    UnixListener& operator=(UnixListener&&) = delete;
    ~UnixListener();

    const std::string& path() const { return path_; }
    int release_fd();  // the caller's from now on; the file stays ours

  private:
    UnixListener(std::string path, int fd);

    std::string path_;
    int fd_ = -1;
    dev_t device_ =
        0;  // of the file we made: another fmd's file of that name is not ours to remove
    ino_t inode_ = 0;
};

}  // namespace cxlpool
