// SPDX-License-Identifier: Apache-2.0
// Memory of our own in somebody else's program.
#pragma once

#include <cstddef>

namespace libpool {

// Private anonymous memory, in whole pages, as mmap(2) gives it (MAP_FAILED and errno), but not
// among what the program maps if that can be had: a program of one thread may unmap a place and map
// something there again by MAP_FIXED, and would take it away from us. From any thread. munmap()
// gives it back.
void* map_apart(size_t bytes, int rights);

}  // namespace libpool
