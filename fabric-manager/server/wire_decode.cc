// SPDX-License-Identifier: Apache-2.0
// JSON → values. Each reader is the list of its fields; json/strict_object.h keeps the first thing wrong.
#include <fmt/format.h>

#include <algorithm>
#include <climits>
#include <ctime>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "core/describe.h"
#include "json/strict_object.h"
#include "server/wire.h"

namespace cxlpool::wire {
namespace {

using Json = nlohmann::json;

enum class Unknown { refused, skipped };  // keys that nobody asked for

// Text → JSON, or a sentence. nlohmann keeps the last of two equal keys and nests without limit: both are
// refused here, where every key passes by.
Result<Json> parse(std::string_view text) {
    if (text.empty()) return fail(Code::invalid, "the body is empty; a JSON object is expected");
    std::vector<std::set<std::string>> open_objects;
    std::string wrong;
    const auto note = [&wrong](std::string sentence) {
        if (wrong.empty()) wrong = std::move(sentence);
    };
    const auto watch = [&](int depth, Json::parse_event_t event, Json& value) {
        using Event = Json::parse_event_t;
        if (depth > most_depth) {
            note(fmt::format("the JSON nests deeper than {} levels", most_depth));
            return false;
        }
        if (event == Event::object_start) open_objects.emplace_back();
        if (event == Event::object_end) open_objects.pop_back();
        if (event == Event::key) {
            const auto& name = value.get_ref<const std::string&>();
            if (!open_objects.back().insert(name).second) note(fmt::format("{} is there twice", name));
        }
        if (event == Event::value && value.is_string() &&
            value.get_ref<const std::string&>().size() > most_text_bytes)
            note(fmt::format("a string is longer than {} bytes", most_text_bytes));
        if (event == Event::array_end && value.size() > most_list_entries)
            note(fmt::format("an array has more than {} entries", most_list_entries));
        return true;
    };
    try {
        Json json = Json::parse(text, watch);
        if (!wrong.empty()) return fail(Code::invalid, wrong);
        return json;
    } catch (const Json::parse_error& error) {
        return fail(Code::invalid, fmt::format("malformed JSON near byte {}", error.byte));
    }
}

// An object whose reader is finished when it goes out of scope of read(): see decode().
class Object : public StrictObject {
  public:
    using StrictObject::read;
    using StrictObject::read_if_there;
    using StrictObject::StrictObject;

    std::string text(const char* key) {
        std::string out;
        read(key, out);
        return out;
    }
    std::string text_if_there(const char* key) {
        std::string out;
        read_if_there(key, out);
        return out;
    }
    std::uint64_t number(const char* key) {
        std::uint64_t out = 0;
        read(key, out);
        return out;
    }
    bool flag_if_there(const char* key) {
        bool out = false;
        read_if_there(key, out);
        return out;
    }

    template <class Tag>
    void read(const char* key, Name<Tag>& out) {
        read(key, out.text);
    }

    // A whole number that fits an int.
    void read(const char* key, int& out) {
        std::int64_t wide = 0;
        StrictObject::read(key, wide);
        if (wide < INT_MIN || wide > INT_MAX) return report(path_to(key), "is out of range");
        out = static_cast<int>(wide);
    }

    template <class T>
    void read(const char* key, std::optional<T>& out) {
        T value{};
        if (is_there(key)) {
            read(key, value);
            out = value;
        }
    }

    // One word of an enum, by the parser of core.
    template <class T>
    void read_word(const char* key, T& out, Result<T> (*parse_word)(std::string_view)) {
        std::string word;
        read(key, word);
        const Result<T> parsed = parse_word(word);
        if (parsed)
            out = *parsed;
        else
            report(path_to(key), "is wrong: " + parsed.error().message);
    }

    // DPA and length of a range: not empty, and its end is a number too.
    Range range() {
        const Range out{number("dpa"), number("len")};
        if (out.length > UINT64_MAX - out.dpa) report(path_to("len"), "ends beyond 16 EiB");
        return out;
    }
};

std::vector<std::string> texts(Object& object, const char* key) {
    std::vector<std::string> out;
    object.read_array(key, [&](const Json& entry, const std::string& path) {
        if (!entry.is_string()) return object.report(path, "is not a string");
        out.push_back(entry.get<std::string>());
    });
    return out;
}

std::vector<HostName> hosts_of(Object& object, const char* key) {
    std::vector<HostName> out;
    for (std::string& name : texts(object, key)) out.emplace_back(std::move(name));
    return out;
}

// Everything an object reader needs to open the objects below it.
struct Context {
    std::string& error;
    Unknown unknown;
};

template <class T>
T read_object(const Json& json, std::string path, Context context,
              void (*read)(Object&, T&, Context)) {
    T out{};
    Object object(json, std::move(path), context.error);
    read(object, out, context);
    if (context.unknown == Unknown::refused) object.finish();
    return out;
}

template <class T>
std::vector<T> read_list(Object& object, const char* key, Context context,
                         void (*read)(Object&, T&, Context)) {
    std::vector<T> out;
    object.read_array(key, [&](const Json& entry, const std::string& path) {
        out.push_back(read_object(entry, path, context, read));
    });
    return out;
}

template <class T>
Result<T> decode(std::string_view text, Unknown unknown, void (*read)(Object&, T&, Context)) {
    const auto json = parse(text);
    if (!json) return std::unexpected(json.error());
    std::string error;
    T out = read_object(*json, "", Context{error, unknown}, read);
    if (!error.empty()) return fail(Code::invalid, error);
    return out;
}

template <class T>
Result<std::vector<T>> decode_list(std::string_view text, void (*read)(Object&, T&, Context)) {
    const auto json = parse(text);
    if (!json) return std::unexpected(json.error());
    if (!json->is_array()) return fail(Code::invalid, "the text is not a JSON array");
    std::string error;
    std::vector<T> out;
    for (std::size_t i = 0; i < json->size(); ++i)
        out.push_back(read_object((*json)[i], fmt::format("[{}]", i),
                                  Context{error, Unknown::skipped}, read));
    if (!error.empty()) return fail(Code::invalid, error);
    return out;
}

// ---- requests -------------------------------------------------------------------------------------

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
            report.pressure_some_avg10 =
                read_object(json, path, context, read_pressure).some_avg10;
        });
    if (object.is_there("nodes")) report.nodes = read_list(object, "nodes", context, read_node);
}

// ---- answers --------------------------------------------------------------------------------------

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
    object.read("node", out.node);
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

Result<CreateGrant> decode_create(std::string_view body) {
    return decode(body, Unknown::refused, read_create);
}

Result<ReportMessage> decode_report(const HostName& from, std::string_view body) {
    auto message = decode(body, Unknown::refused, read_report);
    if (message) message->report.host = from;
    return message;
}

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
    const int fields = std::sscanf(copy.c_str(), "%4d-%2d-%2dT%2d:%2d:%2d.%6dZ%n", &parts.tm_year,
                                   &parts.tm_mon, &parts.tm_mday, &parts.tm_hour, &parts.tm_min,
                                   &parts.tm_sec, &us, &end);
    if (fields != 7 || static_cast<std::size_t>(end) != text.size())
        return fail(Code::invalid, "a time looks like 2026-11-22T08:13:17.123456Z");
    parts.tm_year -= 1900;
    parts.tm_mon -= 1;
    return static_cast<std::int64_t>(timegm(&parts)) * 1'000'000 + us;
}

}  // namespace cxlpool::wire
