// SPDX-License-Identifier: Apache-2.0
// In the preload library `new` takes from a heap of its own (heap.h). The library does not show it:
// the program's operators are not touched.
#include <new>

#include "run/heap.h"

namespace heap = libpool::run::heap;

namespace {

constexpr size_t usual = __STDCPP_DEFAULT_NEW_ALIGNMENT__;

void* must_take(size_t bytes, size_t alignment) {
    void* piece = heap::take(bytes, alignment);
    if (!piece) throw std::bad_alloc();
    return piece;
}

}  // namespace

void* operator new(size_t bytes) { return must_take(bytes, usual); }
void* operator new[](size_t bytes) { return must_take(bytes, usual); }
void* operator new(size_t bytes, std::align_val_t a) { return must_take(bytes, size_t(a)); }
void* operator new[](size_t bytes, std::align_val_t a) { return must_take(bytes, size_t(a)); }
void* operator new(size_t bytes, const std::nothrow_t&) noexcept {
    return heap::take(bytes, usual);
}
void* operator new[](size_t bytes, const std::nothrow_t&) noexcept {
    return heap::take(bytes, usual);
}
void* operator new(size_t bytes, std::align_val_t a, const std::nothrow_t&) noexcept {
    return heap::take(bytes, size_t(a));
}
void* operator new[](size_t bytes, std::align_val_t a, const std::nothrow_t&) noexcept {
    return heap::take(bytes, size_t(a));
}
void operator delete(void* piece) noexcept { heap::give(piece); }
void operator delete[](void* piece) noexcept { heap::give(piece); }
void operator delete(void* piece, size_t) noexcept { heap::give(piece); }
void operator delete[](void* piece, size_t) noexcept { heap::give(piece); }
void operator delete(void* piece, std::align_val_t) noexcept { heap::give(piece); }
void operator delete[](void* piece, std::align_val_t) noexcept { heap::give(piece); }
void operator delete(void* piece, size_t, std::align_val_t) noexcept { heap::give(piece); }
void operator delete[](void* piece, size_t, std::align_val_t) noexcept { heap::give(piece); }
void operator delete(void* piece, const std::nothrow_t&) noexcept { heap::give(piece); }
void operator delete[](void* piece, const std::nothrow_t&) noexcept { heap::give(piece); }
