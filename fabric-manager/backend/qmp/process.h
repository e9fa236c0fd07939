// SPDX-License-Identifier: Apache-2.0
// One life of one process, told from every other there ever was on this machine. Its text is the
// "instance" of a host in the journal: "<pid>:<start time in ticks>:<start of the kernel's boot
// id>", for example "812:345678:1f2e3d4c". The boot id is in it because after a reboot of the
// machine another process may have the same pid and start time, and it would be watched, or killed,
// for the host's.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>

#include "backend/qmp/unique_fd.h"
#include "core/result.h"

namespace cxlpool {

struct Process {
    std::string instance;
    UniqueFd pidfd;  // readable once the process has ended: all of its threads, its memory unmapped
};

// Of its pidfd.
bool ended(int pidfd);

// The process that has this pid now.
Result<Process> process_of(pid_t pid);

// The process of an instance, if it still runs; nothing: it is dead for good. An error: nobody can
// tell.
Result<std::optional<Process>> find_process(const std::string& instance);

// Kills exactly that process; that it is dead already is fine too.
Result<void> kill_process(int pidfd, const std::string& instance);

}  // namespace cxlpool
