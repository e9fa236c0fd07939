// SPDX-License-Identifier: Apache-2.0
#include "topology.h"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <sstream>

#include "read_text.h"

namespace libpool {

namespace {

constexpr int node_limit = 1024;  // MAX_NUMNODES of any kernel

// "Node 1 MemFree:  1234 kB" → {"MemFree": 1234 KiB in bytes}.
std::map<std::string, uint64_t> parse_meminfo(const std::string& content) {
    std::map<std::string, uint64_t> values;
    std::istringstream lines(content);
    std::string line;
    while (std::getline(lines, line)) {
        std::istringstream words(line);
        std::string node_word, id, key;
        uint64_t kib = 0;
        if (words >> node_word >> id >> key >> kib && !key.empty() && key.back() == ':') {
            key.pop_back();
            values[key] = kib * 1024;
        }
    }
    return values;
}

// The largest number of "        protection: (0, 249, 249)": what the zone keeps from allocations
// that another zone would have served. Memory of programs is such an allocation.
uint64_t parse_protection(const char* words) {
    uint64_t most = 0;
    while (*words) {
        char* end = nullptr;
        const unsigned long long pages = std::strtoull(words, &end, 10);
        if (end == words) {
            ++words;
            continue;
        }
        most = std::max<uint64_t>(most, pages);
        words = end;
    }
    return most;
}

// Per node, the sum over its zones of what stays free, in bytes: the "high" mark, and what the zone
// keeps for the kernel as far as that is free (the first 16 MiB of a machine: nearly all of them).
std::map<int, uint64_t> parse_watermarks(const std::string& zoneinfo) {
    std::map<int, uint64_t> marks;
    std::istringstream lines(zoneinfo);
    std::string line;
    int node = -1;
    uint64_t free_pages = 0, high_pages = 0;
    while (std::getline(lines, line)) {
        int id = 0;
        unsigned long long pages = 0;
        if (std::sscanf(line.c_str(), "Node %d, zone", &id) == 1) {
            node = id;
            free_pages = high_pages = 0;
        } else if (std::sscanf(line.c_str(), " pages free %llu", &pages) == 1) {
            free_pages = pages;
        } else if (node >= 0 && std::sscanf(line.c_str(), " high %llu", &pages) == 1) {
            high_pages = pages;
            marks[node] += pages * 4096;
        } else if (size_t at = line.find(" protection: ("); node >= 0 && at != line.npos) {
            const uint64_t kept = high_pages + parse_protection(line.c_str() + at);
            marks[node] += (std::max(high_pages, std::min(free_pages, kept)) - high_pages) * 4096;
        }
    }
    return marks;
}

uint64_t or_zero(const std::map<std::string, uint64_t>& values, const char* key) {
    auto found = values.find(key);
    return found == values.end() ? 0 : found->second;
}

Result<std::vector<int>> read_list(const std::string& path) {
    auto content = read_text(path);
    if (!content) return std::unexpected(content.error());
    auto list = parse_list(*content);
    if (!list) return fail(EINVAL, "%s: %s", path.c_str(), list.error().sentence.c_str());
    return list;
}

// From the distance line of the node and the online nodes that its columns stand for.
void set_nearest_cpus(const std::string& folder, Node& node, const std::vector<int>& online,
                      const std::vector<int>& with_cpus) {
    auto content = read_text(folder + text("/node%d/distance", node.id));
    if (!content) return;
    std::istringstream words(*content);
    for (int column : online) {
        uint64_t distance = 0;
        if (!(words >> distance)) break;
        bool has_cpus = std::find(with_cpus.begin(), with_cpus.end(), column) != with_cpus.end();
        if (!has_cpus || (node.cpu_node >= 0 && distance >= node.distance)) continue;
        node.distance = distance;
        node.cpu_node = column;
    }
}

// Access class 0 is the best initiator of any kind, 1 the best CPU: the first that is there.
void set_firmware_numbers(const std::string& node_folder, Node& node) {
    for (const char* access : {"/access0", "/access1"}) {
        std::string initiators = node_folder + access + "/initiators/";
        auto number = [&](const char* name) -> uint64_t {
            auto content = read_text(initiators + name);
            return content ? std::strtoull(content->c_str(), nullptr, 10) : 0;
        };
        node.read_latency_ns = number("read_latency");
        node.write_latency_ns = number("write_latency");
        node.read_mb_per_s = number("read_bandwidth");
        node.write_mb_per_s = number("write_bandwidth");
        if (node.read_latency_ns || node.read_mb_per_s) return;
    }
}

struct KernelTier {
    int id;  // lower is faster
    std::vector<int> nodes;
};

std::vector<KernelTier> read_kernel_tiers(const std::string& root) {
    const std::string folder = root + "/sys/devices/virtual/memory_tiering";
    std::vector<KernelTier> tiers;
    for (const std::string& name : list_folder(folder)) {
        int id = 0;
        if (std::sscanf(name.c_str(), "memory_tier%d", &id) != 1) continue;
        auto nodes = read_list(folder + "/" + name + "/nodelist");
        if (nodes && !nodes->empty()) tiers.push_back({id, *nodes});
    }
    std::sort(tiers.begin(), tiers.end(), [](auto& a, auto& b) { return a.id < b.id; });
    return tiers;
}

// Takes over the kernel's tiers. False when they put every node of ours in one, or miss one.
bool use_kernel_tiers(Topology& topology, const std::vector<KernelTier>& kernel) {
    std::vector<std::string> names;
    std::map<int, size_t> tier_of;
    for (const KernelTier& tier : kernel) {
        bool used = false;
        for (int node : tier.nodes) {
            if (!topology.find(node)) continue;
            tier_of[node] = names.size();
            used = true;
        }
        if (used) names.push_back(text("memory_tier%d", tier.id));
    }
    if (names.size() < 2 || tier_of.size() != topology.nodes.size()) return false;
    for (Node& node : topology.nodes) node.tier = tier_of[node.id];
    topology.source = TierSource::kernel;
    topology.reason = text("the kernel's memory tiers tell %zu tiers apart", names.size());
    topology.tier_names = std::move(names);
    return true;
}

void use_cpuless_tiers(Topology& topology, const std::vector<KernelTier>& kernel) {
    const char* kernel_says = kernel.empty()       ? "the kernel names no memory tiers"
                              : kernel.size() == 1 ? "the kernel has all nodes in one memory tier"
                                                   : "the kernel's memory tiers miss a node";
    std::string far_nodes;
    for (Node& node : topology.nodes) {
        node.tier = node.cpus == 0;
        if (node.cpus == 0) far_nodes += text("%s%d", far_nodes.empty() ? "" : ", ", node.id);
    }
    bool any_near = std::any_of(topology.nodes.begin(), topology.nodes.end(),
                                [](const Node& node) { return node.cpus > 0; });
    if (far_nodes.empty() || !any_near) {
        for (Node& node : topology.nodes) node.tier = 0;
        topology.source = TierSource::single;
        topology.tier_names = {"near"};
        topology.reason = topology.nodes.size() == 1
                              ? text("there is one node with memory (node %d): nothing to tier",
                                     topology.nodes.front().id)
                              : text("%s and every one of the %zu has CPUs: nothing to tier",
                                     kernel_says, topology.nodes.size());
        return;
    }
    topology.source = TierSource::cpuless;
    topology.tier_names = {"near", "far"};
    topology.reason =
        text("%s, so nodes without a CPU (%s) are taken as far", kernel_says, far_nodes.c_str());
}

}  // namespace

const Node* Topology::find(int node) const {
    for (const Node& one : nodes) {
        if (one.id == node) return &one;
    }
    return nullptr;
}

std::vector<int> Topology::tier_nodes(size_t tier) const {
    std::vector<int> ids;
    for (const Node& node : nodes) {
        if (node.tier == tier) ids.push_back(node.id);
    }
    return ids;
}

std::vector<int> Topology::nodes_beyond(size_t tier) const {
    std::vector<int> ids;
    for (size_t slower = tier + 1; slower < tier_names.size(); ++slower) {
        for (int node : tier_nodes(slower)) ids.push_back(node);
    }
    return ids;
}

Result<std::vector<int>> parse_list(const std::string& list) {
    std::vector<int> numbers;
    std::string trimmed = list.substr(0, list.find_last_not_of(" \n") + 1);
    const char* at = trimmed.data();
    const char* end = at + trimmed.size();
    while (at < end) {
        int first = 0, last = 0;
        auto read = std::from_chars(at, end, first);
        bool good = read.ec == std::errc() && first >= 0;
        last = first;
        if (good && read.ptr < end && *read.ptr == '-') {
            read = std::from_chars(read.ptr + 1, end, last);
            good = read.ec == std::errc();
        }
        bool ends = good && (read.ptr == end || (*read.ptr == ',' && read.ptr + 1 < end));
        if (!ends || last < first || last >= 1 << 16) {
            return fail(EINVAL, "\"%s\" is not a list of numbers such as 0-3,8", trimmed.c_str());
        }
        for (int number = first; number <= last; ++number) numbers.push_back(number);
        at = read.ptr == end ? end : read.ptr + 1;
    }
    return numbers;
}

Result<std::vector<Node>> read_nodes(const std::string& root) {
    std::string folder = root + "/sys/devices/system/node";
    auto online = read_list(folder + "/online");
    if (!online) {
        return fail(ENOENT,
                    "no NUMA nodes below %s: is sysfs mounted, and does the kernel have NUMA?",
                    folder.c_str());
    }
    auto marks = read_watermarks(root).value_or(std::map<int, uint64_t>());

    std::vector<Node> nodes;
    std::vector<int> with_cpus;
    for (int id : *online) {
        if (id >= node_limit) return fail(EINVAL, "node %d is above %d", id, node_limit - 1);
        std::string node_folder = folder + text("/node%d", id);
        auto cpus = read_list(node_folder + "/cpulist");
        if (cpus && !cpus->empty()) with_cpus.push_back(id);
        auto meminfo = read_text(node_folder + "/meminfo");
        if (!meminfo) continue;  // went away between the two reads
        auto values = parse_meminfo(*meminfo);
        if (or_zero(values, "MemTotal") == 0) continue;
        uint64_t clean = or_zero(values, "Active(file)") + or_zero(values, "Inactive(file)");
        clean -= std::min(clean, or_zero(values, "Dirty") + or_zero(values, "Writeback"));
        Node node;
        node.id = id;
        node.total_bytes = or_zero(values, "MemTotal");
        node.free_bytes = or_zero(values, "MemFree");
        node.reclaimable_bytes = clean + or_zero(values, "SReclaimable");
        node.watermark_bytes = marks.contains(id) ? marks[id] : 0;
        node.cpus = cpus ? cpus->size() : 0;
        nodes.push_back(node);
    }
    if (nodes.empty()) return fail(ENOENT, "%s names no node with memory", folder.c_str());
    for (Node& node : nodes) set_nearest_cpus(folder, node, *online, with_cpus);
    return nodes;
}

Result<Topology> read_topology(const std::string& root) {
    auto nodes = read_nodes(root);
    if (!nodes) return std::unexpected(nodes.error());
    Topology topology;
    topology.nodes = std::move(*nodes);
    for (Node& node : topology.nodes) {
        set_firmware_numbers(root + text("/sys/devices/system/node/node%d", node.id), node);
    }
    auto kernel = read_kernel_tiers(root);
    if (!use_kernel_tiers(topology, kernel)) use_cpuless_tiers(topology, kernel);
    return topology;
}

Result<uint64_t> read_node_free(const std::string& root, int node) {
    std::string path = root + text("/sys/devices/system/node/node%d/meminfo", node);
    auto meminfo = read_text(path);
    size_t at = meminfo ? meminfo->find("MemFree:") : std::string::npos;
    unsigned long long kib = 0;
    if (at == std::string::npos || std::sscanf(meminfo->c_str() + at, "MemFree: %llu", &kib) != 1) {
        return fail(ENOENT, "node %d is not there (%s)", node, path.c_str());
    }
    return kib * 1024;
}

Result<std::map<int, uint64_t>> read_watermarks(const std::string& root) {
    auto zoneinfo = read_text(root + "/proc/zoneinfo");
    if (!zoneinfo) return std::unexpected(zoneinfo.error());
    return parse_watermarks(*zoneinfo);
}

Result<uint64_t> read_node_room(const std::string& root, int node) {
    auto free_bytes = read_node_free(root, node);
    if (!free_bytes) return free_bytes;
    auto marks = read_watermarks(root);
    if (!marks) return std::unexpected(marks.error());
    uint64_t mark = marks->contains(node) ? marks->at(node) : 0;
    return *free_bytes > mark ? *free_bytes - mark : 0;
}

}  // namespace libpool
