// SPDX-License-Identifier: Apache-2.0
#include "poold/report.h"

#include <nlohmann/json.hpp>

namespace poold {

using nlohmann::json;

namespace {

json held_json(const Held& held) {
    json list = json::array();
    for (const Holder& holder : held.holders) {
        if (list.size() == holder_limit) break;
        list.push_back({{"pid", holder.pid}, {"comm", holder.comm}, {"bytes", holder.bytes}});
    }
    return list;
}

json extent_json(const Device& device, const Extent& extent, const Notes& notes) {
    json out = {{"dpa", extent.dpa}, {"len", extent.len}, {"state", name_of(extent.state)}};
    if (extent.use) out["use"] = name_of(*extent.use);
    if (extent.node) out["node"] = *extent.node;
    out["dax"] = extent.dax;
    out["error"] = extent.error;
    auto note = notes.find(Key{device.serial, extent.dpa, extent.len});
    if (note == notes.end()) return out;
    if (note->second.held) {
        // The driver wonders who takes its memory blocks offline: the agent does.
        out["error"] = note->second.error;
        out["used"] = note->second.held->used;
        out["held"] = held_json(*note->second.held);
        out["held_kernel"] = note->second.held->kernel;
    } else if (!note->second.error.empty()) {
        std::string driver = extent.error.empty() ? "" : " (driver: " + extent.error + ")";
        out["error"] = note->second.error + driver;
    }
    return out;
}

// A device of ours that shows where it is; others are not part of the pool's picture of this host.
bool tells_enough(const Device& device) {
    return device.ours() && device.serial != 0 && device.region_len != 0;
}

}  // namespace

std::string report_json(const Seen& seen, const Notes& notes, uint64_t seq) {
    const Host& host = seen.host;
    DriverSummary driver = summarize(seen.devices);
    if (driver.state == "ready" && !host.missing_modules.empty()) {
        driver.state = "broken";
        driver.error = "this kernel lacks " + host.missing_modules +
                       ", without which no extent can be used: poold check tells more";
    }
    json devices = json::array();
    for (const Device& device : seen.devices) {
        if (!tells_enough(device)) continue;
        json extents = json::array();
        for (const Extent& extent : device.extents) {
            extents.push_back(extent_json(device, extent, notes));
        }
        devices.push_back({{"serial", device.serial},
                           {"region_base", device.region_base},
                           {"region_len", device.region_len},
                           {"hpa", device.hpa_of(device.region_base).value_or(0)},
                           {"state", device.state.empty() ? "broken" : device.state},
                           {"extents", std::move(extents)}});
    }
    json nodes = json::array();
    for (const libpool::Node& node : host.nodes) {
        nodes.push_back(
            {{"node", node.id}, {"total", node.total_bytes}, {"free", node.free_bytes}});
    }
    json report = {{"boot", host.boot},
                   {"driver", driver.instances},
                   {"seq", seq},
                   {"host", host.name},
                   {"memory_block", host.memory_block},
                   {"poold", poold_version},
                   {"driver_state", driver.state},
                   {"driver_error", driver.error},
                   {"online_policy", host.online_policy},
                   {"devices", std::move(devices)},
                   {"pressure",
                    {{"some_avg10", host.some_avg10},
                     {"near_free", host.near_free()},
                     {"near_total", host.near_total()}}},
                   {"nodes", std::move(nodes)}};
    return report.dump(-1, ' ', false, json::error_handler_t::replace);
}

}  // namespace poold
