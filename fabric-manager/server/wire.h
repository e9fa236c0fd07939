// SPDX-License-Identifier: Apache-2.0
// The JSON of both APIs (docs/API.md), and the only place that knows it: values → text for answers,
// text → intents and reports for requests, and text → values for fmctl, which reads what fmd wrote.
// Requests are read strictly: malformed text, a key missing, unknown or twice, a wrong type and a
// number out of range are each an Error that names the key ("extents[0].dpa is not a whole number
// of 0 or more"). Answers are read by an fmctl that may be older than fmd: keys that it does not
// know are skipped.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/command.h"
#include "core/intent.h"
#include "core/result.h"
#include "core/view.h"

namespace cxlpool::wire {

// Limits on what is taken from outside.
inline constexpr std::size_t most_body_bytes = 1 << 20;
inline constexpr std::size_t most_text_bytes = 4096;     // of one string
inline constexpr std::size_t most_list_entries = 65536;  // of one array
inline constexpr int most_depth = 16;                    // of nested arrays and objects

// What `fabric show` shows.
struct FabricInfo {
    std::string name;     // of the fabric file, or of the simulated rack
    std::string backend;  // "sim" or "qmp"
    FabricView view;
};

// One line of `event list`: a record of the journal, or something that happened beside it.
struct EventView {
    std::uint64_t seq = 0;  // rises by one within one life of fmd
    std::int64_t time_us = 0;
    std::string kind;   // "grant-created", …, "warning", "host", "foreign"
    std::string host;   // or empty
    std::string grant;  // or empty
    std::string text;   // a sentence
    friend bool operator==(const EventView&, const EventView&) = default;
};

// Whether a wait for the grant is over: nothing more will happen soon and by itself.
bool settled(GrantState state);

// ---- what fmd writes ----

std::string encode(const FabricInfo& fabric);
std::string encode(const HostView& host);
std::string encode(const std::vector<HostView>& hosts);
std::string encode(const GrantView& grant);
std::string encode(const std::vector<GrantView>& grants);
std::string encode(const Plan& plan);
std::string encode(const DoctorView& doctor);
std::string encode(const std::vector<EventView>& events);
std::string encode_line(const EventView& event);  // one of them, in ASCII
std::string encode(const Desired& desired);
std::string encode(const ReplyBody& reply);
std::string encode(const Error& error);
std::string encode_rev(std::uint64_t rev);  // answer to a report

// ---- what fmd reads ----

Result<CreateGrant> decode_create(std::string_view body);

struct ReportMessage {
    HostReport report;         // .host is `from`, whatever the message says
    std::string claimed_host;  // what it says; empty when it says nothing
};
Result<ReportMessage> decode_report(const HostName& from, std::string_view body);

// ---- the other end of each: fmctl and tests ----

std::string encode(const CreateGrant& create);
std::string encode(const HostReport& report);

Result<FabricInfo> decode_fabric(std::string_view text);
Result<HostView> decode_host(std::string_view text);
Result<std::vector<HostView>> decode_hosts(std::string_view text);
Result<GrantView> decode_grant(std::string_view text);
Result<std::vector<GrantView>> decode_grants(std::string_view text);
Result<Plan> decode_plan(std::string_view text);
Result<DoctorView> decode_doctor(std::string_view text);
Result<std::vector<EventView>> decode_events(std::string_view text);
Result<Desired> decode_desired(std::string_view text);
Result<Error> decode_error(std::string_view text);
Result<std::uint64_t> decode_rev(std::string_view text);

// The same JSON, indented and in ASCII, for people and terminals.
std::string pretty(std::string_view text);

std::string format_time(std::int64_t time_us);  // "2026-11-22T08:13:17.123456Z"
Result<std::int64_t> parse_time(std::string_view text);

}  // namespace cxlpool::wire
