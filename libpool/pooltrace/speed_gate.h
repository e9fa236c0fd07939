// SPDX-License-Identifier: Apache-2.0
// How slow our policy has to be for `pooltrace speed` to fail. This project asserts no other speed:
// what a machine does in a second, and what runs beside, is none of the code's doing. Here it can
// be told apart. All of it is computing, measured in CPU time, and the gate is a tenth of the goal,
// which was passed by 70 and by 16 times on a machine that was busy with other work. Who misses it
// was built without optimisation, or has a loop that grows with the square of the pages.
#pragma once

#include <cstdint>
#include <string>

#include "error.h"

namespace libpool::tier::trace {

inline constexpr double speed_goal_per_s = 1e7, decision_goal_s = 0.02;
inline constexpr double gate_times = 10;  // worse than the goal

// Of less than this what is done once, or once a cycle, would count too much: nothing is said.
inline constexpr uint32_t judged_pages = 65536, judged_epochs = 240;
inline constexpr uint32_t judged_decide_pages = 1u << 20;

inline bool can_judge_simulation(uint32_t pages, uint32_t epochs) {
    return pages >= judged_pages && epochs >= judged_epochs;
}
inline bool can_judge_decision(uint32_t pages) { return pages >= judged_decide_pages; }

// A sentence, or "": it is fast enough.
inline std::string why_slow_simulation(const std::string& workload, double page_epochs_per_s) {
    const double least = speed_goal_per_s / gate_times;
    if (page_epochs_per_s >= least) return "";
    return text(
        "Something is broken: ours is simulated at %.3g page-epochs a second of CPU on %s, and a "
        "tenth of the goal is %.3g.",
        page_epochs_per_s, workload.c_str(), least);
}

// The goal is for a million pages, and a decision looks at each.
inline std::string why_slow_decision(uint32_t pages, double decision_s) {
    const double longest_s = decision_goal_s * gate_times * pages / judged_decide_pages;
    if (decision_s <= longest_s) return "";
    return text(
        "Something is broken: a decision of ours for %u pages takes %.0f ms of CPU, and ten times "
        "the goal is %.0f ms.",
        pages, 1e3 * decision_s, 1e3 * longest_s);
}

}  // namespace libpool::tier::trace
