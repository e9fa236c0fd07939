// SPDX-License-Identifier: Apache-2.0
// Values → JSON. Keys stand in the order in which a person wants to read them; an optional value
// that is not there is null, so that programs find the same keys every time.
#include <fmt/format.h>

#include <ctime>
#include <nlohmann/json.hpp>
#include <optional>

#include "core/describe.h"
#include "server/wire.h"

namespace cxlpool::wire {
namespace {

using OrderedJson = nlohmann::ordered_json;

// Bytes that are not UTF-8 can only come from outside, within a sentence: shown as U+FFFD.
std::string text_of(const OrderedJson& json) {
    return json.dump(-1, ' ', false, OrderedJson::error_handler_t::replace);
}

template <class T>
OrderedJson optional(const std::optional<T>& value) {
    return value ? OrderedJson(*value) : OrderedJson(nullptr);
}

template <class List, class Convert>
OrderedJson array(const List& list, Convert convert) {
    OrderedJson out = OrderedJson::array();
    for (const auto& entry : list) out.push_back(convert(entry));
    return out;
}

OrderedJson names(const std::vector<HostName>& hosts) {
    return array(hosts, [](const HostName& host) { return host.text; });
}

OrderedJson json_of(const Extent& extent) {
    return {
        {"device", extent.device.text}, {"dpa", extent.range.dpa}, {"len", extent.range.length}};
}

OrderedJson json_of(const DeviceView& device) {
    return {{"name", device.name.text}, {"serial", device.serial},      {"size", device.size},
            {"block", device.block},    {"free", device.free},          {"granted", device.granted},
            {"dirty", device.dirty},    {"hosts", names(device.hosts)}, {"note", device.note}};
}

OrderedJson json_of(const HostView& host) {
    return {{"name", host.name.text},
            {"state", name_of(host.state)},
            {"state_text", host.state_text},
            {"granted", host.granted},
            {"used", optional(host.used)},
            {"pressure", optional(host.pressure)},
            {"memory_block", optional(host.memory_block)},
            {"last_seen_ms", optional(host.last_seen_ms)},
            {"boot", host.boot},
            {"driver", host.driver}};
}

OrderedJson json_of(const SeenOn& seen) {
    return {{"host", seen.host.text},
            {"nodes", OrderedJson(seen.nodes)},
            {"dax", OrderedJson(seen.dax)}};
}

OrderedJson json_of(const TimelineEntry& entry) {
    return {{"what", entry.what}, {"ms", entry.ms}, {"time_us", entry.time_us}};
}

OrderedJson extents_of(const std::vector<Extent>& extents) {
    return array(extents, [](const Extent& extent) { return json_of(extent); });
}

OrderedJson json_of(const GrantView& grant) {
    return {{"name", grant.name.text},
            {"id", grant.id.value},
            {"hosts", names(grant.hosts)},
            {"use", name_of(grant.use)},
            {"size", grant.size},
            {"state", name_of(grant.state)},
            {"reason", grant.reason},
            {"waits_for", grant.waits_for},
            {"extents", extents_of(grant.extents)},
            {"seen", array(grant.seen, [](const SeenOn& seen) { return json_of(seen); })},
            {"timeline",
             array(grant.timeline, [](const TimelineEntry& entry) { return json_of(entry); })},
            {"latency_ms", optional(grant.latency_ms)}};
}

OrderedJson json_of(const Plan& plan) {
    return {{"dry_run", true},
            {"grant", plan.grant.text},
            {"extents", extents_of(plan.extents)},
            {"steps", OrderedJson(plan.steps)}};
}

OrderedJson json_of(const DoctorRow& row) {
    return {{"extent", describe(row.extent)},
            {"device_name", row.extent.device.text},
            {"dpa", row.extent.range.dpa},
            {"len", row.extent.range.length},
            {"grant", row.grant},
            {"host", row.host},
            {"journal", row.journal},
            {"device", row.device},
            {"driver", row.driver},
            {"node", row.node},
            {"ok", row.ok},
            {"note", row.note}};
}

OrderedJson json_of(const DoctorView& doctor) {
    return {{"ok", doctor.ok},
            {"rows", array(doctor.rows, [](const DoctorRow& row) { return json_of(row); })}};
}

OrderedJson json_of(const EventView& event) {
    OrderedJson out{{"seq", event.seq}, {"time", format_time(event.time_us)}, {"kind", event.kind}};
    if (!event.host.empty()) out["host"] = event.host;
    if (!event.grant.empty()) out["grant"] = event.grant;
    out["text"] = event.text;
    return out;
}

OrderedJson json_of(const DesiredExtent& extent) {
    return {{"serial", extent.serial},    {"dpa", extent.range.dpa},
            {"len", extent.range.length}, {"grant", extent.grant.text},
            {"use", name_of(extent.use)}, {"want", extent.plugged ? "plugged" : "unplugged"}};
}

OrderedJson json_of(const ReportedExtent& extent) {
    OrderedJson out{
        {"dpa", extent.range.dpa}, {"len", extent.range.length}, {"state", extent.state}};
    if (extent.use) out["use"] = name_of(*extent.use);
    if (extent.node) out["node"] = *extent.node;
    out["dax"] = extent.dax;
    out["error"] = extent.error;
    if (extent.used) out["used"] = *extent.used;
    out["held"] = array(extent.held, [](const ReportedExtent::Holder& holder) -> OrderedJson {
        return {{"pid", holder.pid}, {"comm", holder.comm}, {"bytes", holder.bytes}};
    });
    out["held_kernel"] = extent.held_kernel;
    return out;
}

OrderedJson json_of(const ReportedDevice& device) {
    return {{"serial", device.serial},
            {"region_base", device.region_base},
            {"region_len", device.region_len},
            {"hpa", device.hpa},
            {"state", device.state},
            {"extents",
             array(device.extents, [](const ReportedExtent& extent) { return json_of(extent); })}};
}

}  // namespace

bool settled(GrantState state) {
    using enum GrantState;
    switch (state) {
        case active:
        case gone:
        case failed:
        case stuck:
            return true;
        case pending:
        case offering:
        case offered:
        case draining:
        case scrubbing:
            return false;
    }
    return false;
}

std::string encode(const FabricInfo& fabric) {
    return text_of({{"name", fabric.name},
                    {"backend", fabric.backend},
                    {"devices", array(fabric.view.devices,
                                      [](const DeviceView& device) { return json_of(device); })},
                    {"hosts", names(fabric.view.hosts)}});
}

std::string encode(const HostView& host) { return text_of(json_of(host)); }
std::string encode(const std::vector<HostView>& hosts) {
    return text_of(array(hosts, [](const HostView& host) { return json_of(host); }));
}
std::string encode(const GrantView& grant) { return text_of(json_of(grant)); }
std::string encode(const std::vector<GrantView>& grants) {
    return text_of(array(grants, [](const GrantView& grant) { return json_of(grant); }));
}
std::string encode(const Plan& plan) { return text_of(json_of(plan)); }
std::string encode(const DoctorView& doctor) { return text_of(json_of(doctor)); }
std::string encode(const std::vector<EventView>& events) {
    return text_of(array(events, [](const EventView& event) { return json_of(event); }));
}
std::string encode_line(const EventView& event) {
    return json_of(event).dump(-1, ' ', true, OrderedJson::error_handler_t::replace);
}

std::string encode(const Desired& desired) {
    return text_of(
        {{"rev", desired.rev}, {"extents", array(desired.extents, [](const DesiredExtent& extent) {
                                    return json_of(extent);
                                })}});
}

std::string encode(const ReplyBody& reply) {
    return std::visit([](const auto& body) { return text_of(json_of(body)); }, reply);
}

std::string encode(const Error& error) {
    return text_of(
        {{"error", OrderedJson{{"code", name_of(error.code)}, {"message", error.message}}}});
}

std::string encode_rev(std::uint64_t rev) { return text_of({{"rev", rev}}); }

std::string encode(const CreateGrant& create) {
    OrderedJson out = OrderedJson::object();
    if (create.name) out["name"] = create.name->text;
    out["hosts"] = names(create.hosts);
    out["size"] = create.size;
    out["use"] = name_of(create.use);
    out["dry_run"] = create.mode == Mode::dry_run;
    return text_of(out);
}

std::string encode(const HostReport& report) {
    return text_of(
        {{"boot", report.boot},
         {"driver", report.driver},
         {"seq", report.seq},
         {"memory_block", report.memory_block},
         {"poold", report.poold_version},
         {"driver_state", report.driver_state},
         {"driver_error", report.driver_error},
         {"online_policy", report.online_policy},
         {"devices",
          array(report.devices, [](const ReportedDevice& device) { return json_of(device); })},
         {"pressure", OrderedJson{{"some_avg10", report.pressure_some_avg10}}},
         {"nodes", array(report.nodes, [](const ReportedNode& node) -> OrderedJson {
              return {{"node", node.node}, {"total", node.total}, {"free", node.free}};
          })}});
}

std::string pretty(std::string_view text) {
    const OrderedJson json = OrderedJson::parse(text, nullptr, false);
    if (json.is_discarded()) return std::string(text);
    return json.dump(2, ' ', true, OrderedJson::error_handler_t::replace);
}

std::string format_time(std::int64_t time_us) {
    const std::int64_t us = ((time_us % 1'000'000) + 1'000'000) % 1'000'000;
    const std::time_t seconds = (time_us - us) / 1'000'000;
    std::tm parts{};
    gmtime_r(&seconds, &parts);
    return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}Z", parts.tm_year + 1900,
                       parts.tm_mon + 1, parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec,
                       us);
}

}  // namespace cxlpool::wire
