// SPDX-License-Identifier: Apache-2.0
// Empties `ram` extents so that the driver can unplug them, one at a time, in a thread of its own.
//
// Mechanism: "offline" into memoryN/state of the extent's own blocks. The kernel then migrates
// every page to other nodes (never within the node, so never onto a neighbour grant of the same
// node) and undoes it all when it cannot. Two things make it safe where the driver's own unplug
// would not be:
//  - it is only started, and only goes on, while the other nodes have room for what is used plus 5
//  %;
//    the kernel itself would retry for ever, and a process that then asks for memory would meet the
//    OOM killer;
//  - the write is done by a thread that a signal can interrupt. The kernel retries a pinned page
//  for
//    ever under the global hot-plug lock; in the driver's worker nothing could stop it.
// Blocks that are offline stay so until the wish changes: a Refill brings them back.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>
#include <variant>
#include <vector>

#include "poold/decide.h"
#include "poold/usage.h"
#include "poold/vacate.h"

namespace poold {

struct DrainLimits {
    // Without any page leaving for so long, the offlining is interrupted and the holders are named.
    // One huge page of an emulated device alone can take ten seconds on a busy machine.
    std::chrono::milliseconds stall{20'000};
    std::chrono::milliseconds look{500};  // between two looks at the progress
    std::chrono::milliseconds retry_first{1000};
    std::chrono::milliseconds retry_last{15'000};
};

// What the other nodes can take, and what they should be able to.
struct Room {
    uint64_t available = 0;  // free above the watermark + reclaimable, on nodes not being emptied
    uint64_t needed = 0;     // used plus 5 %
    bool enough() const { return available >= needed; }
};
Room room_for(uint64_t used, const std::vector<libpool::Node>& nodes,
              const std::vector<int>& leaving);

using DrainJob = std::variant<Empty, Refill>;

// Nodes with an extent that is to go: no place to move pages to.
std::vector<int> leaving_nodes(const std::vector<DrainJob>& jobs);

class Drainer {
  public:
    using Log = std::function<void(const std::string&)>;

    // `changed` is called, without any lock, after a block or a note has changed.
    // `vacate`, where there is one, empties an extent of the pages of tiered processes first.
    using Vacate = std::function<Vacated(const libpool::Site&, const std::vector<int>& leaving,
                                         const std::function<bool()>& go_on)>;
    Drainer(Tree tree, DrainLimits limits, Log log, std::function<void()> changed,
            Vacate vacate = nullptr);
    ~Drainer();  // interrupts what is under way; memory stays as it is

    // All jobs there are now; what is no longer among them is given up, also half-way.
    void set(std::vector<DrainJob> jobs);
    Notes notes() const;

  private:
    struct Progress {
        std::chrono::steady_clock::time_point next{};
        std::chrono::milliseconds delay{0};
        std::string last_said;
    };
    enum class Offlined { done, failed, given_up };

    void run();
    void empty(const Empty& job);
    void vacate(const Empty& job);
    void refill(const Refill& job);
    Offlined offline(const Empty& job, uint64_t block);
    uint64_t bound(const Empty& job) const;
    bool wanted(const Key& key) const;
    void say(const Key& key, Note note);
    void later(const Key& key);
    std::vector<int> leaving() const;
    Held held(const Empty& job) const;

    const Tree tree_;
    const DrainLimits limits_;
    const Log log_;
    const std::function<void()> changed_;
    const Vacate vacate_;

    mutable std::mutex lock_;
    std::condition_variable wake_;
    std::vector<DrainJob> jobs_;        // under lock_
    Notes notes_;                       // under lock_
    std::map<Key, Progress> progress_;  // under lock_
    std::string offline_error_;         // of the last offline(), the drain thread's own
    std::atomic<bool> stop_{false};
    std::thread thread_;
};

}  // namespace poold
