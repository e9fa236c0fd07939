// SPDX-License-Identifier: Apache-2.0
// Memory for the tracking of a program that knows nothing of it, apart from the program's own
// malloc: which may be any, may not be made for threads, and is busy at the wrong moments. Pieces
// of a power of two out of chunks, large ones mapped alone. All of it lies between guard pages, so
// that no mapping of the program's becomes one with it, and is known by ranges(), so that it is not
// tracked itself.
#pragma once

#include <cstddef>
#include <vector>

#include "tier/sampler.h"

namespace libpool::run::heap {

inline constexpr size_t mapping_limit = 4096;

// nullptr when there is no more. `alignment`: a power of two.
void* take(size_t bytes, size_t alignment);
void give(void* piece);

// Whole mappings, with their guards.
std::vector<tier::AddressRun> ranges();

// Around fork(), so that the child does not inherit a lock that is held.
void lock();
void unlock();

}  // namespace libpool::run::heap
