// SPDX-License-Identifier: Apache-2.0
// The daemon: four small loops around one shared picture.
//   watch   (the calling thread) looks at the kernel: at once when a driver's `generation` changes,
//           and every heartbeat
//   report  tells fmd every change of the picture, and the heartbeat
//   follow  keeps fmd's latest list of wishes (long-poll)
//   work    decides (decide.h) and acts; emptying is the Drainer's, in its own thread
// Losing fmd stops nothing and undoes nothing: the last wishes stay in force. Ending the daemon at
// any point leaves memory as it is.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <string>

#include "poold/decide.h"
#include "poold/drain.h"
#include "poold/http.h"
#include "poold/leaving.h"
#include "poold/report.h"

namespace poold {

struct AgentOptions {
    Tree tree;
    Address server;
    std::chrono::milliseconds heartbeat{2000};
    std::chrono::seconds long_poll{25};
    DrainLimits drain{};
};

class Agent {
  public:
    explicit Agent(AgentOptions options);

    // Until SIGTERM or SIGINT. Returns the exit code.
    int run();
    // One report and one list of wishes, to see whether fmd is well; orders nothing.
    int run_once();

  private:
    using Clock = std::chrono::steady_clock;
    // What was last done for an extent, so that the same order is repeated only with back-off.
    struct Attempt {
        std::string what;
        Clock::time_point next{};
        std::chrono::milliseconds delay{0};
        bool due = false;  // the last round of decisions still asked for it
    };

    void watch();
    void report_loop();
    void follow_loop();
    void work_loop();

    void publish(Seen seen);
    void poke();  // something the report shows has changed
    Result<void> report(HttpClient& client);
    Result<bool> follow(HttpClient& client, uint64_t after, std::chrono::seconds wait);
    Clock::time_point next_attempt() const;
    void act(const std::vector<Action>& actions);
    // Both return the sentence of what went wrong, or nothing.
    std::string carry_out(const Order& order, Attempt& attempt);
    std::string close_dax(const CloseDax& action, Attempt& attempt, Note& note);
    bool sleep(std::chrono::milliseconds time);  // false when stopping
    void log_once(std::string& last, const std::string& sentence);

    AgentOptions options_;
    std::atomic<bool> stop_{false};

    std::mutex lock_;
    std::condition_variable changed_;
    Seen seen_;                       // under lock_, like all below
    uint64_t version_ = 0;            // of everything that a report shows
    uint64_t work_version_ = 0;       // of everything that decisions rest on
    std::optional<Desired> desired_;  // nothing until fmd has spoken
    Notes notes_;                     // the worker's own

    Leaving leaving_;
    Drainer drainer_;
    std::map<Key, Attempt> attempts_;  // the worker's own
    uint64_t last_seq_ = 0;            // the reporter's own
    std::string report_trouble_, follow_trouble_;
};

// One line with the time to standard error.
void log_line(const std::string& sentence);

}  // namespace poold
