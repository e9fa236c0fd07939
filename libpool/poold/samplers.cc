// SPDX-License-Identifier: Apache-2.0
#include "poold/samplers.h"

#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "poold/fd.h"
#include "uapi.h"

namespace poold {

namespace {

#ifndef UFFD_FEATURE_WP_ASYNC
#define UFFD_FEATURE_WP_ASYNC (1 << 15)
#endif

SamplerState probe_uffd(const std::string& name, uint64_t features, const char* since) {
    Fd fd(static_cast<int>(syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY)));
    if (!fd) {
        std::string reason = libpool::errno_text(errno);
        return {name, false,
                "userfaultfd is refused here (" + reason + "): a container's seccomp profile?"};
    }
    uffdio_api api{};
    api.api = UFFD_API;
    api.features = features;
    if (ioctl(fd.get(), UFFDIO_API, &api) != 0) {
        return {name, false, text("the kernel lacks it: %s or newer is needed", since)};
    }
    return {name, true, ""};
}

SamplerState probe_damon(const Tree& tree) {
    if (!tree.exists("/sys/kernel/mm/damon/admin/kdamonds")) {
        return {"damon", false, "the kernel has no DAMON in sysfs"};
    }
    std::string stat = tree.read_or_empty("/sys/module/damon_stat/parameters/enabled");
    if (stat == "Y") {
        return {"damon", false,
                "DAMON_STAT keeps it busy: write N to /sys/module/damon_stat/parameters/enabled"};
    }
    return {"damon", true, "needs root"};
}

SamplerState probe_numa_hints(const Tree& tree) {
    std::string mode = tree.read_or_empty("/proc/sys/kernel/numa_balancing");
    if (mode.empty()) return {"numa-hints", false, "the kernel has no NUMA balancing"};
    if (mode == "0") {
        return {"numa-hints", false, "kernel.numa_balancing is 0 (2 = tiering)"};
    }
    return {"numa-hints", true, "kernel.numa_balancing is " + tame(mode, 8)};
}

}  // namespace

std::vector<SamplerState> probe_samplers(const Tree& tree) {
    std::vector<SamplerState> samplers;
    if (!tree.recorded()) {
        samplers.push_back(probe_uffd("rwp", UFFD_FEATURE_RWP | UFFD_FEATURE_RWP_ASYNC, "7.3"));
        samplers.push_back(probe_uffd("wp", UFFD_FEATURE_WP_ASYNC, "6.7"));
    }
    samplers.push_back(probe_damon(tree));
    samplers.push_back(probe_numa_hints(tree));
    return samplers;
}

}  // namespace poold
