// SPDX-License-Identifier: Apache-2.0
// DAMON by its files in sysfs: one kernel thread that watches one process. The folder is a
// parameter so that tests can bring their own. Owns the kernel's thread while it lives, and puts
// back what it found (DAMON_STAT).
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "error.h"

namespace libpool::tier {

struct DamonIntervals {
    uint64_t sample_us = 5000;
    uint64_t aggregate_us = 100000;
};

// A stretch of memory, and in how many of the samples of an aggregation it was found accessed.
struct DamonRegion {
    uint64_t start = 0, end = 0;  // bytes
    uint64_t accesses = 0;
};

class Damon {
  public:
    // `root`: in front of /sys, "" on a machine.
    static Result<Damon> start(const std::string& root, pid_t pid, const DamonIntervals& intervals);
    Damon(Damon&& other) noexcept;
    ~Damon();

    // Where the last whole aggregation saw accesses, rising. Waits for the kernel's thread.
    Result<std::vector<DamonRegion>> regions();

  private:
    explicit Damon(std::string root);
    Result<void> set_up(pid_t pid, const DamonIntervals& intervals);
    Result<void> put(const std::string& path, const std::string& value);

    std::string root_;
    bool owner_ = true;
    bool restore_stat_ = false;
    bool set_up_ = false;
};

// Is there DAMON, and is it free? What was left running by one of ours that was killed counts as
// free: start() takes it over. "" or the sentence why not. Reads only.
std::string damon_refusal(const std::string& root);

}  // namespace libpool::tier
