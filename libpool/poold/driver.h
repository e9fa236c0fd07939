// SPDX-License-Identifier: Apache-2.0
// What the kernel shows of CXL memory devices: every PCI function of class 0x050210, who drives it,
// and for ours (cxl_dcd) its `dcd/` folder. Pure reading; a device that shows garbage is a device
// with a sentence in `problem`, never a failure of the others.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "poold/tree.h"

namespace poold {

inline constexpr const char* our_driver = "cxl_dcd";
inline constexpr size_t device_limit = 256;
inline constexpr size_t extent_limit = 4096;  // per device
inline constexpr int extents_tries = 5;

// Life of an extent as the driver tells it.
enum class ExtentState {
    pending,     // offered, not answered yet
    accepted,    // the host's, not in use
    plugging,    // on its way into use
    plugged,     // in use
    unplugging,  // on its way out of use
    releasing,   // on its way back to the device
    stuck,       // until reboot
};

enum class Use { ram, dax };

struct Extent {
    uint64_t dpa = 0;
    uint64_t len = 0;
    ExtentState state = ExtentState::pending;
    std::string want;  // "", "plugged", "unplugged": the driver's last order
    std::optional<Use> use;
    std::string dax;  // "dax0.0" or ""
    std::optional<int> node;
    std::string tag;    // or ""
    std::string error;  // one sentence or ""

    friend bool operator==(const Extent&, const Extent&) = default;
};

struct Window {
    uint64_t hpa = 0;  // host physical address of the region's first byte
    uint64_t len = 0;
    int node = 0;
    friend bool operator==(const Window&, const Window&) = default;
};

struct Device {
    std::string bdf;     // "0000:0d:00.0"
    std::string driver;  // "", "cxl_dcd", "cxl_pci"
    // The rest only for ours:
    std::string state;     // "starting", "ready", "broken", or "" when unreadable
    std::string error;     // the driver's sentence
    std::string problem;   // ours: what could not be read or understood
    std::string instance;  // of the driver's life
    uint64_t serial = 0;
    uint64_t region_base = 0, region_len = 0, dc_block = 0;
    std::optional<Window> window;
    std::vector<Extent> extents;

    bool ours() const { return driver == our_driver; }
    std::string folder() const { return "/sys/bus/pci/devices/" + bdf + "/dcd"; }
    // Where a DPA of the region appears in the host's address space; nothing without a window.
    std::optional<uint64_t> hpa_of(uint64_t dpa) const;
    friend bool operator==(const Device&, const Device&) = default;
};

std::vector<Device> read_devices(const Tree& tree);

// The content of `extents`, by `read`: from the start again, a few times, when others began to read
// so often that the text is gone (ESTALE).
Result<std::string> read_extents(const std::function<Result<std::string>()>& read);

// The content of `extents`. Lines that cannot be understood are left out and named in `problem`.
std::vector<Extent> parse_extents(const std::string& content, std::string& problem);

// "ready", "none", "other:<driver>", "broken" over all functions, and the sentences that explain
// it.
struct DriverSummary {
    std::string state;
    std::string error;
    std::string instances;  // joined by ','
};
DriverSummary summarize(const std::vector<Device>& devices);

const char* name_of(ExtentState state);
const char* name_of(Use use);

}  // namespace poold
