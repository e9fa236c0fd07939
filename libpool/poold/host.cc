// SPDX-License-Identifier: Apache-2.0
#include "poold/host.h"

#include <cstdio>

namespace poold {

namespace {

double parse_some_avg10(const std::string& pressure) {
    double value = 0;
    if (std::sscanf(pressure.c_str(), "some avg10=%lf", &value) != 1) return 0;
    return value >= 0 && value <= 100 ? value : 0;
}

uint64_t sum_near(const std::vector<libpool::Node>& nodes, uint64_t libpool::Node::*what) {
    uint64_t sum = 0;
    for (const libpool::Node& node : nodes) {
        if (node.cpus > 0) sum += node.*what;
    }
    return sum;
}

// Whether a module is loaded, built in, or at least there to be loaded.
bool has_module(const Tree& tree, const std::string& name) {
    if (tree.exists("/sys/module/" + name)) return true;
    const std::string folder = "/lib/modules/" + kernel_release(tree);
    for (const char* list : {"/modules.dep", "/modules.builtin"}) {
        auto content = tree.read(folder + list, 16 << 20);
        if (content && content->find("/" + name + ".ko") != std::string::npos) return true;
    }
    return false;
}

}  // namespace

std::string kernel_release(const Tree& tree) {
    return tame(tree.read_or_empty("/proc/sys/kernel/osrelease"), 80);
}

uint64_t Host::near_free() const { return sum_near(nodes, &libpool::Node::free_bytes); }
uint64_t Host::near_total() const { return sum_near(nodes, &libpool::Node::total_bytes); }

Host read_host(const Tree& tree) {
    Host host;
    host.boot = tame(tree.read_or_empty("/proc/sys/kernel/random/boot_id"), 64);
    host.name = tame(tree.read_or_empty("/proc/sys/kernel/hostname"), 64);
    if (auto bytes = parse_hex(tree.read_or_empty("/sys/devices/system/memory/block_size_bytes"))) {
        host.memory_block = *bytes;
    }
    host.online_policy =
        tame(tree.read_or_empty("/sys/devices/system/memory/auto_online_blocks"), 40);
    host.some_avg10 = parse_some_avg10(tree.read_or_empty("/proc/pressure/memory"));
    for (const char* name : {"dax_hmem", "device_dax", "kmem"}) {
        if (!has_module(tree, name))
            host.missing_modules += (host.missing_modules.empty() ? "" : ", ") + std::string(name);
    }
    // Not read_topology(): this runs while our own Drainer takes memory offline (topology.h).
    if (auto nodes = libpool::read_nodes(tree.root())) host.nodes = std::move(*nodes);
    return host;
}

Seen look(const Tree& tree) { return Seen{read_host(tree), read_devices(tree)}; }

std::string describe(const Key& key) {
    auto ull = [](uint64_t value) { return static_cast<unsigned long long>(value); };
    return text("extent [%llu, +%llu) of device 0x%llx", ull(key.dpa), ull(key.len),
                ull(key.serial));
}

}  // namespace poold
