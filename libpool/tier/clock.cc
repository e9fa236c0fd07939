// SPDX-License-Identifier: Apache-2.0
#include "tier/clock.h"

#include <time.h>

#include <chrono>

namespace libpool::tier {

namespace {

double read_clock(clockid_t clock) {
    timespec time{};
    if (clock_gettime(clock, &time) != 0) return -1;
    return double(time.tv_sec) + double(time.tv_nsec) * 1e-9;
}

}  // namespace

SystemClock::SystemClock(pid_t pid) : program_clock_(CLOCK_PROCESS_CPUTIME_ID) {
    // A process that is gone has no clock: reading it fails, and the last value stays.
    if (pid != 0) clock_getcpuclockid(pid, &program_clock_);
}

double SystemClock::now_s() { return read_clock(CLOCK_MONOTONIC); }
double SystemClock::thread_cpu_s() { return read_clock(CLOCK_THREAD_CPUTIME_ID); }

double SystemClock::program_cpu_s() {
    double now_s = read_clock(program_clock_);
    if (now_s >= 0) program_cpu_s_ = now_s;
    return program_cpu_s_;
}

bool SystemClock::wait(double seconds) {
    std::unique_lock guard(lock_);
    stopped_changed_.wait_for(guard, std::chrono::duration<double>(seconds),
                              [this] { return stopped_; });
    return !stopped_;
}

bool SystemClock::stopped() {
    std::lock_guard guard(lock_);
    return stopped_;
}

void SystemClock::stop() {
    std::lock_guard guard(lock_);
    stopped_ = true;
    stopped_changed_.notify_all();
}

}  // namespace libpool::tier
