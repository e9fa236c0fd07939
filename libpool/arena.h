// SPDX-License-Identifier: Apache-2.0
// Anonymous memory that starts in a tier, or spread over nodes by weight: mmap + mbind. Owns its
// mapping.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "error.h"
#include "topology.h"

namespace libpool {

struct ArenaWish {
    size_t bytes = 0;       // to begin with
    size_t most_bytes = 0;  // to which it may grow; less than `bytes`: no growth
    bool bind = false;      // these nodes or nothing
    bool small = false;     // 4 KiB pages only
    bool populate = false;  // touch every page now
};

struct NodeWeight {
    int node = 0;
    unsigned weight = 1;  // 1…255
};

inline constexpr size_t weighted_nodes_limit = 16;
inline constexpr unsigned node_weight_limit = 255;

// The order in which grains go to nodes, as indices into the weights: each as often as its weight
// says (after division by the greatest common divisor), as evenly as it goes. Two nodes: any prefix
// is within one grain of exact.
std::vector<size_t> weight_pattern(const std::vector<NodeWeight>& weights);

// What lies on one node without a break: a huge page, or 64 KiB for an arena of small pages; more
// in an arena so large that it would be more than 4096 pieces, since each is a mapping to the
// kernel (of which it allows 65,530).
size_t grain_bytes(size_t most_bytes, bool small);

class Arena {
  public:
    // EINVAL for a bad wish, ENOMEM when a bound or populated one has no room.
    static Result<Arena> create(const Topology& topology, size_t tier, const ArenaWish& wish);
    static Result<Arena> create_weighted(const Topology& topology,
                                         const std::vector<NodeWeight>& weights,
                                         const ArenaWish& wish);
    Arena(Arena&& other) noexcept;
    Arena& operator=(Arena&&) = delete;
    ~Arena();

    // Longer by at least `bytes`, at the end: what is there stays where it is. ENOMEM beyond
    // most_bytes, and for a bound one without room; it is then as long as before.
    Result<void> grow(size_t bytes);

    void* base() const { return base_; }
    size_t bytes() const { return bytes_; }
    size_t most_bytes() const { return reserved_; }
    // 0: not spread by weight.
    size_t grain() const { return grain_; }

  private:
    // Nodes that take turns with the grains; one part of all nodes when there is no grain.
    struct Part {
        std::vector<int> nodes;
        size_t grains;  // of the pattern; for checking the room
    };
    Arena() = default;
    static Result<Arena> make(std::vector<Part> parts, std::vector<size_t> pattern, size_t grain,
                              const ArenaWish& wish);
    Result<void> check_room(size_t bytes) const;
    Result<void> bind_range(size_t from, size_t to) const;
    Result<void> bind_piece(size_t from, size_t to, const std::vector<int>& nodes) const;

    void* base_ = nullptr;
    size_t bytes_ = 0;
    size_t reserved_ = 0;
    ArenaWish wish_;
    std::vector<Part> parts_;
    std::vector<size_t> pattern_;
    size_t grain_ = 0;
};

}  // namespace libpool
