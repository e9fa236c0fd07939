// SPDX-License-Identifier: Apache-2.0
#include "poold/check.h"

#include <cstdio>
#include <nlohmann/json.hpp>

#include "numa_balancing.h"
#include "poold/host.h"
#include "poold/libcxl.h"
#include "poold/table.h"
#include "tier/sampler_choice.h"

namespace poold {

namespace {

Finding check_kernel(const Tree& tree) {
    std::string release = kernel_release(tree);
    int major = 0, minor = 0;
    bool read = std::sscanf(release.c_str(), "%d.%d", &major, &minor) == 2;
    if (!read) {
        return {"kernel", Verdict::bad, "unknown",
                "mount /proc: the kernel's version is not there"};
    }
    if (major > 7 || (major == 7 && minor >= 3)) return {"kernel", Verdict::well, release, ""};
    return {"kernel", Verdict::bad, release,
            "boot a kernel 7.3 or newer: the driver cxl_dcd and the sampler rwp need it (this is " +
                release + ")"};
}

std::string describe(const Device& device) {
    std::string out = device.bdf + " " + (device.driver.empty() ? "no driver" : device.driver);
    if (device.ours() && !device.state.empty()) out += " " + device.state;
    if (!device.extents.empty()) out += text(", %zu extents", device.extents.size());
    return out;
}

Finding check_devices(const std::vector<Device>& devices) {
    Finding finding{"CXL devices", Verdict::bad, "", ""};
    for (const Device& device : devices) {
        finding.value += (finding.value.empty() ? "" : "; ") + describe(device);
    }
    DriverSummary driver = summarize(devices);
    if (devices.empty()) {
        finding.value = "none (no PCI function of class 0x050210)";
        finding.change = "attach a CXL memory device; to try without one, run make rack";
    } else if (driver.state == "ready") {
        finding.verdict = driver.error.empty() ? Verdict::well : Verdict::remark;
        if (!driver.error.empty()) finding.value += ": " + driver.error;
    } else if (driver.state == "broken") {
        finding.value += ": " + driver.error;
        finding.change = "see dmesg for what cxl_dcd says of the device, mend it, and bind it anew";
    } else if (driver.state.starts_with("other:")) {
        finding.change =
            "give the pooled device to cxl_dcd: write cxl_dcd to its driver_override in "
            "/sys/bus/pci/devices/" +
            devices.front().bdf + ", unbind " + driver.state.substr(6) +
            ", and write the address to /sys/bus/pci/drivers_probe";
    } else {
        finding.change =
            "load the driver: modprobe cxl_dcd, with driver_override set to cxl_dcd in "
            "/sys/bus/pci/devices/" +
            devices.front().bdf;
    }
    return finding;
}

Finding check_modules(const Host& host) {
    const std::string& missing = host.missing_modules;
    if (missing.empty()) return {"dax modules", Verdict::well, "dax_hmem, device_dax, kmem", ""};
    return {
        "dax modules", Verdict::bad, "missing: " + missing,
        "use a kernel with " + missing +
            " (CONFIG_DEV_DAX, CONFIG_DEV_DAX_HMEM, CONFIG_DEV_DAX_KMEM): without them no extent "
            "can be used"};
}

Finding check_memory_block(const Host& host) {
    if (host.memory_block == 0) {
        return {"memory block", Verdict::bad, "none",
                "use a kernel with memory hot-plug (CONFIG_MEMORY_HOTPLUG)"};
    }
    return {"memory block", Verdict::well,
            describe_bytes(host.memory_block) + " (ram grants are multiples of it)", ""};
}

Finding check_policy(const Host& host) {
    const std::string& policy = host.online_policy;
    if (policy == "offline" || policy == "online_movable") {
        return {"online policy", Verdict::well, policy, ""};
    }
    return {"online policy", Verdict::bad, policy.empty() ? "unknown" : policy,
            "write offline to /sys/devices/system/memory/auto_online_blocks, and boot with "
            "memhp_default_state=offline: memory onlined for the kernel can never be given back"};
}

Finding check_tiers(const Tree& tree) {
    auto topology = libpool::read_topology(tree.root());
    if (!topology) return {"tiers", Verdict::remark, topology.error().sentence, ""};
    std::string value;
    for (size_t tier = 0; tier < topology->tier_names.size(); ++tier) {
        value += (tier ? ", " : "") + topology->tier_names[tier] + ": node";
        for (int node : topology->tier_nodes(tier)) value += text(" %d", node);
    }
    bool single = topology->source == libpool::TierSource::single;
    return {"tiers", single ? Verdict::remark : Verdict::well,
            value + " (" + topology->reason + ")", ""};
}

Finding check_samplers(const Tree& tree) {
    Finding finding{"samplers", Verdict::remark, "", ""};
    for (const auto& sampler : libpool::tier::probe_samplers(tree.root())) {
        std::string why = sampler.why.empty() ? "" : " (" + sampler.why + ")";
        finding.value += (finding.value.empty() ? "" : "; ") + sampler.name +
                         (sampler.usable ? " yes" : " no") + why;
        if (sampler.usable && sampler.name == "rwp") finding.verdict = Verdict::well;
    }
    return finding;
}

Finding check_numa_balancing(const Tree& tree) {
    const auto mode = libpool::read_numa_balancing(tree.root());
    if (!mode) return {"NUMA balancing", Verdict::well, "none in this kernel", ""};
    if (*mode == 0) return {"NUMA balancing", Verdict::well, "off", ""};
    return {"NUMA balancing", Verdict::remark, libpool::describe_numa_balancing(*mode), ""};
}

Finding check_huge_pages(const Tree& tree) {
    std::string content =
        tame(tree.read_or_empty("/sys/kernel/mm/transparent_hugepage/enabled"), 80);
    size_t open = content.find('['), close = content.find(']');
    std::string mode = open != std::string::npos && close > open
                           ? content.substr(open + 1, close - open - 1)
                           : "none";
    return {"huge pages", Verdict::well, mode, ""};
}

const char* mark(Verdict verdict) {
    return verdict == Verdict::well ? "ok" : verdict == Verdict::remark ? "note" : "BAD";
}

}  // namespace

CheckResult check_host(const Tree& tree) {
    Seen seen = look(tree);
    CheckResult result;
    result.findings.push_back(check_kernel(tree));
    result.findings.push_back(check_devices(seen.devices));
    if (!tree.recorded()) {
        if (auto memdevs = libcxl_memdevs()) {
            result.findings.push_back({"libcxl", Verdict::well, *memdevs, ""});
        }
    }
    result.findings.push_back(check_modules(seen.host));
    result.findings.push_back(check_memory_block(seen.host));
    result.findings.push_back(check_policy(seen.host));
    result.findings.push_back(check_tiers(tree));
    result.findings.push_back(check_samplers(tree));
    result.findings.push_back(check_numa_balancing(tree));
    result.findings.push_back(check_huge_pages(tree));
    return result;
}

std::string CheckResult::the_one_thing() const {
    for (const Finding& finding : findings) {
        if (finding.verdict == Verdict::bad) return finding.change;
    }
    return "";
}

std::string CheckResult::as_text() const {
    std::vector<std::vector<std::string>> rows;
    for (const Finding& finding : findings) {
        rows.push_back({mark(finding.verdict), finding.what, finding.value});
    }
    std::string change = the_one_thing();
    return table(rows) + "\n" +
           (change.empty() ? "This host is fit for pooled memory.\n"
                           : "The one thing to change: " + change + ".\n");
}

std::string CheckResult::as_json() const {
    nlohmann::json list = nlohmann::json::array();
    for (const Finding& finding : findings) {
        list.push_back({{"what", finding.what},
                        {"verdict", mark(finding.verdict)},
                        {"value", finding.value},
                        {"change", finding.change}});
    }
    nlohmann::json out = {{"ok", well()}, {"change", the_one_thing()}, {"findings", list}};
    return out.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

}  // namespace poold
