// SPDX-License-Identifier: Apache-2.0
#include "backend/qmp/pool_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>
#include <vector>

#include "core/units.h"

namespace cxlpool {
namespace {

constexpr Bytes kChunk = 1 * MiB;

// Who holds the lock, as the kernel tells it: " (pid 812)", or nothing when it does not.
std::string holder_of(int fd) {
    struct stat status = {};
    if (::fstat(fd, &status) != 0) return {};
    const std::string file =
        fmt::format("{:02x}:{:02x}:{}", major(status.st_dev), minor(status.st_dev), status.st_ino);
    std::ifstream locks("/proc/locks");  // "1: FLOCK  ADVISORY  WRITE 812 fe:00:1234 0 EOF"
    for (std::string line; std::getline(locks, line);) {
        std::istringstream fields(line);
        std::string number, kind, mode, access, pid, where;
        fields >> number >> kind >> mode >> access >> pid >> where;
        if (kind == "FLOCK" && where == file) return fmt::format(" (pid {})", pid);
    }
    return {};
}

// Compares each byte with the next: all are zero if the first is.
bool all_zero(const char* bytes, std::size_t length) {
    return length == 0 || (bytes[0] == 0 && std::memcmp(bytes, bytes + 1, length - 1) == 0);
}

Error stopped(const std::string& path) {
    return {Code::fabric, fmt::format("pool file {}: fmd stops before the scrub ended", path)};
}

}  // namespace

Result<PoolFile> PoolFile::open(const std::string& path, Bytes size) {
    UniqueFd fd(::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NONBLOCK));
    if (!fd) {
        return fail(errno == EACCES ? Code::denied : Code::fabric,
                    fmt::format("pool file {} cannot be opened: {}", path, std::strerror(errno)));
    }
    PoolFile file(path, std::move(fd));
    if (auto ok = file.check(size); !ok) return std::unexpected(ok.error());
    if (::flock(file.fd_.get(), LOCK_EX | LOCK_NB) != 0) {
        const int error = errno;
        if (error != EWOULDBLOCK) {
            return fail(Code::fabric, fmt::format("pool file {} cannot be locked: {}", path,
                                                  std::strerror(error)));
        }
        return fail(
            Code::conflict,
            fmt::format("pool file {} is in use by another fmd{}: two of them would give the "
                        "same memory to two hosts; stop that one first",
                        path, holder_of(file.fd_.get())));
    }
    if (auto ok = file.identify(); !ok) return std::unexpected(ok.error());
    return file;
}

Result<void> PoolFile::check(Bytes size) {
    struct stat status = {};
    if (::fstat(fd_.get(), &status) != 0) {
        return fail(Code::fabric, fmt::format("pool file {} cannot be examined: {}", path_,
                                              std::strerror(errno)));
    }
    if (!S_ISREG(status.st_mode)) {
        return fail(Code::fabric, fmt::format("pool file {} is not a regular file", path_));
    }
    if ((status.st_mode & 077) != 0) {
        return fail(Code::denied,
                    fmt::format("pool file {} is open to others (mode {:04o}), and so is every "
                                "host's memory in it: chmod 600 it",
                                path_, status.st_mode & 07777));
    }
    size_ = static_cast<Bytes>(status.st_size);
    if (size_ != size) {
        return fail(Code::fabric, fmt::format("pool file {} has {}, not the {} of the fabric file: "
                                              "correct the one that is wrong",
                                              path_, describe_size(size_), describe_size(size)));
    }
    return {};
}

Result<void> PoolFile::identify() {
    struct statx status = {};
    if (::statx(fd_.get(), "", AT_EMPTY_PATH, STATX_INO | STATX_BTIME, &status) != 0) {
        return fail(Code::fabric, fmt::format("pool file {} cannot be examined: {}", path_,
                                              std::strerror(errno)));
    }
    // Without it, a file made anew with an old inode number would pass for the one that was
    // scrubbed.
    if ((status.stx_mask & STATX_BTIME) == 0) {
        return fail(
            Code::fabric,
            fmt::format("pool file {} is on a file system that keeps no birth times, by which "
                        "a new file is told from an old one: put it on ext4, xfs or btrfs",
                        path_));
    }
    identity_ = fmt::format("inode {} born {}.{:09}", status.stx_ino, status.stx_btime.tv_sec,
                            status.stx_btime.tv_nsec);
    return {};
}

#ifdef CXLPOOL_TEST_NO_SCRUB

bool PoolFile::really_scrubs() { return false; }

Result<Bytes> PoolFile::scrub(const Range& range, const std::atomic<bool>&) const {
    return range.length;
}

#else

bool PoolFile::really_scrubs() { return true; }

Result<Bytes> PoolFile::scrub(const Range& range, const std::atomic<bool>& stop) const {
    if (range.end() < range.dpa || range.end() > size_) {
        return fail(Code::invalid, fmt::format("{} is not inside the {} of pool file {}",
                                               describe(range), describe_size(size_), path_));
    }
    if (auto ok = erase(range, stop); !ok) return std::unexpected(ok.error());
    if (::fdatasync(fd_.get()) != 0) return io_error("flushed", range, errno);
    return read_back(range, stop);
}

#endif

Result<void> PoolFile::erase(const Range& range, const std::atomic<bool>& stop) const {
    if (range.length == 0) return {};
    // Gives the blocks back to the file system, and every mapping of the file zeros from then on.
    if (::fallocate(fd_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                    static_cast<off_t>(range.dpa), static_cast<off_t>(range.length)) == 0) {
        return {};
    }
    if (errno != EOPNOTSUPP) return io_error("erased", range, errno);

    const std::vector<char> zeros(std::min(range.length, kChunk));
    for (Bytes at = range.dpa; at < range.end();) {
        if (stop) return std::unexpected(stopped(path_));
        const Bytes length = std::min<Bytes>(zeros.size(), range.end() - at);
        const ssize_t written = ::pwrite(fd_.get(), zeros.data(), length, static_cast<off_t>(at));
        if (written < 0 && errno == EINTR) continue;
        if (written <= 0) return io_error("erased", range, written < 0 ? errno : EIO);
        at += static_cast<Bytes>(written);
    }
    return {};
}

Result<Bytes> PoolFile::read_back(const Range& range, const std::atomic<bool>& stop) const {
    std::vector<char> buffer(std::min(range.length, kChunk));
    for (Bytes at = range.dpa; at < range.end();) {
        if (stop) return std::unexpected(stopped(path_));
        const Bytes length = std::min<Bytes>(buffer.size(), range.end() - at);
        const ssize_t got = ::pread(fd_.get(), buffer.data(), length, static_cast<off_t>(at));
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return io_error("read back", range, got < 0 ? errno : EIO);
        if (!all_zero(buffer.data(), static_cast<std::size_t>(got))) {
            const auto bad = std::find_if(buffer.begin(), buffer.begin() + got,
                                          [](char byte) { return byte != 0; });
            const Bytes dpa = at + static_cast<Bytes>(bad - buffer.begin());
            return fail(
                Code::fabric,
                fmt::format("pool file {}: DPA {} reads {:#04x} after {} was erased: some host "
                            "still writes there",
                            path_, dpa, static_cast<unsigned char>(*bad), describe(range)));
        }
        at += static_cast<Bytes>(got);
    }
    return range.length;
}

std::unexpected<Error> PoolFile::io_error(const char* what, const Range& range, int error) const {
    return fail(Code::fabric, fmt::format("pool file {}: {} could not be {}: {}", path_,
                                          describe(range), what, std::strerror(error)));
}

}  // namespace cxlpool
