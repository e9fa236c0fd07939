// SPDX-License-Identifier: Apache-2.0
#include "poold/show.h"

#include "poold/table.h"

namespace poold {

namespace {
std::string or_dash(const std::string& word) { return word.empty() ? "-" : word; }
}  // namespace

std::string show_text(const Seen& seen) {
    DriverSummary driver = summarize(seen.devices);
    std::string out = text("driver: %s", driver.state.c_str());
    if (!driver.error.empty()) out += " (" + driver.error + ")";
    out += text("; memory block %s; online policy %s\n",
                describe_bytes(seen.host.memory_block).c_str(),
                or_dash(seen.host.online_policy).c_str());
    std::vector<std::vector<std::string>> rows = {
        {"DEVICE", "SERIAL", "DPA", "SIZE", "STATE", "USE", "NODE", "DAX", "NOTE"}};
    for (const Device& device : seen.devices) {
        for (const Extent& extent : device.extents) {
            rows.push_back({device.bdf,
                            text("0x%llx", static_cast<unsigned long long>(device.serial)),
                            describe_bytes(extent.dpa), describe_bytes(extent.len),
                            name_of(extent.state), extent.use ? name_of(*extent.use) : "-",
                            extent.node ? std::to_string(*extent.node) : "-", or_dash(extent.dax),
                            extent.error});
        }
    }
    if (rows.size() == 1) return out + "no extents\n";
    return out + table(rows);
}

}  // namespace poold
