// SPDX-License-Identifier: Apache-2.0
// mremap() for a program that is tracked. To the program its memory is one mapping, to the kernel
// several: one that is tracked does not become one with a neighbour that is not, and mremap(2)
// refuses to cross a border (EFAULT).
#pragma once

#include <atomic>
#include <cstddef>

namespace libpool::run {

// As mremap(2), also across the borders of private anonymous mappings that may be read and written
// (and executed, all or none): part by part then, and all of them or none. That takes more of what
// the program may have (address space, RLIMIT_DATA) for a moment, and is refused where there is not
// so much. From any thread. Opens a descriptor for a moment. What other threads map meanwhile is
// not touched, but for an instant: a move to a fixed place that is refused since a border has
// changed may have unmapped that place, which is taken again without asking.
//
// is_tracked: by a tracking of this process's own. To a fixed place a kernel from 6.17 on moves
// several mappings one by one, also such as have nothing in common, and stops at the first that is
// tracked: so it is not asked then before the borders are known, and mappings that are not alike
// are refused as by kernels before (EFAULT).
inline std::atomic<bool> is_tracked = false;
void* remap(void* old, size_t old_bytes, size_t new_bytes, int flags, void* to);

}  // namespace libpool::run
