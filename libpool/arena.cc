// SPDX-License-Identifier: Apache-2.0
#include "arena.h"

#include <numaif.h>
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <climits>
#include <numeric>
#include <utility>

#include "uapi.h"

#ifndef MPOL_PREFERRED_MANY
#define MPOL_PREFERRED_MANY 5  // include/uapi/linux/mempolicy.h, since 5.15
#endif

namespace libpool {

namespace {

constexpr size_t huge_bytes = 2 << 20;
constexpr size_t small_grain_bytes = 64 << 10;
constexpr size_t pieces_limit = 4096;
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

size_t round_up(size_t bytes) { return (bytes + huge_bytes - 1) & ~(huge_bytes - 1); }

// Addresses without memory, aligned to a huge page: map more, cut off both ends.
Result<void*> reserve(size_t bytes) {
    void* raw = mmap(nullptr, bytes + huge_bytes, PROT_NONE,
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

std::string list_of_nodes(const std::vector<int>& nodes) {
    std::string list;
    for (int node : nodes) list += text("%s%d", list.empty() ? "node " : ", ", node);
    return list;
}

Result<void> check_weights(const Topology& topology, const std::vector<NodeWeight>& weights) {
    if (weights.empty() || weights.size() > weighted_nodes_limit) {
        return fail(EINVAL, "an arena is spread over 1 to %zu nodes, not %zu", weighted_nodes_limit,
                    weights.size());
    }
    for (size_t i = 0; i < weights.size(); ++i) {
        int node = weights[i].node;
        if (!topology.find(node)) return fail(EINVAL, "node %d has no memory", node);
        if (weights[i].weight < 1 || weights[i].weight > node_weight_limit) {
            return fail(EINVAL, "the weight of node %d is %u: it must be 1 to %u", node,
                        weights[i].weight, node_weight_limit);
        }
        for (size_t k = 0; k < i; ++k) {
            if (weights[k].node == node) return fail(EINVAL, "node %d is there twice", node);
        }
    }
    return {};
}

}  // namespace

std::vector<size_t> weight_pattern(const std::vector<NodeWeight>& weights) {
    unsigned divisor = 0, total = 0;
    for (auto [node, weight] : weights) divisor = std::gcd(divisor, weight);
    for (auto [node, weight] : weights) total += weight / divisor;
    // Whoever is furthest behind its due gets the next.
    std::vector<long> behind(weights.size(), 0);
    std::vector<size_t> pattern;
    for (unsigned at = 0; at < total; ++at) {
        for (size_t i = 0; i < weights.size(); ++i) behind[i] += weights[i].weight / divisor;
        auto most = std::max_element(behind.begin(), behind.end());
        *most -= long(total);
        pattern.push_back(size_t(most - behind.begin()));
    }
    return pattern;
}

size_t grain_bytes(size_t most_bytes, bool small) {
    size_t grain = small ? small_grain_bytes : huge_bytes;
    while (most_bytes / grain > pieces_limit) grain *= 2;
    return grain;
}

Result<Arena> Arena::create(const Topology& topology, size_t tier, const ArenaWish& wish) {
    std::vector<int> nodes = topology.tier_nodes(tier);
    if (nodes.empty()) {
        return fail(EINVAL, "there is no tier %zu: this machine has %zu", tier,
                    topology.tier_names.size());
    }
    return make({{std::move(nodes), 1}}, {0}, 0, wish);
}

Result<Arena> Arena::create_weighted(const Topology& topology,
                                     const std::vector<NodeWeight>& weights,
                                     const ArenaWish& wish) {
    if (auto good = check_weights(topology, weights); !good) return std::unexpected(good.error());
    std::vector<Part> parts;
    auto pattern = weight_pattern(weights);
    for (size_t i = 0; i < weights.size(); ++i) {
        parts.push_back({{weights[i].node}, size_t(std::count(pattern.begin(), pattern.end(), i))});
    }
    size_t grain = grain_bytes(std::max(wish.bytes, wish.most_bytes), wish.small);
    return make(std::move(parts), std::move(pattern), grain, wish);
}

Result<Arena> Arena::make(std::vector<Part> parts, std::vector<size_t> pattern, size_t grain,
                          const ArenaWish& wish) {
    size_t most_bytes = std::max(wish.bytes, wish.most_bytes);
    if (wish.bytes == 0 || most_bytes > SIZE_MAX / 2) {
        return fail(EINVAL, "an arena of %zu bytes cannot be made",
                    wish.bytes == 0 ? wish.bytes : most_bytes);
    }
    Arena arena;
    arena.wish_ = wish;
    arena.parts_ = std::move(parts);
    arena.pattern_ = std::move(pattern);
    arena.grain_ = grain;
    const size_t bytes = round_up(wish.bytes);
    if (auto enough = arena.check_room(bytes); !enough) return std::unexpected(enough.error());
    auto base = reserve(round_up(most_bytes));
    if (!base) return std::unexpected(base.error());
    arena.base_ = *base;
    arena.reserved_ = round_up(most_bytes);
    if (auto grown = arena.grow(bytes); !grown) return std::unexpected(grown.error());
    return arena;
}

Result<void> Arena::grow(size_t bytes) {
    if (bytes == 0 || bytes > SIZE_MAX / 2) {
        return fail(EINVAL, "an arena cannot grow by %zu bytes", bytes);
    }
    bytes = round_up(bytes);
    if (bytes > reserved_ - bytes_) {
        return fail(ENOMEM, "an arena of %zu MiB cannot grow by %zu MiB: it was made for %zu MiB",
                    bytes_ >> 20, bytes >> 20, reserved_ >> 20);
    }
    if (bytes_ > 0) {  // the first time make() has looked, before it reserved anything
        if (auto enough = check_room(bytes); !enough) return enough;
    }
    auto start = static_cast<char*>(base_) + bytes_;
    if (mprotect(start, bytes, PROT_READ | PROT_WRITE) < 0) {
        return fail(errno, "mapping %zu MiB: %s", bytes >> 20, errno_text(errno).c_str());
    }
    if (auto bound = bind_range(bytes_, bytes_ + bytes); !bound) {
        mprotect(start, bytes, PROT_NONE);
        return bound;
    }
    if (wish_.small) madvise(start, bytes, MADV_NOHUGEPAGE);  // fails only without THP: fine too
    if (wish_.populate) {
        for (size_t at = 0; at < bytes; at += page_bytes) {
            *const_cast<volatile char*>(start + at) = 0;
        }
    }
    bytes_ += bytes;
    return {};
}

// Only a bound one: others go elsewhere.
Result<void> Arena::check_room(size_t bytes) const {
    if (!wish_.bind) return {};
    for (const Part& part : parts_) {
        uint64_t room = 0;
        for (int node : part.nodes) {
            if (auto one = read_node_room("", node)) room += *one;
        }
        uint64_t needed = bytes;
        if (grain_ > 0) {  // its share, at most a grain more
            needed = std::min<uint64_t>(bytes, bytes / pattern_.size() * part.grains + grain_);
        }
        if (room >= needed) continue;
        return fail(ENOMEM, "%s has room for %llu MiB, %llu MiB are asked for",
                    list_of_nodes(part.nodes).c_str(), static_cast<unsigned long long>(room >> 20),
                    static_cast<unsigned long long>(needed >> 20));
    }
    return {};
}

// Both are multiples of a huge page; the pattern begins at the base.
Result<void> Arena::bind_range(size_t from, size_t to) const {
    if (grain_ == 0) return bind_piece(from, to, parts_.front().nodes);
    auto part_at = [this](size_t at) { return pattern_[at / grain_ % pattern_.size()]; };
    while (from < to) {
        size_t end = from;  // neighbours of one node in one call
        while (end < to && part_at(end) == part_at(from)) {
            end = std::min((end / grain_ + 1) * grain_, to);
        }
        if (auto bound = bind_piece(from, end, parts_[part_at(from)].nodes); !bound) return bound;
        from = end;
    }
    return {};
}

Result<void> Arena::bind_piece(size_t from, size_t to, const std::vector<int>& nodes) const {
    auto start = static_cast<char*>(base_) + from;
    long rc =
        bind_memory(start, to - from, wish_.bind ? MPOL_BIND : MPOL_PREFERRED_MANY, mask_of(nodes));
    if (rc < 0 && !wish_.bind && errno == EINVAL) {  // before 5.15: one preferred node
        rc = bind_memory(start, to - from, MPOL_PREFERRED, mask_of({nodes.front()}));
    }
    if (rc == 0) return {};
    return fail(errno, "binding %zu KiB to %s: %s%s", (to - from) >> 10,
                list_of_nodes(nodes).c_str(), errno_text(errno).c_str(),
                errno == EPERM ? " (a seccomp profile of the container may refuse mbind)" : "");
}

Arena::Arena(Arena&& other) noexcept
    : base_(std::exchange(other.base_, nullptr)),
      bytes_(other.bytes_),
      reserved_(other.reserved_),
      wish_(other.wish_),
      parts_(std::move(other.parts_)),
      pattern_(std::move(other.pattern_)),
      grain_(other.grain_) {}

Arena::~Arena() {
    if (base_) munmap(base_, reserved_);
}

}  // namespace libpool
