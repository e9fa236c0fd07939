// SPDX-License-Identifier: Apache-2.0
// kernel.numa_balancing as this thread reads it, while the object lives: another file in its place,
// in a mount namespace that the thread has from then on. Needs root.
#pragma once

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

class Balancing {
  public:
    explicit Balancing(int mode) {
        char name[] = "/tmp/numa-balancing-XXXXXX";
        const int file = mkstemp(name);
        if (file < 0) return;
        const bool written = dprintf(file, "%d\n", mode) > 0;
        close(file);
        mounted_ = written && unshare(CLONE_NEWNS) == 0 &&
                   mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
                   mount(name, setting, nullptr, MS_BIND, nullptr) == 0;
        unlink(name);
    }
    ~Balancing() {
        if (mounted_) umount(setting);
    }
    Balancing(const Balancing&) = delete;
    explicit operator bool() const { return mounted_; }

  private:
    static constexpr const char* setting = "/proc/sys/kernel/numa_balancing";
    bool mounted_ = false;
};
