// SPDX-License-Identifier: Apache-2.0
// Children that the program has forked: they are not tracked, and the parent can say which they
// are. The list is shared with them, each adds itself.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <string>

namespace libpool::run {

class Forks {
  public:
    static constexpr size_t listed = 64;  // the last ones

    Forks();  // without memory for it, only the count of this process's own is missing
    ~Forks();
    void i_am_a_child();  // async-signal-safe
    // "3 forked so far, not tracked; alive: 812, 813", or "" when there were none.
    std::string describe() const;

  private:
    struct Page {
        std::atomic<uint64_t> count;
        std::atomic<pid_t> pids[listed];
    };
    Page* page_ = nullptr;
};

}  // namespace libpool::run
