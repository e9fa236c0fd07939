// SPDX-License-Identifier: Apache-2.0
#include "apart.h"

#include <sys/mman.h>
#include <sys/random.h>

#include <atomic>
#include <cstdint>

#include "uapi.h"

namespace libpool {

namespace {

// Far above where programs and their heaps are loaded (above AddressSanitizer's, too, whose 4 TiB
// begin at 0x6000'0000'0000) and far below where the kernel puts what they map (from the top down)
// on a machine with 47 bits of addresses. Only asked for: elsewhere the kernel puts it where it
// likes.
constexpr uint64_t region_start = 0x6400'0000'0000, region_bytes = 1ull << 43;

// Somewhere in the lower half of it, as the kernel places things: nobody is to know addresses
// beforehand. (Nor the C library's secrets from them: those are made of AT_RANDOM.)
uint64_t first_place() {
    uint64_t random = 0;
    if (getrandom(&random, sizeof random, GRND_NONBLOCK) != sizeof random) random = 0;
    return random % (region_bytes / 2 / page_bytes) * page_bytes;
}

}  // namespace

// What was given back is asked for again only after the whole region: nothing is looked up.
void* map_apart(size_t bytes, int rights) {
    static std::atomic<uint64_t> next = first_place();
    const uint64_t place = next.fetch_add((bytes + page_bytes - 1) & ~(page_bytes - 1));
    return mmap(reinterpret_cast<void*>(region_start + place % region_bytes), bytes, rights,
                MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

}  // namespace libpool
