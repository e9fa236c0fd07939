// SPDX-License-Identifier: Apache-2.0
// A sysfs and procfs tree in a folder of its own, as recorded from a guest with one pooled device,
// for tests to change. Goes away with the object.
#pragma once

#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include "poold/tree.h"

namespace poold {

constexpr uint64_t mib = 1 << 20;

class FakeTree {
  public:
    FakeTree() {
        char name[] = "/tmp/poold-test-XXXXXX";
        root_ = mkdtemp(name);
    }
    ~FakeTree() {
        std::error_code ignored;
        std::filesystem::remove_all(root_, ignored);
    }
    FakeTree(const FakeTree&) = delete;

    const std::string& root() const { return root_; }
    Tree tree() const { return Tree(root_); }

    void set(const std::string& path, const std::string& content) {
        std::filesystem::create_directories(std::filesystem::path(root_ + path).parent_path());
        // Through a rename, as sysfs never shows half a file.
        std::ofstream(root_ + path + ".new") << content;
        std::filesystem::rename(root_ + path + ".new", root_ + path);
    }
    void link(const std::string& path, const std::string& target) {
        std::filesystem::create_directories(std::filesystem::path(root_ + path).parent_path());
        std::filesystem::remove(root_ + path);
        std::filesystem::create_symlink(target, root_ + path);
    }
    std::string get(const std::string& path) const {
        std::ifstream file(root_ + path);
        std::stringstream content;
        content << file.rdbuf();
        return content.str();
    }
    void remove(const std::string& path) { std::filesystem::remove_all(root_ + path); }

    // A host with two nodes' worth of facts, and memory blocks of 128 MiB.
    void add_host() {
        set("/proc/sys/kernel/random/boot_id", "7b1e6f0a-0000-4000-8000-000000000001\n");
        set("/proc/sys/kernel/hostname", "h1\n");
        set("/proc/sys/kernel/osrelease", "7.3.4+deb13-amd64\n");
        set("/sys/devices/system/memory/block_size_bytes", "8000000\n");
        set("/sys/devices/system/memory/auto_online_blocks", "offline\n");
        set("/proc/pressure/memory",
            "some avg10=1.25 avg60=0.00 avg300=0.00 total=0\n"
            "full avg10=0.00 avg60=0.00 avg300=0.00 total=0\n");
        set("/sys/devices/system/node/online", "0\n");
        set_node(0, "0-1", 2000 << 10, 1500 << 10);
        set("/proc/zoneinfo",
            "Node 0, zone    DMA32\n  pages free     5000\n        high     1000\n");
        for (const char* module : {"dax_hmem", "device_dax", "kmem"}) {
            set(std::string("/sys/module/") + module + "/refcnt", "0\n");
        }
    }
    void set_node(int node, const std::string& cpus, long total_kib, long free_kib) {
        std::string folder = "/sys/devices/system/node/node" + std::to_string(node);
        std::string head = "Node " + std::to_string(node) + " ";
        set(folder + "/cpulist", cpus + "\n");
        set(folder + "/distance", "10\n");
        set(folder + "/meminfo", head + "MemTotal: " + std::to_string(total_kib) + " kB\n" + head +
                                     "MemFree: " + std::to_string(free_kib) + " kB\n");
    }

    static std::string device_folder(const std::string& bdf = "0000:0d:00.0") {
        return "/sys/bus/pci/devices/" + bdf;
    }
    // A function of the CXL class with a driver ("" = none).
    void add_function(const std::string& bdf, const std::string& driver) {
        set(device_folder(bdf) + "/class", "0x050210\n");
        if (!driver.empty())
            link(device_folder(bdf) + "/driver", "../../../bus/pci/drivers/" + driver);
    }
    // A ready function of ours: serial 1, 1 GiB at 4 GiB + 240 MiB, which is block-aligned.
    void add_pooled(const std::string& bdf = "0000:0d:00.0", const std::string& extents = "") {
        add_function(bdf, "cxl_dcd");
        const std::string dcd = device_folder(bdf) + "/dcd";
        set(dcd + "/state", "ready\n");
        set(dcd + "/error", "\n");
        set(dcd + "/instance", "00c0ffee00c0ffee\n");
        set(dcd + "/serial", "0x1\n");
        set(dcd + "/region", "0 1073741824 2097152\n");
        set(dcd + "/window", "4563402752 4294967296 1\n");
        set(dcd + "/extents", extents);
        set(dcd + "/generation", "1\n");
        set(dcd + "/want", "");
    }
    static constexpr uint64_t window = 4563402752;  // 34 memory blocks

    // The dax device of an extent plugged as ram, and its memory blocks' state.
    void add_dax(const std::string& name, uint64_t dpa, uint64_t len, const std::string& state) {
        const std::string folder = "/sys/bus/dax/devices/" + name;
        char address[32];
        std::snprintf(address, sizeof address, "0x%llx\n",
                      static_cast<unsigned long long>(window + dpa));
        set(folder + "/resource", address);
        set(folder + "/size", std::to_string(len) + "\n");
        for (uint64_t block = (window + dpa) >> 27; block < (window + dpa + len) >> 27; ++block) {
            set("/sys/devices/system/memory/memory" + std::to_string(block) + "/state",
                state + "\n");
        }
    }

  private:
    std::string root_;
};

}  // namespace poold
