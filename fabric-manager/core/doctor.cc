// SPDX-License-Identifier: Apache-2.0
// The doctor: journal, device, driver and node of every extent side by side, the devices asked
// anew.
#include <fmt/format.h>

#include <algorithm>

#include "core/beliefs.h"
#include "core/describe.h"

namespace cxlpool {

void Manager::Impl::start_doctor(Ticket ticket) {
    DoctorJob job{ticket, {}, {}, now.mono_ms};
    for (const auto& [name, spec] : fabric.hosts) {
        if (!alive(name) || !hosts.at(name).reachable) continue;
        for (const DeviceName& dev : spec.devices) {
            // Every grant's extents, also those of other hosts, and every free gap.
            std::vector<Range> ranges = pool.free(dev).ranges();
            for (const auto& [id, grant] : pool.grants)
                for (const Range& range : grant.ranges_on(dev)) ranges.push_back(range);
            AskPresence ask{name, dev, std::move(ranges)};
            const OpId op = command(ask, {{}, std::nullopt, InFlight::Purpose::doctor, name, 0});
            job.waiting.emplace(op, std::move(ask));
        }
    }
    doctors.push_back(std::move(job));
}

void Manager::Impl::drive_doctors() {
    std::erase_if(doctors, [&](const DoctorJob& job) {
        if (!job.waiting.empty()) return false;  // expire_commands() bounds the wait
        out.replies.push_back({job.ticket, ReplyBody(examine(job))});
        return true;
    });
}

DoctorView Manager::Impl::examine(const DoctorJob& job) const {
    DoctorView view;
    const auto presence = [&](const HostName& host, const Extent& extent) {
        if (!alive(host)) return Presence::none;  // a dead machine reaches nothing
        const auto found = job.answers.find({host, extent});
        return found == job.answers.end() ? Presence::unknown : found->second;
    };
    for (const auto& [id, grant] : pool.grants) {
        std::string reason, waits;
        const GrantState state = state_of(grant, reason, waits);
        for (const Extent& extent : grant.extents)
            for (const auto& [host, spec] : fabric.hosts) {
                if (!spec.devices.contains(extent.device)) continue;
                const bool owner = std::ranges::find(grant.hosts, host) != grant.hosts.end();
                const Presence is = presence(host, extent);
                const ReportedExtent* seen = reported(host, extent);
                if (!owner && is == Presence::none && !seen) continue;
                DoctorRow row{extent,
                              grant.name.text,
                              host.text,
                              owner ? std::string(name_of(state)) : "not granted",
                              std::string(name_of(is)),
                              seen ? seen->state : "-",
                              "-",
                              false,
                              ""};
                if (seen && seen->node) row.node = fmt::format("node{}", *seen->node);
                if (seen && !seen->dax.empty() && seen->use == Use::dax) row.node = seen->dax;
                if (!owner)
                    row.note = is == Presence::none ? "the driver lists what the device denies"
                               : is == Presence::unknown
                                   ? "the device did not say whether this host can reach it"
                                   : "this host can reach an extent of another host's grant";
                else if (state != GrantState::active)
                    row.note = waits.empty() ? reason : "waits for " + waits;
                else if (is != Presence::accepted)
                    row.note = is == Presence::unknown ? "the device gave no answer"
                                                       : "the device does not list it as accepted";
                else if (!seen || seen->state != "plugged")
                    row.note = report_is_fresh(host) ? "the driver has not plugged it"
                                                     : "the host does not report";
                else if (row.node == "-")
                    row.note = "no node or dax device is seen";
                row.ok = row.note.empty();
                view.rows.push_back(std::move(row));
            }
    }
    // Whatever is reachable without a grant, by the devices' word or the drivers'.
    for (const auto& [host, spec] : fabric.hosts)
        for (const DeviceName& dev : spec.devices) {
            const RangeSet free = pool.free(dev);
            for (const Range& range : free.ranges()) {
                const Presence is = presence(host, {dev, range});
                if (is != Presence::accepted && is != Presence::pending) continue;
                view.rows.push_back({{dev, range},
                                     "-",
                                     host.text,
                                     "free",
                                     std::string(name_of(is)),
                                     "-",
                                     "-",
                                     false,
                                     "some of this free range is in a host's reach: foreign"});
            }
            if (!hosts.at(host).report) continue;
            for (const ReportedDevice& reported_device : hosts.at(host).report->devices) {
                if (reported_device.serial != device(dev).serial) continue;
                for (const ReportedExtent& seen : reported_device.extents) {
                    const Extent extent{dev, seen.range};
                    const bool known = std::ranges::any_of(pool.grants, [&](const auto& g) {
                        return std::ranges::find(g.second.extents, extent) !=
                               g.second.extents.end();
                    });
                    if (!known)
                        view.rows.push_back({extent, "-", host.text, "-", "-", seen.state,
                                             seen.node ? fmt::format("node{}", *seen.node) : "-",
                                             false,
                                             "the driver lists an extent of no grant: foreign"});
                }
            }
        }
    view.ok = std::ranges::all_of(view.rows, &DoctorRow::ok);
    return view;
}

}  // namespace cxlpool
