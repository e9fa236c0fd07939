// SPDX-License-Identifier: Apache-2.0
// An owned file descriptor that lives among descriptors of a program that does not know of it. The
// program may close it (daemons close all they find) and open something else under its number, so
// it remembers which file it is: what is no longer that file is neither used nor closed.
#pragma once

#include <sys/types.h>

#include <utility>

namespace libpool::tier {

class Descriptor {
  public:
    Descriptor() = default;
    explicit Descriptor(int fd);
    Descriptor(Descriptor&& other) noexcept { swap(other); }
    Descriptor& operator=(Descriptor&& other) noexcept {
        Descriptor taken(std::move(other));
        swap(taken);
        return *this;
    }
    ~Descriptor();

    int get() const { return fd_; }
    explicit operator bool() const { return fd_ >= 0; }
    bool still_ours() const;  // false once somebody else has closed it

    // Where programs that count their descriptors from 3, or close those up to some number, do not
    // meet it: just below the soft limit, at most 1016 (a table of descriptors for more would cost
    // memory and time in each fork). Stays where it is when there is no room.
    void lift();

  private:
    void swap(Descriptor& other) {
        std::swap(fd_, other.fd_);
        std::swap(device_, other.device_);
        std::swap(inode_, other.inode_);
    }
    int fd_ = -1;
    dev_t device_ = 0;
    ino_t inode_ = 0;
};

}  // namespace libpool::tier
