// SPDX-License-Identifier: Apache-2.0
// Nodes and tiers of a machine, read once from sysfs and procfs below a root folder, so that a
// recorded tree is as good as a machine. A value: it does not follow later changes.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "error.h"

namespace libpool {

struct Node {
    int id = 0;
    size_t tier = 0;
    uint64_t total_bytes = 0;
    uint64_t free_bytes = 0;
    uint64_t reclaimable_bytes = 0;  // clean file pages + reclaimable slab
    uint64_t watermark_bytes = 0;    // of its zones: what the kernel keeps
    uint64_t cpus = 0;
    uint64_t distance = 0;  // from the nearest node with CPUs
    int cpu_node = -1;      // that node
    // What the firmware says (HMAT or CDAT by way of sysfs), from the best initiator; 0 = nothing.
    uint64_t read_latency_ns = 0;
    uint64_t write_latency_ns = 0;
    uint64_t read_mb_per_s = 0;
    uint64_t write_mb_per_s = 0;
    double load_ns = 0;  // as measured by measure_tiers(); 0 = not
};

enum class TierSource {
    kernel,    // memory_tiers differ
    cpuless,   // one kernel tier: nodes without a CPU are far
    single,    // nothing to tier
    declared,  // somebody's word (tiers.h)
    measured,  // by how long loads take (tiers.h)
};

struct Topology {
    TierSource source = TierSource::single;
    std::string reason;                      // one sentence
    std::vector<std::string> tier_names;     // nearest first
    std::vector<Node> nodes;                 // with memory only, by id
    std::vector<int> later_near, later_far;  // declared, without memory at the time

    const Node* find(int node) const;
    std::vector<int> tier_nodes(size_t tier) const;
    std::vector<int> nodes_beyond(size_t tier) const;  // all slower ones, nearest tier first
};

// A kernel list such as "0-3,8": its numbers. EINVAL for anything else, and for more than 1024.
Result<std::vector<int>> parse_list(const std::string& list);

// root "" = this machine.
Result<Topology> read_topology(const std::string& root);

// Its nodes alone, all in tier 0. For who reads while memory is taken offline: kernel 7.3 deadlocks
// when a memory tier's nodelist is read just as the last memory of its last node goes offline (the
// reader waits for the lock that memtier_hotplug_callback() holds while it waits for the reader).
Result<std::vector<Node>> read_nodes(const std::string& root);

// Live MemFree of a node. ENOENT when the node is not there.
Result<uint64_t> read_node_free(const std::string& root, int node);

// What the kernel keeps free on each node, in bytes. Slow to read (it prints every zone).
Result<std::map<int, uint64_t>> read_watermarks(const std::string& root);

// Live MemFree of a node minus its watermark, 0 when below.
Result<uint64_t> read_node_room(const std::string& root, int node);

}  // namespace libpool
