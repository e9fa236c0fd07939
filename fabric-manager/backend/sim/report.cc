// SPDX-License-Identifier: Apache-2.0
// What a simulated host's agent says: the truth, unless its behaviour is to lie.
#include <fmt/format.h>

#include <algorithm>

#include "backend/sim/host.h"

namespace cxlpool::sim {

namespace {

constexpr Bytes kNearBytes = 2 * GiB;
constexpr Bytes kFirstWindow =
    34 * 128 * MiB;  // where QEMU's first CXL window starts in a 2 GiB guest

const char* name_of(SimHost::State state) {
    switch (state) {
        case SimHost::State::accepted:
            return "accepted";
        case SimHost::State::plugging:
            return "plugging";
        case SimHost::State::plugged:
            return "plugged";
        case SimHost::State::unplugging:
            return "unplugging";
    }
    return "";
}

}  // namespace

void SimHost::changed() {
    if (report_planned_ || !up()) return;
    report_planned_ = true;
    later(2, [](SimHost& self) {
        self.report_planned_ = false;
        self.send();
    });
}

void SimHost::report_every() {
    changed();
    later(behaviour.report_ms, [](SimHost& self) { self.report_every(); });
}

void SimHost::send() {
    if (!up() || behaviour.silent || behaviour.hung) return;
    links_.send_report(report());
}

ReportedDevice SimHost::report_device(SimDevice& device, std::size_t index) const {
    ReportedDevice said;
    said.serial = device.spec().serial;
    said.region_len = device.spec().size;
    said.hpa = kFirstWindow + index * 64 * GiB;
    for (const auto& [key, extent] : extents_) {
        if (key.first != &device) continue;
        ReportedExtent& one = said.extents.emplace_back();
        one.serial = said.serial;
        one.range = key.second;
        one.state = name_of(extent.state);
        one.use = extent.use;
        one.error = extent.error;
        if (extent.state == State::plugged) {
            one.dax = fmt::format("dax{}.0", extent.dax);
            if (extent.use == Use::ram) one.node = static_cast<int>(index) + 1;
        }
        if (extent.refused_since) {
            one.used = behaviour.held;
            one.held_kernel = behaviour.held / 6;
            one.held.push_back({812, "python3", behaviour.held - one.held_kernel});
        }
    }
    for (const LogRecord& record : device.log(name_)) {
        if (record.kind == LogRecord::Kind::add) {
            said.extents.push_back({.serial = said.serial,
                                    .range = record.range,
                                    .state = "pending",
                                    .use = {},
                                    .node = {},
                                    .dax = {},
                                    .error = {},
                                    .used = {},
                                    .held = {}});
        }
    }
    return said;
}

HostReport SimHost::report() {
    HostReport said;
    said.host = name_;
    said.boot = boot();
    said.seq = ++seq_;
    said.memory_block = behaviour.memory_block;
    said.online_policy = behaviour.online_policy;
    said.poold_version = "sim";
    switch (behaviour.driver) {
        case Driver::ready:
            said.driver = fmt::format("{}-driver{}", boot(), drivers_);
            said.driver_state = "ready";
            break;
        case Driver::none:
            said.driver_state = "none";
            break;
        case Driver::other:
            said.driver_state = "other:" + behaviour.other_driver;
            break;
        case Driver::broken:
            said.driver = fmt::format("{}-driver{}", boot(), drivers_);
            said.driver_state = "broken";
            said.driver_error = "the mailbox of 0000:0d:00.0 does not answer";
            break;
    }
    said.nodes.push_back({0, kNearBytes, kNearBytes / 2});
    if (behaviour.driver == Driver::ready) {
        for (std::size_t i = 0; i < links_.devices.size(); ++i) {
            said.devices.push_back(report_device(*links_.devices[i], i));
            Bytes plugged = 0;
            for (const ReportedExtent& one : said.devices.back().extents) {
                if (one.node) plugged += one.range.length;
            }
            if (plugged != 0) said.nodes.push_back({static_cast<int>(i) + 1, plugged, plugged});
        }
    }
    if (behaviour.lie != Lie::none) lie(said);
    return said;
}

void SimHost::lie(HostReport& said) const {
    const std::optional<Desired> desired = links_.desired(name_);
    for (ReportedDevice& device : said.devices) {
        switch (behaviour.lie) {
            case Lie::none:
                break;
            case Lie::claims_plugged:
                device.extents.clear();
                if (!desired) break;
                for (const DesiredExtent& wanted : desired->extents) {
                    if (wanted.serial != device.serial) continue;
                    device.extents.push_back({.serial = device.serial,
                                              .range = wanted.range,
                                              .state = "plugged",
                                              .use = wanted.use,
                                              .node = 1,
                                              .dax = "dax0.0",
                                              .error = {},
                                              .used = {},
                                              .held = {}});
                }
                break;
            case Lie::claims_unplugged:
                for (ReportedExtent& extent : device.extents) {
                    extent.state = "accepted";
                    extent.use.reset();
                    extent.node.reset();
                }
                break;
            case Lie::claims_nothing:
                device.extents.clear();
                break;
            case Lie::claims_others:
                device.extents.push_back({.serial = device.serial,
                                          .range = {0, device.region_len / 2},
                                          .state = "plugged",
                                          .use = Use::ram,
                                          .node = 1,
                                          .dax = "dax9.0",
                                          .error = {},
                                          .used = {},
                                          .held = {}});
                break;
            case Lie::claims_nonsense:
                device.region_base = ~Bytes{0} - 5;
                device.region_len = ~Bytes{0};
                device.hpa = 12345;
                for (ReportedExtent& extent : device.extents) extent.range.length = ~Bytes{0};
                device.extents.push_back({.serial = 0,
                                          .range = {~Bytes{0}, 7},
                                          .state = "purple",
                                          .use = {},
                                          .node = -4,
                                          .dax = "/../x",
                                          .error = {},
                                          .used = ~Bytes{0},
                                          .held = {}});
                break;
        }
    }
    if (behaviour.lie == Lie::claims_nonsense) said.memory_block = 3;
}

}  // namespace cxlpool::sim
