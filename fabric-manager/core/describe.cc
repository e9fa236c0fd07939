// SPDX-License-Identifier: Apache-2.0
#include "core/describe.h"

#include <fmt/format.h>

#include <array>
#include <utility>

namespace cxlpool {
namespace {

struct CodeRow {
    Code code;
    std::string_view name;
    int http;
    int exit;
};
constexpr std::array<CodeRow, 9> codes{{{Code::invalid, "invalid", 400, 1},
                                        {Code::not_found, "not_found", 404, 1},
                                        {Code::conflict, "conflict", 409, 1},
                                        {Code::no_space, "no_space", 409, 1},
                                        {Code::not_ready, "not_ready", 409, 1},
                                        {Code::denied, "denied", 403, 1},
                                        {Code::fabric, "fabric", 502, 3},
                                        {Code::timeout, "timeout", 504, 4},
                                        {Code::storage, "storage", 500, 3}}};

const CodeRow& row(Code code) {
    for (const CodeRow& r : codes)
        if (r.code == code) return r;
    CXLPOOL_CHECK(false);
}

template <class Enum, std::size_t N>
using Names = std::array<std::pair<Enum, std::string_view>, N>;

constexpr Names<Use, 2> uses{{{Use::ram, "ram"}, {Use::dax, "dax"}}};
constexpr Names<Presence, 4> presences{{{Presence::unknown, "unknown"},
                                        {Presence::none, "none"},
                                        {Presence::pending, "pending"},
                                        {Presence::accepted, "accepted"}}};
constexpr Names<GrantState, 9> grant_states{{{GrantState::pending, "pending"},
                                             {GrantState::offering, "offering"},
                                             {GrantState::offered, "offered"},
                                             {GrantState::active, "active"},
                                             {GrantState::draining, "draining"},
                                             {GrantState::scrubbing, "scrubbing"},
                                             {GrantState::gone, "gone"},
                                             {GrantState::failed, "failed"},
                                             {GrantState::stuck, "stuck"}}};
constexpr Names<HostState, 5> host_states{{{HostState::ready, "ready"},
                                           {HostState::no_driver, "no-driver"},
                                           {HostState::silent, "silent"},
                                           {HostState::absent, "absent"},
                                           {HostState::fenced, "fenced"}}};

template <class Enum, std::size_t N>
std::string_view find_name(const Names<Enum, N>& names, Enum value) {
    for (const auto& [v, name] : names)
        if (v == value) return name;
    CXLPOOL_CHECK(false);
}

template <class Enum, std::size_t N>
Result<Enum> find_value(const Names<Enum, N>& names, std::string_view text, std::string_view what) {
    std::string known;
    for (const auto& [value, name] : names) {
        if (name == text) return value;
        known += (known.empty() ? "" : ", ") + std::string(name);
    }
    return fail(Code::invalid,
                fmt::format("\"{}\" is not a {}: it is one of {}", text, what, known));
}

std::string join(const std::vector<Range>& ranges) {
    std::string text;
    for (const Range& range : ranges) text += (text.empty() ? "" : " ") + describe(range);
    return text;
}

std::string join(const std::vector<Extent>& extents) {
    std::string text;
    for (const Extent& extent : extents) text += (text.empty() ? "" : " ") + describe(extent);
    return text;
}

std::string join(const std::vector<HostName>& hosts) {
    std::string text;
    for (const HostName& host : hosts) text += (text.empty() ? "" : ",") + host.text;
    return text;
}

template <class... Fs>
struct Overload : Fs... {
    using Fs::operator()...;
};

std::string leg_text(std::string_view what, GrantId id, const HostName& host,
                     const DeviceName& device) {
    return fmt::format("{} #{} {} {}", what, id.value, host.text, device.text);
}

std::string describe(const Answer& answer) {
    return std::visit(Overload{[](std::monostate) -> std::string { return "ok"; },
                               [](const std::vector<Presence>& all) {
                                   std::string text;
                                   for (const Presence p : all)
                                       text += (text.empty() ? "" : " ") + std::string(name_of(p));
                                   return text;
                               },
                               [](const ScrubReceipt& receipt) {
                                   return fmt::format("read back {}",
                                                      describe_size(receipt.bytes_read));
                               }},
                      answer);
}

std::string describe_report(const HostReport& report) {
    std::string text = fmt::format("report {} boot {} seq {} driver {}", report.host.text,
                                   report.boot, report.seq, report.driver_state);
    for (const ReportedDevice& device : report.devices)
        for (const ReportedExtent& extent : device.extents) {
            text += fmt::format(" {:#x}{} {}", device.serial, describe(extent.range), extent.state);
            if (extent.use) text += fmt::format("/{}", name_of(*extent.use));
            if (extent.node) text += fmt::format("/node{}", *extent.node);
            if (!extent.dax.empty()) text += "/" + extent.dax;
        }
    return text;
}

}  // namespace

std::string_view name_of(Code code) { return row(code).name; }
int http_status(Code code) { return row(code).http; }
int exit_code(Code code) { return row(code).exit; }
std::string_view name_of(Use use) { return find_name(uses, use); }
std::string_view name_of(Presence presence) { return find_name(presences, presence); }
std::string_view name_of(GrantState state) { return find_name(grant_states, state); }
std::string_view name_of(HostState state) { return find_name(host_states, state); }

Result<Code> parse_code(std::string_view text) {
    for (const CodeRow& r : codes)
        if (r.name == text) return r.code;
    return fail(Code::invalid, fmt::format("\"{}\" is not an error code", text));
}
Result<Use> parse_use(std::string_view text) { return find_value(uses, text, "use"); }
Result<GrantState> parse_grant_state(std::string_view text) {
    return find_value(grant_states, text, "state of a grant");
}

std::string describe(const Record& record) {
    const std::string body = std::visit(
        Overload{
            [](const DeviceAdopted& r) {
                return fmt::format("device-adopted {} serial {:#x} {} block {} {}", r.device.text,
                                   r.serial, short_size(r.size), short_size(r.block), r.identity);
            },
            [](const HostSeen& r) {
                return fmt::format("host-seen {} {}", r.host.text, r.instance);
            },
            [](const HostDead& r) {
                return fmt::format("host-dead {} {}", r.host.text, r.instance);
            },
            [](const FenceStarted& r) {
                return fmt::format("fence-started {} {}", r.host.text, r.instance);
            },
            [](const GrantCreated& r) {
                return fmt::format("grant-created #{} {} {} {} {}", r.id.value, r.name.text,
                                   join(r.hosts), name_of(r.use), join(r.extents));
            },
            [](const OfferStarted& r) { return leg_text("offer-started", r.id, r.host, r.device); },
            [](const OfferTaken& r) { return leg_text("offer-taken", r.id, r.host, r.device); },
            [](const OfferAccepted& r) {
                return leg_text("offer-accepted", r.id, r.host, r.device);
            },
            [](const GrantActive& r) { return fmt::format("grant-active #{}", r.id.value); },
            [](const GrantReleased& r) { return fmt::format("grant-released #{}", r.id.value); },
            [](const ReturnStarted& r) {
                return leg_text("return-started", r.id, r.host, r.device);
            },
            [](const Returned& r) { return leg_text("returned", r.id, r.host, r.device); },
            [](const GrantFailed& r) {
                return fmt::format("grant-failed #{}: {}", r.id.value, r.reason);
            },
            [](const GrantGone& r) { return fmt::format("grant-gone #{}", r.id.value); },
            [](const ScrubStarted& r) {
                return fmt::format("scrub-started {}", describe(r.extent));
            },
            [](const ScrubDone& r) {
                return fmt::format("scrub-done {} read back {}", describe(r.extent),
                                   describe_size(r.bytes_read));
            },
            [](const ForeignSeen& r) {
                return fmt::format("foreign-seen {} {}", r.host.text, describe(r.extent));
            }},
        record.body);
    return fmt::format("{} {}", record.seq.value, body);
}

std::string describe(const Command& command) {
    const auto at = [](std::string_view what, const auto& c, const std::vector<Range>& ranges) {
        return fmt::format("{} {} {} {}", what, c.host.text, c.device.text, join(ranges));
    };
    const std::string body = std::visit(
        Overload{
            [&](const AddCapacity& c) { return at("add", c, c.extents); },
            [&](const ReleaseCapacity& c) { return at("release", c, c.extents); },
            [&](const AskPresence& c) { return at("ask", c, c.ranges); },
            [](const Scrub& c) { return "scrub " + describe(c.extent); },
            [](const Fence& c) { return fmt::format("fence {} {}", c.host.text, c.instance); }},
        command.body);
    return fmt::format("op {} {}", command.op.value, body);
}

std::string describe(const Reply& reply) {
    std::string body;
    if (!reply.result)
        body =
            fmt::format("{}: {}", name_of(reply.result.error().code), reply.result.error().message);
    else
        body = std::visit(
            Overload{[](const GrantView& v) {
                         return fmt::format("grant {} {} {}", v.name.text, name_of(v.state),
                                            join(v.extents));
                     },
                     [](const HostView& v) {
                         return fmt::format("host {} {}", v.name.text, v.state_text);
                     },
                     [](const Plan& v) {
                         std::string steps;
                         for (const auto& step : v.steps) steps += "; " + step;
                         return "plan" + steps;
                     },
                     [](const DoctorView& v) {
                         std::string rows;
                         for (const DoctorRow& r : v.rows)
                             rows +=
                                 fmt::format("; {} {} {} | {} | {} | {} | {}{}", describe(r.extent),
                                             r.grant, r.host, r.journal, r.device, r.driver, r.node,
                                             r.ok ? "" : " ! " + r.note);
                         return fmt::format("doctor {}{}", v.ok ? "ok" : "differs", rows);
                     }},
            *reply.result);
    return fmt::format("ticket {} {}", reply.ticket.value, body);
}

std::string describe(const Input& input) {
    return std::visit(
        Overload{
            [](const Submit& s) -> std::string {
                return std::visit(
                    Overload{
                        [&](const CreateGrant& c) {
                            return fmt::format("submit {} create {} {} {} {}", s.ticket.value,
                                               c.name ? c.name->text : "-", join(c.hosts),
                                               short_size(c.size), name_of(c.use));
                        },
                        [&](const ReleaseGrant& r) {
                            return fmt::format("submit {} release {}", s.ticket.value, r.name.text);
                        },
                        [&](const FenceHost& f) {
                            return fmt::format("submit {} fence {}", s.ticket.value, f.host.text);
                        },
                        [&](const DoctorScan&) {
                            return fmt::format("submit {} doctor", s.ticket.value);
                        }},
                    s.intent);
            },
            [](const Completion& c) {
                return fmt::format(
                    "complete op {} {}", c.op.value,
                    c.result ? describe(*c.result) : "failed: " + c.result.error().message);
            },
            [](const HostUp& h) { return fmt::format("up {} {}", h.host.text, h.instance); },
            [](const HostDied& h) { return fmt::format("died {} {}", h.host.text, h.instance); },
            [](const HostUnreachable& h) {
                return fmt::format("unreachable {}: {}", h.host.text, h.why);
            },
            [](const HostReset& h) { return fmt::format("reset {}", h.host.text); },
            [](const HostReport& r) { return describe_report(r); },
            [](const Tick&) -> std::string { return "tick"; },
            [](const Durable& d) { return fmt::format("durable {}", d.seq.value); }},
        input);
}

std::string describe(const Output& output) {
    std::string text;
    const auto line = [&](std::string_view kind, const std::string& body) {
        text += fmt::format("{}{} {}", text.empty() ? "" : "\n", kind, body);
    };
    for (const Record& record : output.records) line("record", describe(record));
    for (const Command& command : output.commands) line("command", describe(command));
    for (const Reply& reply : output.replies) line("reply", describe(reply));
    for (const Event& event : output.events)
        line("event", fmt::format("{}: {}", event.kind, event.text));
    return text;
}

std::string sentence(const Record& record, const Pool& pool) {
    const auto grant = [&](GrantId id) {
        const auto found = pool.grants.find(id);
        return found == pool.grants.end() ? fmt::format("grant #{}", id.value)
                                          : found->second.name.text;
    };
    return std::visit(
        Overload{[](const DeviceAdopted& r) {
                     return fmt::format(
                         "{} ({}) was taken into the pool; all of it will be scrubbed",
                         r.device.text, describe_size(r.size));
                 },
                 [](const HostSeen& r) {
                     return fmt::format("the machine of {} was seen ({})", r.host.text, r.instance);
                 },
                 [](const HostDead& r) {
                     return fmt::format("the machine of {} ended ({})", r.host.text, r.instance);
                 },
                 [](const FenceStarted& r) {
                     return fmt::format("{} is to be fenced ({})", r.host.text, r.instance);
                 },
                 [](const GrantCreated& r) {
                     return fmt::format("{} was created for {}: {} as {}", r.name.text,
                                        join(r.hosts), join(r.extents), name_of(r.use));
                 },
                 [&](const OfferStarted& r) {
                     return fmt::format("{}: the offer to {} on {} starts", grant(r.id),
                                        r.host.text, r.device.text);
                 },
                 [&](const OfferTaken& r) {
                     return fmt::format("{}: {} has the offer to {}", grant(r.id), r.device.text,
                                        r.host.text);
                 },
                 [&](const OfferAccepted& r) {
                     return fmt::format("{}: {} accepted it on {}", grant(r.id), r.host.text,
                                        r.device.text);
                 },
                 [&](const GrantActive& r) { return fmt::format("{} is active", grant(r.id)); },
                 [&](const GrantReleased& r) {
                     return fmt::format("{} is to be given back", grant(r.id));
                 },
                 [&](const ReturnStarted& r) {
                     return fmt::format("{}: {} is asked to return it on {}", grant(r.id),
                                        r.host.text, r.device.text);
                 },
                 [&](const Returned& r) {
                     return fmt::format("{}: {} can no longer reach it on {}", grant(r.id),
                                        r.host.text, r.device.text);
                 },
                 [&](const GrantFailed& r) {
                     return fmt::format("{} failed: {}", grant(r.id), r.reason);
                 },
                 [&](const GrantGone& r) { return fmt::format("{} is gone", grant(r.id)); },
                 [](const ScrubStarted& r) {
                     return fmt::format("the scrub of {} starts", describe(r.extent));
                 },
                 [](const ScrubDone& r) {
                     return fmt::format("{} is scrubbed: {} read back as zeros", describe(r.extent),
                                        describe_size(r.bytes_read));
                 },
                 [](const ForeignSeen& r) {
                     return fmt::format("{} had {} without a grant: it is no longer clean",
                                        r.host.text, describe(r.extent));
                 }},
        record.body);
}

}  // namespace cxlpool
