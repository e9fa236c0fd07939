// SPDX-License-Identifier: Apache-2.0
// Is the program over? A process whose main thread has called pthread_exit ends with its last
// thread, and ours never end by themselves: without this it would stay for ever. When none but ours
// are left they end too, and what natively ends the process (the C library's exit(0) after the last
// thread, or the kernel) ends it.
#pragma once

#include <atomic>
#include <memory>
#include <string_view>

#include "tier/descriptor.h"

namespace libpool::run {

// Of /proc/PID/stat: whether the first thread has ended, how, and how many there are, it included.
struct ThreadCount {
    bool first_ended = false;
    unsigned threads = 0;
    int wait_status = 0;  // of the first: 7 << 8 after the system call exit(7), 0 in pthread_exit
};
// Zeros where the line is none.
ThreadCount parse_thread_count(std::string_view stat_line);

class Ending {
  public:
    // Held by each thread of ours while it runs. Counted by the thread itself, so that never more
    // are counted than there are: a thread of the program's is not taken for one of ours.
    class Own {
      public:
        explicit Own(Ending& ending) : ending_(ending) { ++ending_.ours_; }
        ~Own() { --ending_.ours_; }
        Own(const Own&) = delete;

      private:
        Ending& ending_;
    };

    // Seconds until it wants to be called again. On one thread, in whose table the descriptor is.
    double look(double now_s);
    bool is_over() const { return over_; }
    // Once it is: what the first thread gave to the system call exit, 0 in pthread_exit.
    int first_threads_code() const { return code_; }

  private:
    std::atomic<unsigned> ours_ = 0;
    std::atomic<bool> over_ = false;
    std::atomic<int> code_ = 0;
    tier::Descriptor file_;  // kept open: the program may change its root, or lose /proc
    double next_s_ = 0;
};

}  // namespace libpool::run
