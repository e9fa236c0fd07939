// SPDX-License-Identifier: Apache-2.0
#include "poold/driver.h"

#include <algorithm>
#include <array>
#include <utility>

namespace poold {

namespace {

constexpr std::array<std::pair<const char*, ExtentState>, 7> extent_states = {{
    {"pending", ExtentState::pending},
    {"accepted", ExtentState::accepted},
    {"plugging", ExtentState::plugging},
    {"plugged", ExtentState::plugged},
    {"unplugging", ExtentState::unplugging},
    {"releasing", ExtentState::releasing},
    {"stuck", ExtentState::stuck},
}};

void note(std::string& problem, const std::string& sentence) {
    if (problem.size() < 1000) problem += (problem.empty() ? "" : "; ") + sentence;
}

std::string or_empty(const std::string& word) { return word == "-" ? "" : word; }

bool is_dax_name(const std::string& name) {
    if (!name.starts_with("dax") || name.size() > 32) return false;
    return std::all_of(name.begin() + 3, name.end(),
                       [](char c) { return (c >= '0' && c <= '9') || c == '.'; });
}

// Only what looks like a tag is one: a driver that shows none goes on with the error.
bool is_tag(const std::string& word) {
    return word == "-" || (word.size() == 32 &&
                           word.find_first_not_of("0123456789abcdefABCDEF") == std::string::npos);
}

// dpa len state want use dax node tag error…
std::optional<Extent> parse_extent(const std::string& line) {
    auto words = words_of(line);
    if (words.size() < 7) return std::nullopt;
    Extent extent;
    auto dpa = parse_number(words[0]), len = parse_number(words[1]);
    if (!dpa || !len || *len == 0 || *dpa + *len < *dpa) return std::nullopt;
    extent.dpa = *dpa;
    extent.len = *len;
    auto state = std::find_if(extent_states.begin(), extent_states.end(),
                              [&](auto& one) { return words[2] == one.first; });
    if (state == extent_states.end()) return std::nullopt;
    extent.state = state->second;
    extent.want = or_empty(words[3]);
    if (extent.want != "" && extent.want != "plugged" && extent.want != "unplugged") {
        return std::nullopt;
    }
    if (words[4] == "ram")
        extent.use = Use::ram;
    else if (words[4] == "dax")
        extent.use = Use::dax;
    else if (words[4] != "-")
        return std::nullopt;
    extent.dax = or_empty(words[5]);
    if (!extent.dax.empty() && !is_dax_name(extent.dax)) return std::nullopt;
    if (words[6] != "-") {
        auto node = parse_number(words[6]);
        if (!node || *node > 4095) return std::nullopt;
        extent.node = static_cast<int>(*node);
    }
    bool tagged = words.size() > 7 && is_tag(words[7]);
    if (tagged) extent.tag = or_empty(words[7]);
    std::string error;
    for (size_t i = tagged ? 8 : 7; i < words.size(); ++i)
        error += (error.empty() ? "" : " ") + words[i];
    extent.error = tame(or_empty(error));
    return extent;
}

// Numbers of a one-line file, exactly `count` of them.
std::vector<uint64_t> read_numbers(const Tree& tree, const std::string& path, size_t count,
                                   std::string& problem) {
    auto content = tree.read(path, 4096);
    std::vector<uint64_t> numbers;
    if (!content) {
        note(problem, content.error().sentence);
        return numbers;
    }
    for (const std::string& word : words_of(*content)) {
        auto number = parse_number(word);
        if (!number) break;
        numbers.push_back(*number);
    }
    if (numbers.size() != count) {
        note(problem, text("%s should hold %zu numbers and says \"%s\"", tree.at(path).c_str(),
                           count, tame(*content, 80).c_str()));
        numbers.clear();
    }
    return numbers;
}

void read_ours(const Tree& tree, Device& device) {
    const std::string folder = device.folder();
    auto state = tree.read(folder + "/state", 4096);
    if (!state) {
        note(device.problem, state.error().sentence);
        return;
    }
    if (*state != "starting" && *state != "ready" && *state != "broken") {
        note(device.problem,
             text("%s/state says \"%s\"", tree.at(folder).c_str(), tame(*state, 40).c_str()));
    } else {
        device.state = *state;
    }
    device.error = tame(tree.read_or_empty(folder + "/error"), 500);
    device.instance = tame(tree.read_or_empty(folder + "/instance"), 40);
    // A device that is starting or broken may not know the rest yet: that is no problem of its own.
    std::string quiet;
    std::string& problem = device.state == "ready" ? device.problem : quiet;
    auto extents = read_extents([&] { return tree.read(folder + "/extents"); });
    if (!extents) {
        // Neither its serial: to fmd, a device that is reported without extents has none plugged.
        note(problem, extents.error().sentence);
        if (device.state == "ready") device.state = "broken";
        return;
    }
    if (auto serial = read_numbers(tree, folder + "/serial", 1, problem); !serial.empty()) {
        device.serial = serial[0];
    }
    if (auto region = read_numbers(tree, folder + "/region", 3, problem); !region.empty()) {
        device.region_base = region[0];
        device.region_len = region[1];
        device.dc_block = region[2];
    }
    if (auto window = read_numbers(tree, folder + "/window", 3, problem);
        !window.empty() && window[2] <= 4095) {
        device.window = Window{window[0], window[1], static_cast<int>(window[2])};
    }
    device.extents = parse_extents(*extents, problem);
}

}  // namespace

std::optional<uint64_t> Device::hpa_of(uint64_t dpa) const {
    if (!window || dpa < region_base || dpa - region_base >= region_len) return std::nullopt;
    return window->hpa + (dpa - region_base);
}

Result<std::string> read_extents(const std::function<Result<std::string>()>& read) {
    auto content = read();
    for (int tries = 1; tries < extents_tries && !content && content.error().code == ESTALE;
         ++tries) {
        content = read();
    }
    return content;
}

std::vector<Extent> parse_extents(const std::string& content, std::string& problem) {
    std::vector<Extent> extents;
    for (const std::string& line : lines_of(content)) {
        if (line.find_first_not_of(" \t") == std::string::npos) continue;
        if (extents.size() == extent_limit) {
            note(problem, text("more than %zu extents: the rest is not shown", extent_limit));
            break;
        }
        if (auto extent = parse_extent(line)) {
            extents.push_back(std::move(*extent));
        } else {
            note(problem, text("the driver shows an extent that cannot be understood: \"%s\"",
                               tame(line, 80).c_str()));
        }
    }
    return extents;
}

std::vector<Device> read_devices(const Tree& tree) {
    std::vector<Device> devices;
    const std::string folder = "/sys/bus/pci/devices";
    for (const std::string& bdf : tree.list(folder)) {
        if (devices.size() == device_limit) break;
        if (tree.read_or_empty(folder + "/" + bdf + "/class") != "0x050210") continue;
        Device device;
        device.bdf = bdf;
        device.driver = tree.link_name(folder + "/" + bdf + "/driver");
        if (device.ours()) read_ours(tree, device);
        devices.push_back(std::move(device));
    }
    return devices;
}

DriverSummary summarize(const std::vector<Device>& devices) {
    DriverSummary summary;
    size_t ours = 0, ready = 0, broken = 0;
    std::string other;
    for (const Device& device : devices) {
        if (!device.ours()) {
            if (other.empty()) other = device.driver;
            continue;
        }
        ++ours;
        if (device.state == "ready") ++ready;
        if (device.state == "broken") ++broken;
        if (!device.instance.empty()) {
            summary.instances += (summary.instances.empty() ? "" : ",") + device.instance;
        }
        for (const std::string* sentence : {&device.error, &device.problem}) {
            if (!sentence->empty()) note(summary.error, device.bdf + ": " + *sentence);
        }
    }
    if (ready > 0) {
        summary.state = "ready";
    } else if (broken > 0) {
        summary.state = "broken";
    } else if (ours > 0) {
        summary.state = "none";
        note(summary.error, "cxl_dcd is still starting");
    } else if (!other.empty()) {
        summary.state = "other:" + other;
    } else {
        summary.state = "none";
    }
    return summary;
}

const char* name_of(ExtentState state) {
    for (auto& [name, value] : extent_states) {
        if (value == state) return name;
    }
    return "?";
}

const char* name_of(Use use) { return use == Use::ram ? "ram" : "dax"; }

}  // namespace poold
