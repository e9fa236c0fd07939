// SPDX-License-Identifier: Apache-2.0
// Keeps the calling thread on the CPU that it is on, while it lives. For who frees pages of a full
// node and at once asks for others there: freed pages go to a list of the CPU that freed them
// (mm/page_alloc.c, per_cpu_pages; up to an eighth of a small node), MemFree does not count them,
// and a request on another CPU fails with ENOMEM as if they were not there.
#pragma once

#include <sched.h>

namespace libpool {

class OneCpu {
  public:
    // Where that is refused, or there are more than 1024 CPUs, the thread goes on as it was.
    OneCpu() {
        const int here = sched_getcpu();
        if (here < 0 || here >= CPU_SETSIZE ||
            sched_getaffinity(0, sizeof before_, &before_) != 0) {
            return;
        }
        cpu_set_t only;
        CPU_ZERO(&only);
        CPU_SET(here, &only);
        stays_ = sched_setaffinity(0, sizeof only, &only) == 0;
    }
    ~OneCpu() {
        if (stays_) sched_setaffinity(0, sizeof before_, &before_);
    }
    OneCpu(const OneCpu&) = delete;
    OneCpu& operator=(const OneCpu&) = delete;

  private:
    cpu_set_t before_{};
    bool stays_ = false;
};

}  // namespace libpool
