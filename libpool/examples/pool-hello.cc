// SPDX-License-Identifier: Apache-2.0
#include <cstdio>
#include <cstring>
#include <pool/pool.hpp>

int main() {
    auto topology = pool::Topology::read();
    if (!topology) return std::puts(topology.error().message.c_str()), 1;
    std::printf("%zu tiers: %s\n", topology->tier_count(), topology->reason().c_str());

    // 16 MiB in the slowest tier.
    auto arena = pool::Arena::create(*topology, topology->tier_count() - 1, 16 << 20);
    if (!arena) return std::puts(arena.error().message.c_str()), 1;
    std::memset(arena->base(), 1, arena->size_bytes());

    // From here on its hot pages come near, at most 4 MiB of them.
    auto tiering = pool::Tiering::start(*topology, {{{POOL_OPTION_NEAR_LIMIT_BYTES, 4 << 20}}});
    if (!tiering) return std::puts(tiering.error().message.c_str()), 1;
    if (auto added = tiering->add(arena->base(), arena->size_bytes()); !added) {
        return std::puts(added.error().message.c_str()), 1;
    }
    // … the program's work …
    std::puts(tiering->status().c_str());
}
