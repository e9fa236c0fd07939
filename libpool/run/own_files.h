// SPDX-License-Identifier: Apache-2.0
// Descriptors for the tracking's threads alone. Programs close descriptors they did not open, put
// others in their place, and count on numbers; and two threads that share a table cannot tell whose
// a number is without a race.
#pragma once

#include "error.h"

namespace libpool::run {

// From now on the calling thread, and those that it starts, have a table of descriptors of their
// own, empty at first (also 0 to 2: a pipe of the program's must end when the program closes it). A
// forked child does not inherit it.
Result<void> own_descriptors();

}  // namespace libpool::run
