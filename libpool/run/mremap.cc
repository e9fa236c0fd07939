// SPDX-License-Identifier: Apache-2.0
// In place of the C library's, for the program: the one symbol that a preloaded library of ours
// shows. The C library's own calls (realloc) do not come here; it copies where mremap fails.
#include <sys/mman.h>

#include <cstdarg>

#include "run/remap.h"

extern "C" [[gnu::visibility("default")]] void* mremap(void* old, size_t old_bytes,
                                                       size_t new_bytes, int flags, ...) noexcept {
    void* to = nullptr;
    if (flags & (MREMAP_FIXED | MREMAP_DONTUNMAP)) {
        va_list rest;
        va_start(rest, flags);
        to = va_arg(rest, void*);
        va_end(rest);
    }
    return libpool::run::remap(old, old_bytes, new_bytes, flags, to);
}
