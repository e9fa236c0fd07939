// SPDX-License-Identifier: Apache-2.0
// A process that can be asked, and never answers.
#pragma once

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tier/control.h"

namespace poold {

// Listens under its name and does nothing more.
class SilentProcess {
  public:
    SilentProcess() {
        int ready[2];
        EXPECT_EQ(pipe(ready), 0);
        pid_ = fork();
        if (pid_ == 0) {
            const libpool::tier::ControlAddress address(getpid());
            const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
            bind(fd, address.get(), address.size());
            listen(fd, 8);
            close(ready[0]);
            close(ready[1]);
            while (true) pause();
        }
        close(ready[1]);
        char end;
        EXPECT_EQ(read(ready[0], &end, 1), 0);  // the child has let go of it
        close(ready[0]);
    }
    SilentProcess(const SilentProcess&) = delete;
    ~SilentProcess() {
        kill(pid_, SIGKILL);
        waitpid(pid_, nullptr, 0);
    }
    pid_t pid() const { return pid_; }

  private:
    pid_t pid_;
};

}  // namespace poold
