// SPDX-License-Identifier: Apache-2.0
// What the agent tells of its host besides CXL: boot, memory block, online policy, nodes, pressure.
// Each fact that this kernel does not show keeps its empty value.
#pragma once

#include <string>
#include <vector>

#include "poold/driver.h"
#include "poold/tree.h"
#include "topology.h"

namespace poold {

struct Host {
    std::string boot;  // boot_id
    std::string name;
    uint64_t memory_block = 0;    // bytes; 0 = a kernel without memory hot-plug
    std::string online_policy;    // auto_online_blocks: "offline", "online_movable", …
    double some_avg10 = 0;        // PSI of memory
    std::string missing_modules;  // "dax_hmem, kmem": what this kernel lacks to use any extent
    std::vector<libpool::Node> nodes;

    uint64_t near_free() const;  // of nodes with CPUs
    uint64_t near_total() const;
};

Host read_host(const Tree& tree);
std::string kernel_release(const Tree& tree);

// One look at everything: what reports are made of and decisions rest on.
struct Seen {
    Host host;
    std::vector<Device> devices;
};

Seen look(const Tree& tree);

// An extent by the only identity that holds inside a host.
struct Key {
    uint64_t serial = 0, dpa = 0, len = 0;
    friend auto operator<=>(const Key&, const Key&) = default;
};

// "serial 0x1 [256M+128M]"-like, for logs and sentences.
std::string describe(const Key& key);

}  // namespace poold
