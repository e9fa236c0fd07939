// SPDX-License-Identifier: Apache-2.0
// The makers of the checkers, by invariant.
#pragma once

#include "checker.h"

namespace cxlpool::fmsim {

std::unique_ptr<Checker> one_owner(const Truth& truth);                // 1
std::unique_ptr<Checker> scrubbed_between(const Truth& truth);         // 2
std::unique_ptr<Checker> nothing_foreign(const Truth& truth);          // 3
std::unique_ptr<Checker> sums_are_right(const Truth& truth);           // 4
std::unique_ptr<Checker> journal_first(const Truth& truth);            // 5
std::unique_ptr<Checker> replay_converges(const Truth& truth);         // 6
std::unique_ptr<Checker> repeats_change_nothing(const Truth& truth);   // 7
std::unique_ptr<Checker> acknowledged_is_durable(const Truth& truth);  // 8
std::unique_ptr<Checker> devices_are_asked(const Truth& truth);        // 9
std::unique_ptr<Checker> everything_settles(const Truth& truth);       // 10
std::unique_ptr<Checker> desired_is_observed(const Truth& truth);      // 11

}  // namespace cxlpool::fmsim
