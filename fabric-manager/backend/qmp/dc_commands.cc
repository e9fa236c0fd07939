// SPDX-License-Identifier: Apache-2.0
#include "backend/qmp/dc_commands.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

namespace cxlpool {

using nlohmann::json;

namespace {

// Offsets are relative to DC region 0, which begins at DPA 0: the devices have no other memory.
json extents_json(const std::vector<Range>& extents) {
    json list = json::array();
    for (const Range& extent : extents) {
        list.push_back({{"offset", extent.dpa}, {"len", extent.length}});
    }
    return list;
}

}  // namespace

Result<void> check_group(const DeviceSpec& device, const std::vector<Range>& extents) {
    if (extents.empty() || extents.size() > kMostExtents) {
        return fail(Code::invalid, fmt::format("a group has 1 to {} extents, this one {}",
                                               kMostExtents, extents.size()));
    }
    RangeSet all;
    for (const Range& extent : extents) {
        const bool fits = extent.length != 0 && extent.dpa % device.block == 0 &&
                          extent.length % device.block == 0 && extent.dpa < device.size &&
                          extent.length <= device.size - extent.dpa;
        if (!fits || all.intersects(extent)) {
            return fail(Code::invalid,
                        fmt::format("extent {} of a group does not fit the device or the others",
                                    describe(extent)));
        }
        all.add(extent);
    }
    return {};
}

json add_arguments(const std::string& path, const std::vector<Range>& extents) {
    return {{"path", path}, {"host-id", 0}, {"selection-policy", "prescriptive"},
            {"region", 0},  {"tag", ""},    {"extents", extents_json(extents)}};
}

json release_arguments(const std::string& path, const std::vector<Range>& extents) {
    return {{"path", path}, {"host-id", 0}, {"removal-policy", "prescriptive"},
            {"region", 0},  {"tag", ""},    {"extents", extents_json(extents)}};
}

json query_arguments(const std::string& path, const Range& range) {
    return add_arguments(path, {range, range});
}

std::optional<Presence> presence_by_refusal(const std::string& refusal) {
    const auto says = [&](const char* words) { return refusal.find(words) != std::string::npos; };
    if (says("already accessible")) return Presence::accepted;
    if (says("still pending")) return Presence::pending;
    if (says("duplicate or overlapped")) return Presence::none;
    return std::nullopt;
}

}  // namespace cxlpool
