// SPDX-License-Identifier: Apache-2.0
// The kernel's clocks in seconds.
#pragma once

#include <time.h>

namespace libpool {

inline double clock_s(clockid_t clock) {
    timespec time{};
    clock_gettime(clock, &time);
    return double(time.tv_sec) + double(time.tv_nsec) * 1e-9;
}

// Only rises, whatever is done to the time of day.
inline double steady_now_s() { return clock_s(CLOCK_MONOTONIC); }

}  // namespace libpool
