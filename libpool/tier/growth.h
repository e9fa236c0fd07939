// SPDX-License-Identifier: Apache-2.0
// Is the program still taking memory? What it will be like afterwards cannot be learnt before, and
// looking costs. So: everything is looked at when it has stopped growing, and, for those that never
// do, when it has grown by much. Pure.
#pragma once

#include <cstdint>

namespace libpool::tier {

class Growth {
  public:
    enum class Now { steady, growing, much, ended };  // much, ended: everything should be looked at

    // Before each cycle. near_pages: what is smaller has all its pages near, whatever it does.
    Now see(double now_s, uint64_t resident_pages, uint64_t near_pages) {
        const auto resident = double(resident_pages);
        now_ = resident;
        if (seen_s_ < 0) {
            seen_s_ = now_s;
            seen_ = resident;
        }
        if (now_s >= seen_s_ + apart_s) {
            growing_ = resident > (1 + least_per_s * (now_s - seen_s_)) * seen_;
            seen_s_ = now_s;
            seen_ = resident;
        }
        const double least = double(near_pages);
        if (growing_)
            return resident > much * known_ && resident > least ? Now::much : Now::growing;
        return resident > some * settled_ && resident > least ? Now::ended : Now::steady;
    }
    // Everything is being looked at. What is seen while it grows says little about afterwards.
    void looked() {
        known_ = now_;
        if (!growing_) settled_ = now_;
    }
    // When to ask again while it is growing.
    static constexpr double apart_s = 0.4;

  private:
    static constexpr double least_per_s = 0.02, some = 1.15, much = 4;
    double now_ = 0;                 // pages, when last seen
    double seen_ = 0, seen_s_ = -1;  // when last compared
    double known_ = 0;               // pages, when everything was last looked at
    double settled_ = 0;             // pages, when that was last done of a program that had stopped
    bool growing_ = false;
};

}  // namespace libpool::tier
