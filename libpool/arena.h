// SPDX-License-Identifier: Apache-2.0
// Anonymous memory that starts in a tier: mmap + mbind. Owns its mapping.
#pragma once

#include <cstddef>
#include <vector>

#include "error.h"
#include "topology.h"

namespace libpool {

struct ArenaWish {
    size_t tier = 0;
    size_t bytes = 0;
    bool bind = false;      // this tier or nothing
    bool small = false;     // 4 KiB pages only
    bool populate = false;  // touch every page now
};

class Arena {
  public:
    // EINVAL for a bad wish, ENOMEM when a bound or populated one has no room in the tier.
    static Result<Arena> create(const Topology& topology, const ArenaWish& wish);
    Arena(Arena&& other) noexcept;
    Arena& operator=(Arena&&) = delete;
    ~Arena();

    void* base() const { return base_; }
    size_t bytes() const { return bytes_; }

  private:
    Arena(void* base, size_t bytes) : base_(base), bytes_(bytes) {}
    void* base_;
    size_t bytes_;
};

}  // namespace libpool
