// SPDX-License-Identifier: Apache-2.0
// Tells tiered processes which nodes are being emptied, so that none moves pages there: over their
// control sockets, again and again while it lasts (their word lapses, for a poold that has ended),
// and at once when it is over. In a thread of its own: a process may be stopped and not answer.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace poold {

struct LeavingLimits {
    std::chrono::milliseconds again{20'000};  // much less than tier::allotment_s
    double answer_s = 1;                      // of each process
    double all_s = 10;                        // of all: who was not told until then is left out
};

class Leaving {
  public:
    using Log = std::function<void(const std::string&)>;
    // Names in the log each process that cannot be told, once a list, and counts once a list those
    // that there was no time for.
    explicit Leaving(Log log, LeavingLimits limits = {});
    ~Leaving();  // without a last word: the processes' lapses

    // All nodes that leave now. Returns at once.
    void set(std::vector<int> nodes);
    // Until every process there is was told of what was set, or could not be, or `go_on` is false.
    void wait_until_told(const std::function<bool()>& go_on);

  private:
    void run();
    void tell(const std::vector<int>& nodes);
    bool stopped();

    const Log log_;
    const LeavingLimits limits_;
    std::set<pid_t> not_told_;  // of this list; the thread's own, like the next two
    bool left_out_ = false;     // some, of this list
    std::set<pid_t> silent_;    // last time, of whichever list

    std::mutex lock_;
    std::condition_variable changed_;
    std::vector<int> nodes_;           // under lock_, like all below
    uint64_t version_ = 0, told_ = 0;  // of nodes_
    bool stop_ = false;
    std::thread thread_;
};

}  // namespace poold
