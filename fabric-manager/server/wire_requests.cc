// SPDX-License-Identifier: Apache-2.0
// JSON → values: what fmd reads.
#include "core/describe.h"
#include "server/wire_reader.h"

namespace cxlpool::wire {
namespace {

// A name is judged here, where its key is known; whether it exists is the manager's to say.
template <class NameType>
NameType checked_name(Object& object, const std::string& path, std::string_view what,
                      const std::string& text) {
    const auto name = parse_name(what, text);
    if (!name) object.report(path, "is wrong: " + name.error().message);
    return NameType(text);
}

void read_create(Object& object, CreateGrant& out, Context) {
    if (object.is_there("name"))
        out.name = checked_name<GrantName>(object, "name", "grant", object.text("name"));
    out.hosts = hosts_of(object, "hosts");
    for (std::size_t i = 0; i < out.hosts.size(); ++i)
        checked_name<HostName>(object, fmt::format("hosts[{}]", i), "host", out.hosts[i].text);
    object.read("size", out.size);
    if (object.is_there("use")) object.read_word("use", out.use, parse_use);
    out.mode = object.flag_if_there("dry_run") ? Mode::dry_run : Mode::real;
}

void read_holder(Object& object, ReportedExtent::Holder& out, Context) {
    object.read("pid", out.pid);
    out.comm = object.text("comm");
    object.read("bytes", out.bytes);
}

void read_reported_extent(Object& object, ReportedExtent& out, Context context) {
    out.range = object.range();
    out.state = object.text("state");
    const std::string use = object.text_if_there("use");
    if (!use.empty() && use != "-") object.read_word("use", *(out.use = Use::ram), parse_use);
    object.read("node", out.node);
    if (out.node && *out.node < 0) out.node.reset();  // the kernel's NUMA_NO_NODE
    out.dax = object.text_if_there("dax");
    if (out.dax == "-") out.dax.clear();
    out.error = object.text_if_there("error");
    object.read("used", out.used);
    if (object.is_there("held")) out.held = read_list(object, "held", context, read_holder);
    object.read_if_there("held_kernel", out.held_kernel);
}

void read_reported_device(Object& object, ReportedDevice& out, Context context) {
    object.read("serial", out.serial);
    object.read("region_base", out.region_base);
    object.read("region_len", out.region_len);
    object.read("hpa", out.hpa);
    if (object.is_there("state")) out.state = object.text_if_there("state");
    out.extents = read_list(object, "extents", context, read_reported_extent);
}

void read_node(Object& object, ReportedNode& out, Context) {
    object.read("node", out.node);
    object.read("total", out.total);
    object.read("free", out.free);
}

struct Pressure {
    double some_avg10 = 0;
};

void read_pressure(Object& object, Pressure& out, Context) {
    object.read_if_there("some_avg10", out.some_avg10);
    Bytes ignored = 0;  // of use to people who read the report on the way; not to the manager
    object.read_if_there("near_free", ignored);
    object.read_if_there("near_total", ignored);
}

void read_report(Object& object, ReportMessage& out, Context context) {
    HostReport& report = out.report;
    out.claimed_host = object.text_if_there("host");
    report.boot = object.text("boot");
    if (report.boot.empty()) object.report("boot", "is empty");
    report.driver = object.text("driver");
    object.read("seq", report.seq);
    object.read("memory_block", report.memory_block);
    report.poold_version = object.text_if_there("poold");
    report.driver_state = object.text("driver_state");
    report.driver_error = object.text_if_there("driver_error");
    report.online_policy = object.text_if_there("online_policy");
    report.devices = read_list(object, "devices", context, read_reported_device);
    if (object.is_there("pressure"))
        object.read_value("pressure", [&](const Json& json, const std::string& path) {
            report.pressure_some_avg10 = read_object(json, path, context, read_pressure).some_avg10;
        });
    if (object.is_there("nodes")) report.nodes = read_list(object, "nodes", context, read_node);
}

}  // namespace

Result<CreateGrant> decode_create(std::string_view body) {
    return decode(body, Unknown::refused, read_create);
}

Result<ReportMessage> decode_report(const HostName& from, std::string_view body) {
    auto message = decode(body, Unknown::refused, read_report);
    if (message) message->report.host = from;
    return message;
}

}  // namespace cxlpool::wire
