// SPDX-License-Identifier: Apache-2.0
// JSON → values: what fmctl (and tests) read.
#include <ctime>

#include "core/describe.h"
#include "server/wire_reader.h"

namespace cxlpool::wire {
namespace {

void read_extent(Object& object, Extent& out, Context) {
    object.read("device", out.device);
    out.range = object.range();
}

void read_device(Object& object, DeviceView& out, Context) {
    object.read("name", out.name);
    object.read("serial", out.serial);
    object.read("size", out.size);
    object.read("block", out.block);
    object.read("free", out.free);
    object.read("granted", out.granted);
    object.read("dirty", out.dirty);
    out.hosts = hosts_of(object, "hosts");
    out.note = object.text_if_there("note");
}

void read_fabric(Object& object, FabricInfo& out, Context context) {
    out.name = object.text("name");
    out.backend = object.text("backend");
    out.view.devices = read_list(object, "devices", context, read_device);
    out.view.hosts = hosts_of(object, "hosts");
}

Result<HostState> parse_host_state(std::string_view text) {
    using enum HostState;
    for (const HostState state : {ready, no_driver, silent, absent, fenced})
        if (text == name_of(state)) return state;
    return fail(Code::invalid, "this version of fmctl does not know the host state");
}

void read_host(Object& object, HostView& out, Context) {
    object.read("name", out.name);
    object.read_word("state", out.state, parse_host_state);
    out.state_text = object.text("state_text");
    object.read("granted", out.granted);
    object.read("used", out.used);
    object.read("pressure", out.pressure);
    object.read("memory_block", out.memory_block);
    object.read("last_seen_ms", out.last_seen_ms);
    out.boot = object.text_if_there("boot");
    out.driver = object.text_if_there("driver");
}

void read_seen(Object& object, SeenOn& out, Context) {
    object.read("host", out.host);
    object.read_array("nodes", [&](const Json& node, const std::string& path) {
        if (!node.is_number_integer()) return object.report(path, "is not a node's number");
        out.nodes.push_back(node.get<int>());
    });
    out.dax = texts(object, "dax");
}

void read_timeline(Object& object, TimelineEntry& out, Context) {
    out.what = object.text("what");
    object.read("ms", out.ms);
    object.read_if_there("time_us", out.time_us);
}

void read_grant(Object& object, GrantView& out, Context context) {
    object.read("name", out.name);
    object.read("id", out.id.value);
    out.hosts = hosts_of(object, "hosts");
    object.read_word("use", out.use, parse_use);
    object.read("size", out.size);
    object.read_word("state", out.state, parse_grant_state);
    out.reason = object.text("reason");
    out.waits_for = object.text("waits_for");
    out.extents = read_list(object, "extents", context, read_extent);
    out.seen = read_list(object, "seen", context, read_seen);
    out.timeline = read_list(object, "timeline", context, read_timeline);
    object.read("latency_ms", out.latency_ms);
}

void read_plan(Object& object, Plan& out, Context context) {
    object.read("grant", out.grant);
    out.extents = read_list(object, "extents", context, read_extent);
    out.steps = texts(object, "steps");
}

void read_doctor_row(Object& object, DoctorRow& out, Context) {
    object.read("device_name", out.extent.device);
    out.extent.range = object.range();
    out.grant = object.text("grant");
    out.host = object.text("host");
    out.journal = object.text("journal");
    out.device = object.text("device");
    out.driver = object.text("driver");
    out.node = object.text("node");
    object.read("ok", out.ok);
    out.note = object.text("note");
}

void read_doctor(Object& object, DoctorView& out, Context context) {
    object.read("ok", out.ok);
    out.rows = read_list(object, "rows", context, read_doctor_row);
}

void read_event(Object& object, EventView& out, Context) {
    object.read("seq", out.seq);
    object.read_word("time", out.time_us, parse_time);
    out.kind = object.text("kind");
    out.host = object.text_if_there("host");
    out.grant = object.text_if_there("grant");
    out.text = object.text("text");
}

Result<bool> parse_want(std::string_view text) {
    if (text == "plugged" || text == "unplugged") return text == "plugged";
    return fail(Code::invalid, "a want is plugged or unplugged");
}

void read_desired_extent(Object& object, DesiredExtent& out, Context) {
    object.read("serial", out.serial);
    out.range = object.range();
    object.read("grant", out.grant);
    object.read_word("use", out.use, parse_use);
    object.read_word("want", out.plugged, parse_want);
}

void read_desired(Object& object, Desired& out, Context context) {
    object.read("rev", out.rev);
    out.extents = read_list(object, "extents", context, read_desired_extent);
}

void read_error_body(Object& object, Error& out, Context) {
    // A code of a newer fmd is not worth losing its sentence for.
    out.code = parse_code(object.text("code")).value_or(Code::invalid);
    out.message = object.text("message");
}

void read_error(Object& object, Error& out, Context context) {
    object.read_value("error", [&](const Json& json, const std::string& path) {
        out = read_object(json, path, context, read_error_body);
    });
}

void read_rev(Object& object, std::uint64_t& out, Context) { object.read("rev", out); }

}  // namespace

Result<FabricInfo> decode_fabric(std::string_view text) {
    return decode(text, Unknown::skipped, read_fabric);
}
Result<HostView> decode_host(std::string_view text) {
    return decode(text, Unknown::skipped, read_host);
}
Result<std::vector<HostView>> decode_hosts(std::string_view text) {
    return decode_list(text, read_host);
}
Result<GrantView> decode_grant(std::string_view text) {
    return decode(text, Unknown::skipped, read_grant);
}
Result<std::vector<GrantView>> decode_grants(std::string_view text) {
    return decode_list(text, read_grant);
}
Result<Plan> decode_plan(std::string_view text) {
    return decode(text, Unknown::skipped, read_plan);
}
Result<DoctorView> decode_doctor(std::string_view text) {
    return decode(text, Unknown::skipped, read_doctor);
}
Result<std::vector<EventView>> decode_events(std::string_view text) {
    return decode_list(text, read_event);
}
Result<Desired> decode_desired(std::string_view text) {
    return decode(text, Unknown::skipped, read_desired);
}
Result<Error> decode_error(std::string_view text) {
    return decode(text, Unknown::skipped, read_error);
}
Result<std::uint64_t> decode_rev(std::string_view text) {
    return decode(text, Unknown::skipped, read_rev);
}

Result<std::int64_t> parse_time(std::string_view text) {
    const std::string copy(text);
    std::tm parts{};
    int us = 0, end = 0;
    const int fields =
        std::sscanf(copy.c_str(), "%4d-%2d-%2dT%2d:%2d:%2d.%6dZ%n", &parts.tm_year, &parts.tm_mon,
                    &parts.tm_mday, &parts.tm_hour, &parts.tm_min, &parts.tm_sec, &us, &end);
    if (fields != 7 || static_cast<std::size_t>(end) != text.size())
        return fail(Code::invalid, "a time looks like 2026-11-22T08:13:17.123456Z");
    parts.tm_year -= 1900;
    parts.tm_mon -= 1;
    return static_cast<std::int64_t>(timegm(&parts)) * 1'000'000 + us;
}

}  // namespace cxlpool::wire
