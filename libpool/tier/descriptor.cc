// SPDX-License-Identifier: Apache-2.0
#include "tier/descriptor.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

namespace libpool::tier {

Descriptor::Descriptor(int fd) : fd_(fd) {
    struct stat is {};
    if (fd_ >= 0 && fstat(fd_, &is) == 0) {
        device_ = is.st_dev;
        inode_ = is.st_ino;
    }
}

Descriptor::~Descriptor() {
    if (still_ours()) close(fd_);
}

bool Descriptor::still_ours() const {
    struct stat is {};
    return fd_ >= 0 && fstat(fd_, &is) == 0 && is.st_dev == device_ && is.st_ino == inode_;
}

void Descriptor::lift() {
    rlimit limit{};
    if (fd_ < 0 || getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
    long floor = long(std::min<rlim_t>(limit.rlim_cur, 1024)) - 8;
    if (floor <= fd_) return;
    int high = fcntl(fd_, F_DUPFD_CLOEXEC, int(floor));
    if (high < 0) return;
    close(fd_);
    fd_ = high;
}

}  // namespace libpool::tier
