// SPDX-License-Identifier: Apache-2.0
#include "fmctl/render.h"

#include <fmt/format.h>

#include <algorithm>
#include <ctime>

#include "core/describe.h"
#include "server/log.h"

namespace cxlpool::fmctl {
namespace {

using Rows = std::vector<std::vector<std::string>>;

// Characters, not bytes: the continuation bytes of UTF-8 take no column.
std::size_t width(const std::string& text) {
    return static_cast<std::size_t>(std::ranges::count_if(
        text, [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

std::string or_dash(std::string text) { return text.empty() ? "-" : printable(text); }

template <class List>
std::string joined(const List& list) {
    std::vector<std::string> names;
    for (const auto& entry : list) names.push_back(printable(entry.text));
    return names.empty() ? "-" : fmt::format("{}", fmt::join(names, ","));
}

template <class T, class Describe>
std::string if_known(const std::optional<T>& value, Describe describe_value) {
    return value ? describe_value(*value) : "-";
}

// "  name      value" lines under a heading.
std::string fields(const Rows& rows) {
    std::string out;
    for (const auto& row : rows) out += fmt::format("{:<13}{}\n", row[0], row[1]);
    return out;
}

std::string seen_on(const SeenOn& seen, Use use) {
    const std::string host = printable(seen.host.text);
    std::string out;
    const auto add = [&](const std::string& name) {
        out += fmt::format("{}{}:{}", out.empty() ? "" : ",", host, name);
    };
    if (use == Use::ram)
        for (const int node : seen.nodes) add(fmt::format("node{}", node));
    else
        for (const std::string& dax : seen.dax) add(printable(dax));
    return out.empty() ? host : out;
}

std::string state_of(const GrantView& grant) { return std::string(name_of(grant.state)); }

}  // namespace

std::string table(const Rows& rows) {
    std::vector<std::size_t> widths;
    for (const auto& row : rows)
        for (std::size_t i = 0; i < row.size(); ++i) {
            if (i == widths.size()) widths.push_back(0);
            widths[i] = std::max(widths[i], width(row[i]));
        }
    std::string out;
    for (const auto& row : rows) {
        std::string text;
        for (std::size_t i = 0; i < row.size(); ++i) {
            text += row[i];
            if (i + 1 < row.size()) text += std::string(widths[i] - width(row[i]) + 2, ' ');
        }
        out += text.substr(0, text.find_last_not_of(' ') + 1) + "\n";
    }
    return out;
}

std::string where_seen(const GrantView& grant) {
    std::vector<std::string> places;
    for (const HostName& host : grant.hosts) {
        const auto seen = std::ranges::find(grant.seen, host, &SeenOn::host);
        places.push_back(seen == grant.seen.end() ? printable(host.text)
                                                  : seen_on(*seen, grant.use));
    }
    return fmt::format("{}", fmt::join(places, ","));
}

std::string extents(const std::vector<Extent>& list) {
    std::vector<std::string> texts;
    for (const Extent& extent : list) texts.push_back(printable(describe(extent)));
    return texts.empty() ? "-" : fmt::format("{}", fmt::join(texts, ","));
}

std::string milliseconds(double ms) {
    return ms < 10 ? fmt::format("{:.1f} ms", ms) : fmt::format("{:.0f} ms", ms);
}

std::string ago(Millis ms) {
    if (ms < 1000) return "now";
    if (ms < 120'000) return fmt::format("{} s ago", ms / 1000);
    return fmt::format("{} min ago", ms / 60'000);
}

std::string local_time(std::int64_t time_us) {
    const std::time_t seconds = time_us / 1'000'000;
    std::tm parts{};
    localtime_r(&seconds, &parts);
    return fmt::format("{:04}-{:02}-{:02} {:02}:{:02}:{:02}.{:03}", parts.tm_year + 1900,
                       parts.tm_mon + 1, parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec,
                       time_us % 1'000'000 / 1000);
}

std::string line(const GrantView& grant) {
    std::string out =
        fmt::format("{}  {}  {}  {}  {}", printable(grant.name.text), state_of(grant),
                    describe_size(grant.size), where_seen(grant), extents(grant.extents));
    if (grant.latency_ms) out += "  " + milliseconds(*grant.latency_ms);
    return out;
}

std::string describe_grant(const GrantView& grant) {
    Rows rows{{"grant", printable(grant.name.text)},
              {"state", state_of(grant)},
              {"hosts", joined(grant.hosts)},
              {"use", std::string(name_of(grant.use))},
              {"size", describe_size(grant.size)},
              {"extents", extents(grant.extents)},
              {"seen as", grant.seen.empty() ? "-" : where_seen(grant)}};
    if (!grant.reason.empty()) rows.push_back({"reason", printable(grant.reason)});
    rows.push_back({"waits for", grant.waits_for.empty() ? "nothing" : printable(grant.waits_for)});
    if (grant.latency_ms) rows.push_back({"active after", milliseconds(*grant.latency_ms)});
    std::string out = fields(rows);
    if (grant.timeline.empty()) return out;
    out += "timeline\n";
    double before = 0;
    for (const TimelineEntry& entry : grant.timeline) {
        out += fmt::format("  {:>10.1f} ms  {:>+10.1f}  {}\n", entry.ms, entry.ms - before,
                           printable(entry.what));
        before = entry.ms;
    }
    return out;
}

std::string describe_host(const HostView& host) {
    return fields(
        {{"host", printable(host.name.text)},
         {"state", or_dash(host.state_text)},
         {"granted", describe_size(host.granted)},
         {"used", if_known(host.used, describe_size)},
         {"pressure", if_known(host.pressure, [](double p) { return fmt::format("{:.1f}", p); })},
         {"memory block", if_known(host.memory_block, describe_size)},
         {"last seen", if_known(host.last_seen_ms, ago)},
         {"boot", or_dash(host.boot)},
         {"driver", or_dash(host.driver)}});
}

std::string describe_plan(const Plan& plan) {
    std::string out;
    if (!plan.extents.empty())
        out += fmt::format("{}  {}\n", printable(plan.grant.text), extents(plan.extents));
    for (std::size_t i = 0; i < plan.steps.size(); ++i)
        out += fmt::format("{}. {}\n", i + 1, printable(plan.steps[i]));
    return out + "nothing was changed\n";
}

std::string grant_table(const std::vector<GrantView>& grants) {
    Rows rows{{"NAME", "STATE", "SIZE", "USE", "HOSTS", "EXTENTS", "WAITS FOR"}};
    for (const GrantView& grant : grants)
        rows.push_back({printable(grant.name.text), state_of(grant), describe_size(grant.size),
                        std::string(name_of(grant.use)), where_seen(grant), extents(grant.extents),
                        printable(grant.waits_for)});
    return table(rows);
}

std::string host_table(const std::vector<HostView>& hosts) {
    Rows rows{{"HOST", "STATE", "GRANTED", "USED", "PRESSURE", "MEMORY BLOCK"}};
    for (const HostView& host : hosts)
        rows.push_back({printable(host.name.text), or_dash(host.state_text),
                        describe_size(host.granted), if_known(host.used, describe_size),
                        if_known(host.pressure, [](double p) { return fmt::format("{:.1f}", p); }),
                        if_known(host.memory_block, describe_size)});
    return table(rows);
}

std::string fabric_text(const wire::FabricInfo& fabric) {
    std::string out =
        fmt::format("{}, backend {}\n", printable(fabric.name), printable(fabric.backend));
    Rows rows{{"DEVICE", "SERIAL", "SIZE", "GRANTED", "FREE", "TO SCRUB", "DC BLOCK", "HOSTS", ""}};
    for (const DeviceView& device : fabric.view.devices)
        rows.push_back({printable(device.name.text), fmt::format("{:#x}", device.serial),
                        describe_size(device.size), describe_size(device.granted),
                        describe_size(device.free), describe_size(device.dirty),
                        describe_size(device.block), joined(device.hosts), printable(device.note)});
    return out + table(rows);
}

std::string doctor_table(const DoctorView& doctor) {
    Rows rows{{"EXTENT", "GRANT", "HOST", "JOURNAL", "DEVICE", "DRIVER", "NODE", ""}};
    std::size_t wrong = 0;
    for (const DoctorRow& row : doctor.rows) {
        if (!row.ok) ++wrong;
        rows.push_back(
            {printable(describe(row.extent)), or_dash(row.grant), or_dash(row.host),
             or_dash(row.journal), or_dash(row.device), or_dash(row.driver), or_dash(row.node),
             row.ok ? "ok" : "DIFFERS" + (row.note.empty() ? "" : ": " + printable(row.note))});
    }
    const std::string verdict =
        doctor.ok ? fmt::format("{} extents, all agree\n", doctor.rows.size())
                  : fmt::format("{} of {} extents differ\n", wrong, doctor.rows.size());
    return (doctor.rows.empty() ? "" : table(rows)) + verdict;
}

std::string event_line(const wire::EventView& event) {
    return fmt::format("{}  {}\n", local_time(event.time_us), printable(event.text));
}

}  // namespace cxlpool::fmctl
