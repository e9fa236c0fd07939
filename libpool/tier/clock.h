// SPDX-License-Identifier: Apache-2.0
// The engine's edge to time. One real implementation; tests bring simulated time.
#pragma once

#include <sys/types.h>

#include <condition_variable>
#include <memory>
#include <mutex>

namespace libpool::tier {

class Clock {
  public:
    virtual ~Clock() = default;
    virtual double now_s() = 0;         // steady
    virtual double thread_cpu_s() = 0;  // of the calling thread
    // Of the tracked process, all threads; what it was last when the process is gone.
    virtual double program_cpu_s() = 0;
    // False when it was told to stop; may then return early.
    virtual bool wait(double seconds) = 0;
    virtual bool stopped() = 0;
};

// pid 0: this process.
class SystemClock final : public Clock {
  public:
    explicit SystemClock(pid_t pid = 0);
    double now_s() override;
    double thread_cpu_s() override;
    double program_cpu_s() override;
    bool wait(double seconds) override;
    bool stopped() override;
    // From any thread: wait() returns false from now on.
    void stop();

  private:
    clockid_t program_clock_;
    double program_cpu_s_ = 0;
    std::mutex lock_;
    std::condition_variable stopped_changed_;
    bool stopped_ = false;
};

}  // namespace libpool::tier
