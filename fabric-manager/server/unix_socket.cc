// SPDX-License-Identifier: Apache-2.0
#include "server/unix_socket.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <utility>

namespace cxlpool {
namespace {

// What connects at once; more wait in the clients' connect().
constexpr int backlog = 512;

class Fd {
  public:
    explicit Fd(int fd) : fd_(fd) {}
    Fd(const Fd&) = delete;
    Fd& operator=(const Fd&) = delete;
    ~Fd() {
        if (fd_ >= 0) ::close(fd_);
    }
    int get() const { return fd_; }
    int release() { return std::exchange(fd_, -1); }

  private:
    int fd_;
};

std::unexpected<Error> trouble(const std::string& path, int error) {
    const std::string folder = std::filesystem::path(path).parent_path().string();
    switch (error) {
        case ENOENT:
            return fail(Code::not_found,
                        fmt::format("cannot make the socket {}: the folder {} does not exist", path,
                                    folder));
        case EACCES:
        case EPERM:
            return fail(Code::denied,
                        fmt::format("cannot make the socket {}: no permission to write "
                                    "in {}",
                                    path, folder));
        default:
            return fail(Code::fabric,
                        fmt::format("cannot make the socket {}: {}", path, std::strerror(error)));
    }
}

Result<sockaddr_un> address_of(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.empty() || path.size() >= sizeof address.sun_path)
        return fail(Code::invalid,
                    fmt::format("the socket path {} has {} bytes; the kernel takes 1 to {}", path,
                                path.size(), sizeof address.sun_path - 1));
    std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
    return address;
}

// Makes way: nothing there, or a socket that nobody answers on, which is removed.
Result<void> clear_stale(const std::string& path, const sockaddr_un& address) {
    struct stat found {};
    if (::lstat(path.c_str(), &found) != 0) {
        if (errno == ENOENT) return {};
        return trouble(path, errno);
    }
    if (!S_ISSOCK(found.st_mode))
        return fail(
            Code::conflict,
            fmt::format("{} exists and is not a socket; move it, or name another path", path));
    const Fd probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    const int connected =
        ::connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
    if (connected == 0 || errno == EAGAIN)
        return fail(Code::conflict,
                    fmt::format("another process serves {}; is fmd already running?", path));
    if (errno != ECONNREFUSED) return trouble(path, errno);
    if (::unlink(path.c_str()) != 0) return trouble(path, errno);
    return {};
}

}  // namespace

Result<UnixListener> UnixListener::listen(const std::string& path, const SocketAccess& access) {
    const auto address = address_of(path);
    if (!address) return std::unexpected(address.error());
    if (const auto cleared = clear_stale(path, *address); !cleared)
        return std::unexpected(cleared.error());

    Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (fd.get() < 0) return trouble(path, errno);
    const mode_t before = ::umask(0777);  // nobody may connect until the owner and mode are right
    const int bound =
        ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&*address), sizeof *address);
    const int bind_error = errno;
    ::umask(before);
    if (bound != 0) return trouble(path, bind_error);

    UnixListener listener(path, fd.release());
    const uid_t owner = access.owner.value_or(static_cast<uid_t>(-1));
    const gid_t group = access.group.value_or(static_cast<gid_t>(-1));
    if ((access.owner || access.group) && ::lchown(path.c_str(), owner, group) != 0)
        return fail(
            Code::denied,
            fmt::format("cannot give the socket {} to user {} and group {}: {}", path,
                        access.owner ? std::to_string(owner) : "(same)",
                        access.group ? std::to_string(group) : "(same)", std::strerror(errno)));
    if (::chmod(path.c_str(), access.mode) != 0) return trouble(path, errno);
    if (::listen(listener.fd_, backlog) != 0) return trouble(path, errno);
    return listener;
}

UnixListener::UnixListener(std::string path, int fd) : path_(std::move(path)), fd_(fd) {
    struct stat made {};
    if (::lstat(path_.c_str(), &made) == 0) {
        device_ = made.st_dev;
        inode_ = made.st_ino;
    }
}

UnixListener::UnixListener(UnixListener&& other) noexcept
    : path_(std::exchange(other.path_, {})),
      fd_(std::exchange(other.fd_, -1)),
      device_(other.device_),
      inode_(other.inode_) {}

UnixListener::~UnixListener() {
    if (fd_ >= 0) ::close(fd_);
    struct stat there {};
    if (path_.empty() || ::lstat(path_.c_str(), &there) != 0) return;
    if (there.st_dev == device_ && there.st_ino == inode_) ::unlink(path_.c_str());
}

int UnixListener::release_fd() { return std::exchange(fd_, -1); }

}  // namespace cxlpool
