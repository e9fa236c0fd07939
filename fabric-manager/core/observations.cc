// SPDX-License-Identifier: Apache-2.0
// What devices and hosts say, input by input: what the manager believes then.
#include <fmt/format.h>

#include <algorithm>

#include "core/beliefs.h"
#include "core/describe.h"

namespace cxlpool {

void Manager::Impl::complete(const Completion& completion) {
    const auto found = in_flight.find(completion.op);
    if (found == in_flight.end()) return;  // repeated, or given up before
    const InFlight op = std::move(found->second);
    in_flight.erase(found);
    ++revision;
    switch (op.purpose) {
        case InFlight::Purpose::leg:
            leg_answered(op, completion);
            break;
        case InFlight::Purpose::clearance_of_leg: {
            const auto& ask = std::get<AskPresence>(op.body);
            const auto leg = legs.find({*op.grant, {op.leg_host, ask.device}});
            if (leg != legs.end()) clearance_answered(leg->second.clearance, op, completion);
            break;
        }
        case InFlight::Purpose::clearance_of_scrub: {
            const auto job = scrubs.find(std::get<AskPresence>(op.body).device);
            if (job != scrubs.end()) clearance_answered(job->second.clearance, op, completion);
            break;
        }
        case InFlight::Purpose::scrub:
            scrub_answered(op, completion);
            break;
        case InFlight::Purpose::fence: {
            const HostName& name = std::get<Fence>(op.body).host;
            hosts.at(name).fencing = false;
            if (!completion.result)
                event("warning", name, {},
                      fmt::format("{} could not be fenced: {}", name.text,
                                  completion.result.error().message));
            break;
        }
        case InFlight::Purpose::doctor:
            for (DoctorJob& job : doctors) {
                const auto ask = job.waiting.find(completion.op);
                if (ask == job.waiting.end()) continue;
                for (std::size_t i = 0; i < ask->second.ranges.size(); ++i) {
                    Presence presence = Presence::unknown;
                    if (completion.result)
                        if (const auto* all =
                                std::get_if<std::vector<Presence>>(&*completion.result);
                            all && all->size() == ask->second.ranges.size())
                            presence = (*all)[i];
                    const Extent asked{ask->second.device, ask->second.ranges[i]};
                    job.answers[{ask->second.host, asked}] = presence;
                    if (presence == Presence::accepted || presence == Presence::pending)
                        soil(ask->second.host, asked, Word::device);
                }
                job.waiting.erase(ask);
            }
            break;
    }
}

void Manager::Impl::host_up(const HostUp& up) {
    const auto found = hosts.find(up.host);
    if (found == hosts.end() || up.instance.empty()) return;
    HostBelief& host = found->second;
    host.heard = true;
    if (host.died.contains(up.instance)) return;
    ++revision;
    const bool known = alive(up.host) && pool.hosts.at(up.host).instance == up.instance;
    if (alive(up.host) && !known) {
        // The old machine may still reach its extents: nothing is done with the new one until it is
        // dead.
        host.next_instance = up.instance;
        host.reachable = false;
        warn_once(
            "host", up.host, {},
            fmt::format("{} is another machine now ({}), but the last one ({}) is not known to be "
                        "dead: it is waited for",
                        up.host.text, up.instance, pool.hosts.at(up.host).instance));
        return;
    }
    if (!known) {
        record(HostSeen{up.host, up.instance});
        host.report.reset();
        host.soils_left = HostBelief{}.soils_left;
        host.warnings_left = HostBelief{}.warnings_left;
        // What was said of the machine before may be said of this one.
        std::erase_if(said, [&](const std::string& text) {
            return text.find('\n' + up.host.text + '\n') != std::string::npos;
        });
    }
    host.reachable = true;
    host.unreachable_why.clear();
    // All is asked anew. What may lie unread in an event log lies there after a reconnection, too.
    for (auto& [key, leg] : legs) {
        if (key.second.first != up.host) continue;
        leg.presence.clear();
        if (leg.doing != Doing::nothing) continue;
        LegBelief fresh;
        fresh.return_floor = leg.return_floor;
        fresh.act = leg.act;
        leg = std::move(fresh);
    }
}

void Manager::Impl::host_died(const HostDied& died) {
    const auto found = hosts.find(died.host);
    if (found == hosts.end()) return;
    HostBelief& host = found->second;
    ++revision;
    host.died.insert(died.instance);
    if (host.next_instance == died.instance) host.next_instance.reset();
    if (!alive(died.host) || pool.hosts.at(died.host).instance != died.instance) return;
    record(HostDead{died.host, died.instance});
    event("host", died.host, {},
          fmt::format("the machine of {} ({}) ended: it can reach nothing any more", died.host.text,
                      died.instance));
    boot_ended(host);
    host.reachable = false;
    host.heard = true;
    host.unreachable_why = "its machine ended";
    host.silence = Silence::nobody_listens;
    host.fencing = false;
    std::erase_if(legs, [&](const auto& leg) { return leg.first.second.first == died.host; });
    std::erase_if(in_flight, [&](const auto& op) {
        const auto* leg = std::get_if<AddCapacity>(&op.second.body);
        const auto* back = std::get_if<ReleaseCapacity>(&op.second.body);
        return (leg && leg->host == died.host) || (back && back->host == died.host);
    });
    if (host.next_instance) {
        const std::string next = *host.next_instance;
        host.next_instance.reset();
        host_up({died.host, next});
    }
}

void Manager::Impl::host_unreachable(const HostUnreachable& lost) {
    const auto found = hosts.find(lost.host);
    if (found == hosts.end()) return;
    HostBelief& host = found->second;
    if (host.reachable)
        event("host", lost.host, {},
              fmt::format("{} cannot be reached: {}; what it holds stays its own", lost.host.text,
                          lost.why));
    host.heard = true;
    host.reachable = false;
    host.unreachable_why = lost.why;
    host.silence = lost.silence;
    ++revision;
}

void Manager::Impl::host_reset(const HostReset& reset) {
    const auto found = hosts.find(reset.host);
    if (found == hosts.end() || !found->second.report) return;
    event("host", reset.host, {}, fmt::format("{} was reset", reset.host.text));
    boot_ended(found->second);
    for (auto& [key, leg] : legs)
        if (key.second.first == reset.host) leg.recheck = true;
    ++revision;
}

// Late reports of a boot that is over are refused.
void Manager::Impl::boot_ended(HostBelief& host) {
    if (!host.report) return;
    constexpr std::size_t most_boots = 1'000;
    if (host.past_boots.size() >= most_boots) host.past_boots.clear();
    host.past_boots.insert(host.report->boot);
    host.report.reset();
}

Result<void> Manager::Impl::judge(const HostReport& report) const {
    const auto found = hosts.find(report.host);
    if (found == hosts.end())
        return fail(Code::not_found, fmt::format("no host is named {}", report.host.text));
    const HostBelief& host = found->second;
    if (report.boot.empty()) return fail(Code::invalid, "the report has no boot id");
    if (host.past_boots.contains(report.boot))
        return fail(Code::conflict, fmt::format("{}: boot {} has ended; a later one has reported",
                                                report.host.text, report.boot));
    if (host.report && host.report->boot == report.boot && report.seq <= host.report->seq)
        return fail(Code::conflict, fmt::format("{}: report {} is not newer than {}",
                                                report.host.text, report.seq, host.report->seq));
    return {};
}

void Manager::Impl::host_report(const HostReport& report) {
    if (!judge(report)) return;
    HostBelief& host = hosts.at(report.host);
    const bool rebooted = host.report && host.report->boot != report.boot;
    const bool changed = !host.report || rebooted || host.report->driver != report.driver ||
                         host.report->devices != report.devices ||
                         host.report->driver_state != report.driver_state;
    if (rebooted) {
        boot_ended(host);
        event("host", report.host, {}, fmt::format("{} rebooted", report.host.text));
    } else if (!host.report)
        event("host", report.host, {},
              fmt::format("{} reports: poold {}, driver {}", report.host.text, report.poold_version,
                          report.driver_state));
    host.report = report;
    host.report_at = now.mono_ms;
    ++host.reports;
    ++revision;
    if (!changed) return;
    for (auto& [key, leg] : legs)
        if (key.second.first == report.host) {
            leg.recheck = true;
            leg.ask.reset();
        }
    date_report(report.host);
    warn_of_foreign(report);
}

// What a host says it has though no grant gave it. A host's word costs: it may be a lie, told again
// and again.
void Manager::Impl::warn_of_foreign(const HostReport& report) {
    HostBelief& host = hosts.at(report.host);
    int untold = 0;
    constexpr int most_a_report = 16;
    int told = 0;
    const auto tell = [&](const std::string& text) {
        if (told < most_a_report && host.warnings_left > 0) {
            const std::size_t before = out.events.size();
            warn_once("foreign", report.host, {}, text);
            if (out.events.size() == before) return;
            ++told;
            --host.warnings_left;
        } else {
            ++untold;
        }
    };
    for (const ReportedDevice& dev : report.devices) {
        const auto spec = std::ranges::find_if(
            fabric.devices, [&](const auto& d) { return d.second.serial == dev.serial; });
        if (spec == fabric.devices.end()) {
            tell(fmt::format(
                "{} reports a device with serial {:#x}, which the fabric file does not name: it "
                "is left alone",
                report.host.text, dev.serial));
            continue;
        }
        if (!fabric.hosts.at(report.host).devices.contains(spec->first)) {
            tell(fmt::format(
                "{} reports {}, which the fabric file does not attach to it: it is left alone",
                report.host.text, spec->first.text));
            continue;
        }
        for (const ReportedExtent& extent : dev.extents) {
            const Extent seen{spec->first, extent.range};
            const bool ours = std::ranges::any_of(pool.grants, [&](const auto& entry) {
                const Grant& grant = entry.second;
                return std::ranges::find(grant.extents, seen) != grant.extents.end() &&
                       std::ranges::find(grant.hosts, report.host) != grant.hosts.end();
            });
            if (ours) continue;
            soil(report.host, seen, Word::host);
            tell(fmt::format("{} reports {} ({:.20}), which no grant gave it: it is left alone",
                             report.host.text, describe(seen), extent.state));
        }
    }
    if (untold > 0)
        warn_once("foreign", report.host, {},
                  fmt::format("{} reports more that no grant gave it: not all of it is told",
                              report.host.text));
}

// The stages of a new grant that only its host sees: its driver has it, it is plugged.
void Manager::Impl::date_report(const HostName& host) {
    for (const auto& [id, grant] : pool.grants) {
        if (grant.was_active || grant.released ||
            std::ranges::find(grant.hosts, host) == grant.hosts.end())
            continue;
        bool taken = true, plugged = true;
        for (const Extent& extent : grant.extents) {
            const ReportedExtent* seen = reported(host, extent);
            taken = taken && seen && seen->state != "pending";
            plugged = plugged && seen && seen->state == "plugged";
        }
        const auto once = [&](std::string what) {
            const auto& dates = marks[id];
            if (std::ranges::none_of(dates, [&](const TimedRecord& d) { return d.what == what; }))
                mark(id, std::move(what));
        };
        if (taken) once(fmt::format("taken by the driver of {}", host.text));
        if (plugged) once(fmt::format("plugged on {}", host.text));
    }
}

}  // namespace cxlpool
