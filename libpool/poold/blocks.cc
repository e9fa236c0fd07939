// SPDX-License-Identifier: Apache-2.0
#include "poold/blocks.h"

#include <set>

namespace poold {

namespace {

unsigned long long ull(uint64_t value) { return value; }

// Start of the dax device in host physical addresses; it must be as long as the extent.
Result<uint64_t> read_hpa(const Tree& tree, const Extent& extent) {
    if (extent.dax.empty()) return fail(ENODEV, "the driver names no dax device for it");
    const std::string folder = "/sys/bus/dax/devices/" + extent.dax;
    auto start = tree.read(folder + "/resource", 4096);
    auto size = tree.read(folder + "/size", 4096);
    if (!start) return std::unexpected(start.error());
    if (!size) return std::unexpected(size.error());
    auto hpa = parse_number(*start), len = parse_number(*size);
    if (!hpa || !len) {
        return fail(EINVAL, "%s does not tell where it is", tree.at(folder).c_str());
    }
    if (*len != extent.len) {
        return fail(EINVAL, "%s is %llu bytes long and the extent %llu", extent.dax.c_str(),
                    ull(*len), ull(extent.len));
    }
    return *hpa;
}

}  // namespace

std::string block_state_path(uint64_t block) {
    return text("/sys/devices/system/memory/memory%llu/state", ull(block));
}

Blocks read_blocks(const Tree& tree, const Host& host, const Device& device, const Extent& extent) {
    Blocks blocks;
    blocks.len = extent.len;
    auto hpa = read_hpa(tree, extent);
    auto expected = device.hpa_of(extent.dpa);
    if (!hpa) {
        blocks.problem = hpa.error().sentence;
    } else if (!expected || *expected != *hpa) {
        blocks.problem =
            text("%s starts at 0x%llx, not where the window of %s puts it (0x%llx)",
                 extent.dax.c_str(), ull(*hpa), device.bdf.c_str(), ull(expected.value_or(0)));
    } else if (host.memory_block == 0 || *hpa % host.memory_block != 0 ||
               extent.len % host.memory_block != 0) {
        blocks.problem = text("it is not made of whole memory blocks of %s",
                              describe_bytes(host.memory_block).c_str());
    }
    if (!blocks.problem.empty()) return blocks;
    blocks.hpa = *hpa;
    blocks.block_bytes = host.memory_block;
    uint64_t first = *hpa / host.memory_block;
    for (uint64_t block = first; block < first + extent.len / host.memory_block; ++block) {
        auto state = tree.read(block_state_path(block), 4096);
        // A block that is gone is not in use: the driver is between two steps.
        if (!state && state.error().code == ENOENT) continue;
        if (state && *state == "offline")
            blocks.offline.push_back(block);
        else
            blocks.online.push_back(block);  // also "going-offline" and what cannot be read
    }
    return blocks;
}

BlocksByKey read_blocks(const Tree& tree, const Seen& seen, const Desired& desired) {
    std::set<Key> named;
    for (const Wish& wish : desired.wishes) named.insert(wish.key);
    BlocksByKey out;
    for (const Device& device : seen.devices) {
        for (const Extent& extent : device.extents) {
            Key key{device.serial, extent.dpa, extent.len};
            if (extent.state != ExtentState::plugged || extent.use != Use::ram) continue;
            if (named.contains(key)) out[key] = read_blocks(tree, seen.host, device, extent);
        }
    }
    return out;
}

}  // namespace poold
