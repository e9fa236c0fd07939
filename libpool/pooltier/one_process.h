// SPDX-License-Identifier: Apache-2.0
// The kernel as it is to be asked about another process: not at all once that has ended, since its
// number may be somebody else's then. What is left is the time between the question whether it
// lives and the system call: microseconds, in which all other numbers would have to be given out.
#pragma once

#include "kernel.h"

namespace pooltier {

class OneProcess final : public libpool::Kernel {
  public:
    // pidfd: of the process whose pages are moved.
    OneProcess(libpool::Kernel& kernel, int pidfd) : kernel_(kernel), pidfd_(pidfd) {}

    bool ended() const;
    long move_pages(pid_t pid, std::span<const uint64_t> pages, std::span<const int> nodes,
                    std::span<int> status) override;
    libpool::Result<void> split_huge(pid_t pid, uint64_t address) override;
    libpool::Result<void> set_huge(pid_t pid, uint64_t start, uint64_t bytes,
                                   libpool::HugePages how) override;
    uint64_t resident_bytes(pid_t pid) override;
    libpool::Result<uint64_t> room_bytes(int node) override { return kernel_.room_bytes(node); }
    libpool::Result<uint64_t> deficit_bytes(int node) override {
        return kernel_.deficit_bytes(node);
    }

  private:
    libpool::Kernel& kernel_;
    const int pidfd_;
};

}  // namespace pooltier
