// SPDX-License-Identifier: Apache-2.0
#include "store/state_lock.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

namespace cxlpool {
namespace {

// What the holder wrote; empty in the instant between its lock and its writing.
std::string holder_of(int fd) {
    char text[32] = {};
    const ssize_t length = ::pread(fd, text, sizeof(text) - 1, 0);
    std::string pid(text, length > 0 ? static_cast<std::size_t>(length) : 0);
    while (!pid.empty() && pid.back() == '\n') pid.pop_back();
    return pid;
}

}  // namespace

Result<StateLock> StateLock::take(const std::filesystem::path& state) {
    const std::string path = state.string() + ".lock";
    constexpr int flags = O_RDWR | O_CLOEXEC | O_NOFOLLOW;
    int fd = ::open(path.c_str(), flags | O_CREAT | O_EXCL, 0600);
    const bool made = fd >= 0;
    if (!made && errno == EEXIST) {
        fd = ::open(path.c_str(), flags);
        if (fd < 0 && errno == ENOENT) return take(state);  // a refused one has just removed it
    }
    if (fd < 0) {
        return fail(errno == EACCES ? Code::denied : Code::storage,
                    fmt::format("state {} cannot be locked: {}: {}", state.string(), path,
                                std::strerror(errno)));
    }
    StateLock lock(fd, "");
    if (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK) {
            return fail(Code::storage, fmt::format("state {} cannot be locked: {}: {}",
                                                   state.string(), path, std::strerror(errno)));
        }
        const std::string pid = holder_of(fd);
        return fail(Code::conflict,
                    fmt::format("state {} is in use by another fmd{}: stop that one first, or give "
                                "this one a state of its own",
                                state.string(), pid.empty() ? "" : " (pid " + pid + ")"));
    }
    struct stat locked = {};
    // A refused one has removed it between our opening and our locking: that lock locks nothing.
    if (::fstat(fd, &locked) == 0 && locked.st_nlink == 0) return take(state);
    if (made) lock.made_ = path;
    const std::string pid = fmt::format("{}\n", ::getpid());
    if (::ftruncate(fd, 0) != 0 || ::pwrite(fd, pid.data(), pid.size(), 0) < 0) {
        // The pid only serves the sentence above; the lock holds without it (a full disk, say).
    }
    return lock;
}

StateLock::~StateLock() {
    if (!made_.empty()) ::unlink(made_.c_str());  // before it is let go: see take()
    if (fd_ >= 0) ::close(fd_);
}

}  // namespace cxlpool
