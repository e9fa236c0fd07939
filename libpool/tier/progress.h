// SPDX-License-Identifier: Apache-2.0
// How far the program got up to each look of a cycle. When everything is armed in one run, its
// first touches are faults one after another, and it stands still while pages are armed and looked
// at: 60 ms may pass in which it makes 3 ms of its usual way (an emulated guest: 8 us a fault; as
// many touches as fit in the rest of the time). By the wall clock a page touched 190 times a second
// then looks like one touched 10 times, and so do many colder ones. So time is read off the
// touches: after which time should so many pages of these be touched, by what is believed of them?
// Pure.
#pragma once

#include <vector>

#include "tier/pages.h"

namespace libpool::tier {

// A fault in the middle of others takes so many times what the one took that was measured by itself
// (in an emulated guest); standing still while others scan comes on top.
inline constexpr double usual_fault = 1.8;

// The most that one can take, held up by others on the CPU. A part that is touched less may also
// have gone cold; everything seldom does at once.
inline constexpr double slowest_fault_of_part = 4, slowest_fault_of_all = 8;

// Seconds of the program's usual way up to each look: rising, at most the wall clock's less what
// the faults took at least, and not less than it less what they can have taken at most
// (slowest_fault times fault_ns each).
std::vector<double> program_times(const Pages& pages, const Reading& reading, double fault_ns,
                                  double slowest_fault);

}  // namespace libpool::tier
