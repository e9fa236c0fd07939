// SPDX-License-Identifier: Apache-2.0
#include "arena.h"

#include <numaif.h>
#include <sys/mman.h>

#include <array>
#include <climits>
#include <utility>

#include "uapi.h"

#ifndef MPOL_PREFERRED_MANY
#define MPOL_PREFERRED_MANY 5  // include/uapi/linux/mempolicy.h, since 5.15
#endif

namespace libpool {

namespace {

constexpr size_t huge_bytes = 2 << 20;
constexpr size_t word_bits = sizeof(unsigned long) * CHAR_BIT;

using NodeMask = std::array<unsigned long, 1024 / word_bits>;

NodeMask mask_of(const std::vector<int>& nodes) {
    NodeMask mask{};
    for (int node : nodes) mask[size_t(node) / word_bits] |= 1ul << (size_t(node) % word_bits);
    return mask;
}

// The kernel reads maxnode - 1 bits.
long bind_memory(void* base, size_t bytes, int mode, const NodeMask& mask) {
    return mbind(base, bytes, mode, mask.data(), mask.size() * word_bits + 1, 0);
}

// mmap aligned to a huge page: map more, cut off both ends.
Result<void*> map_aligned(size_t bytes) {
    void* raw = mmap(nullptr, bytes + huge_bytes, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (raw == MAP_FAILED) {
        return fail(errno, "mapping %zu bytes: %s", bytes, errno_text(errno).c_str());
    }
    auto start = reinterpret_cast<uintptr_t>(raw);
    uintptr_t base = (start + huge_bytes - 1) & ~(huge_bytes - 1);
    size_t head = base - start;
    if (head > 0) munmap(raw, head);
    if (head < huge_bytes) munmap(reinterpret_cast<void*>(base + bytes), huge_bytes - head);
    return reinterpret_cast<void*>(base);
}

Result<void> check_room(const std::vector<int>& nodes, const ArenaWish& wish, size_t bytes) {
    uint64_t room = 0;
    for (int node : nodes) {
        if (auto one = read_node_room("", node)) room += *one;
    }
    if (room >= bytes) return {};
    return fail(ENOMEM, "tier %zu has room for %llu MiB, %zu MiB are asked for", wish.tier,
                static_cast<unsigned long long>(room >> 20), bytes >> 20);
}

}  // namespace

Result<Arena> Arena::create(const Topology& topology, const ArenaWish& wish) {
    std::vector<int> nodes = topology.tier_nodes(wish.tier);
    if (nodes.empty()) {
        return fail(EINVAL, "there is no tier %zu: this machine has %zu", wish.tier,
                    topology.tier_names.size());
    }
    if (wish.bytes == 0 || wish.bytes > SIZE_MAX / 2) {
        return fail(EINVAL, "an arena of %zu bytes cannot be made", wish.bytes);
    }
    size_t bytes = (wish.bytes + huge_bytes - 1) & ~(huge_bytes - 1);
    if (wish.bind) {
        if (auto enough = check_room(nodes, wish, bytes); !enough) {
            return std::unexpected(enough.error());
        }
    }
    auto base = map_aligned(bytes);
    if (!base) return std::unexpected(base.error());
    Arena arena(*base, bytes);

    NodeMask mask = mask_of(nodes);
    long rc = bind_memory(*base, bytes, wish.bind ? MPOL_BIND : MPOL_PREFERRED_MANY, mask);
    if (rc < 0 && !wish.bind && errno == EINVAL) {  // before 5.15: one preferred node
        rc = bind_memory(*base, bytes, MPOL_PREFERRED, mask_of({nodes.front()}));
    }
    if (rc < 0) {
        return fail(errno, "binding %zu MiB to tier %zu: %s%s", bytes >> 20, wish.tier,
                    errno_text(errno).c_str(),
                    errno == EPERM ? " (a seccomp profile of the container may refuse mbind)" : "");
    }
    if (wish.small) madvise(*base, bytes, MADV_NOHUGEPAGE);  // fails only without THP: fine too
    if (wish.populate) {
        auto byte = static_cast<volatile char*>(*base);
        for (size_t at = 0; at < bytes; at += page_bytes) byte[at] = 0;
    }
    return arena;
}

Arena::Arena(Arena&& other) noexcept
    : base_(std::exchange(other.base_, nullptr)), bytes_(other.bytes_) {}

Arena::~Arena() {
    if (base_) munmap(base_, bytes_);
}

}  // namespace libpool
