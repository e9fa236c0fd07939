// SPDX-License-Identifier: Apache-2.0
#include "read_text.h"

#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>

namespace libpool {

namespace {

std::unexpected<Error> unreadable(const std::string& path, int code) {
    return fail(code, "%s cannot be read: %s", path.c_str(), errno_text(code).c_str());
}

}  // namespace

Result<std::string> read_text(const std::string& path) {
    const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (file < 0) return unreadable(path, errno);
    std::string content;
    char piece[4096];
    ssize_t got = 0;
    while ((got = read(file, piece, sizeof piece)) > 0 || (got < 0 && errno == EINTR)) {
        if (got > 0) content.append(piece, size_t(got));
    }
    const int code = errno;
    close(file);
    if (got < 0) return unreadable(path, code);
    return content;
}

std::vector<std::string> list_folder(const std::string& path) {
    constexpr size_t length_at = 16, name_at = 19;  // in a struct linux_dirent64
    std::vector<std::string> names;
    const int folder = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0) return names;
    alignas(8) char entries[4096];
    long got = 0;
    while ((got = syscall(SYS_getdents64, folder, entries, sizeof entries)) > 0) {
        uint16_t length = 0;
        for (long at = 0; at < got; at += length) {
            std::memcpy(&length, entries + at + length_at, sizeof length);
            std::string name(entries + at + name_at);
            if (name != "." && name != "..") names.push_back(std::move(name));
        }
    }
    close(folder);
    return names;
}

}  // namespace libpool
