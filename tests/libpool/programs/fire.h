// SPDX-License-Identifier: Apache-2.0
// A thread that does to this process all that tiering does, as fast as it can and without reason:
// finds the ranges, arms, looks, and moves random pages to a random node.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>

namespace fire {

struct Counts {
    uint64_t cycles = 0, touched = 0, idle = 0, absent = 0, moved = 0, added = 0, refused = 0;
};

enum class Start { waited_for, at_once };

class Fire {
  public:
    explicit Fire(const std::string& sampler = "rwp",  // ends the program with 77 without it
                  Start start = Start::waited_for);
    ~Fire();
    Counts stop();
    // In a forked child, where the thread is not.
    void forget();
    uint64_t cycles() const { return cycles_; }
    void wait_for_cycles(uint64_t more) const;

  private:
    struct Parts;
    void run();
    std::unique_ptr<Parts> parts_;
    std::atomic<bool> stop_ = false;
    std::atomic<uint64_t> cycles_ = 0;
    Counts counts_;
    std::thread thread_;
};

}  // namespace fire
