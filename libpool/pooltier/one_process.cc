// SPDX-License-Identifier: Apache-2.0
#include "pooltier/one_process.h"

#include <poll.h>

namespace pooltier {

using libpool::fail;
using libpool::Result;

bool OneProcess::ended() const {
    pollfd polled{pidfd_, POLLIN, 0};
    return poll(&polled, 1, 0) != 0;
}

long OneProcess::move_pages(pid_t pid, std::span<const uint64_t> pages, std::span<const int> nodes,
                            std::span<int> status) {
    return ended() ? -ESRCH : kernel_.move_pages(pid, pages, nodes, status);
}

Result<void> OneProcess::split_huge(pid_t pid, uint64_t address) {
    if (ended()) return fail(ESRCH, "process %d has ended", int(pid));
    return kernel_.split_huge(pid, address);
}

Result<void> OneProcess::set_huge(pid_t pid, uint64_t start, uint64_t bytes,
                                  libpool::HugePages how) {
    if (ended()) return fail(ESRCH, "process %d has ended", int(pid));
    return kernel_.set_huge(pid, start, bytes, how);
}

uint64_t OneProcess::resident_bytes(pid_t pid) { return ended() ? 0 : kernel_.resident_bytes(pid); }

}  // namespace pooltier
