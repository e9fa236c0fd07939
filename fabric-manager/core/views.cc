// SPDX-License-Identifier: Apache-2.0
// What people and programs are shown. Reads the state, changes nothing.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "core/beliefs.h"
#include "core/describe.h"

namespace cxlpool {
namespace {

std::string seconds(Millis ms) { return fmt::format("{} s", (ms + 500) / 1000); }

// "37 of 256 MiB held: pid 812 python3 31 MiB, kernel 6 MiB"
std::string held_text(const Grant& grant, const std::vector<const ReportedExtent*>& extents) {
    Bytes used = 0, kernel = 0;
    std::map<std::int64_t, ReportedExtent::Holder> holders;
    bool known = false;
    for (const ReportedExtent* extent : extents) {
        if (extent->used) known = true;
        used += extent->used.value_or(0);
        kernel += extent->held_kernel;
        for (const auto& holder : extent->held) {
            auto& sum = holders[holder.pid];
            sum.pid = holder.pid;
            sum.comm = holder.comm;
            sum.bytes += holder.bytes;
        }
    }
    if (!known) return "";
    const auto mib = [](Bytes bytes) { return (bytes + MiB - 1) / MiB; };
    std::string text = fmt::format("{} of {} MiB held", mib(used), mib(grant.size()));
    std::string by;
    std::vector<ReportedExtent::Holder> most;
    for (const auto& [pid, holder] : holders) most.push_back(holder);
    std::ranges::stable_sort(most, std::greater{}, &ReportedExtent::Holder::bytes);
    constexpr std::size_t most_shown = 8;
    const std::size_t untold = most.size() - std::min(most.size(), most_shown);
    most.resize(most.size() - untold);
    for (const auto& holder : most)
        by += fmt::format("{}pid {} {:.64} {} MiB", by.empty() ? "" : ", ", holder.pid, holder.comm,
                          mib(holder.bytes));
    if (untold > 0) by += fmt::format(", {} more", untold);
    if (kernel > 0) by += fmt::format("{}kernel {} MiB", by.empty() ? "" : ", ", mib(kernel));
    return by.empty() ? text : text + ": " + by;
}

}  // namespace

std::string Manager::Impl::down_text(const HostName& name) const {
    const HostBelief& host = hosts.at(name);
    const auto known = pool.hosts.find(name);
    if (host.next_instance)
        return fmt::format("{} has a new machine, and the last one is not known to be dead",
                           name.text);
    if (known == pool.hosts.end() || known->second.instance.empty())
        return host.unreachable_why.empty()
                   ? fmt::format("{} has not been seen yet", name.text)
                   : fmt::format("{} has not been seen yet: {}", name.text, host.unreachable_why);
    if (known->second.dead)
        return known->second.fence_asked
                   ? fmt::format("{} is fenced: its machine was ended", name.text)
                   : fmt::format("the machine of {} has ended", name.text);
    return fmt::format("the machine of {} cannot be reached: {}", name.text, host.unreachable_why);
}

bool Manager::Impl::ready(const HostName& name, std::string* why) const {
    const HostBelief& host = hosts.at(name);
    std::string text;
    if (!alive(name) || !host.reachable)
        text = down_text(name);
    else if (!host.report)
        text = fmt::format(
            "{} has not reported since its machine or fmd started: is poold running there?",
            name.text);
    else if (!report_is_fresh(name))
        text = fmt::format("{} is silent: its poold was last heard {} ago", name.text,
                           seconds(now.mono_ms - host.report_at));
    else if (host.report->driver_state == "none")
        text = fmt::format("{} has no driver for its device: load cxl_dcd there", name.text);
    else if (host.report->driver_state.starts_with("other:"))
        text = fmt::format("{}: {} has the device; bind it to cxl_dcd (driver_override)", name.text,
                           host.report->driver_state.substr(6));
    else if (host.report->driver_state != "ready")
        text =
            fmt::format("{}: the driver is {}{}{}", name.text, host.report->driver_state,
                        host.report->driver_error.empty() ? "" : ": ", host.report->driver_error);
    if (why) *why = text;
    return text.empty();
}

const ReportedDevice* Manager::Impl::reported_device(const HostName& host,
                                                     const DeviceName& name) const {
    const auto& report = hosts.at(host).report;
    if (!report) return nullptr;
    const auto found =
        std::ranges::find(report->devices, device(name).serial, &ReportedDevice::serial);
    return found == report->devices.end() ? nullptr : &*found;
}

// An offer cannot be withdrawn: none is made to a device that the host's driver has not got.
bool Manager::Impl::ready_on(const LegKey& key, std::string* why) const {
    if (!ready(key.first, why)) return false;
    const ReportedDevice* found = reported_device(key.first, key.second);
    std::string text;
    if (!found)
        text = fmt::format(
            "{} has no driver for {} (serial {:#x}): bind cxl_dcd to it (driver_override)",
            key.first.text, key.second.text, device(key.second).serial);
    else if (found->state != "ready")
        text = fmt::format("{}: the driver of {} is {}", key.first.text, key.second.text,
                           found->state);
    if (const std::string& error = hosts.at(key.first).report->driver_error;
        !text.empty() && !error.empty())
        text += ": " + error;
    if (why) *why = text;
    return text.empty();
}

std::string Manager::Impl::waits_on_leg(const Grant& grant, const LegKey& key) const {
    const auto& [name, dev] = key;
    const Leg& leg = grant.legs.at(key);
    const auto found = legs.find({grant.id, key});
    const LegBelief unasked;
    const LegBelief& belief = found == legs.end() ? unasked : found->second;
    const auto trouble = [&](std::string text) {
        return belief.trouble.empty() ? text : fmt::format("{} ({})", text, belief.trouble);
    };
    std::string why;
    if (grant.released && leg.phase == LegPhase::idle) return "";
    if (!alive(name) || !hosts.at(name).reachable)
        return fmt::format("{} to be there: {}", name.text, down_text(name));
    if (grant.released) {
        if (belief.any(Presence::unknown))
            return trouble(fmt::format("{} to say what {} holds", dev.text, name.text));
        if (belief.any(Presence::pending))
            return fmt::format("{} to answer the offer, which cannot be withdrawn{}", name.text,
                               ready(name, &why) ? "" : ": " + why);
        std::vector<const ReportedExtent*> seen;
        std::string error;
        for (const Range& range : grant.ranges_on(dev))
            if (const ReportedExtent* extent = reported(name, {dev, range})) {
                seen.push_back(extent);
                if (!extent->error.empty()) error = extent->error;
            }
        if (!report_is_fresh(name) || !reported_device(name, dev)) {
            (void)ready_on(key, &why);
            return fmt::format("{} to unplug it: {}", name.text, why);
        }
        if (!unplugged(grant, key)) {
            const std::string held = held_text(grant, seen);
            if (!held.empty() && !error.empty()) return fmt::format("{} ({})", held, error);
            if (!held.empty()) return held;
            return error.empty() ? fmt::format("{} to unplug it", name.text)
                                 : fmt::format("{} to unplug it: {}", name.text, error);
        }
        return trouble(fmt::format("{} to give it back to {}", name.text, dev.text));
    }
    if (leg.phase == LegPhase::idle && needs_scrub(grant, key)) {
        const auto stopped = blocked.find(dev);
        if (stopped != blocked.end())
            for (const Range& range : grant.ranges_on(dev))
                if (stopped->second.ranges.intersects(range))
                    return fmt::format("a scrub of {} that cannot be done: {}", dev.text,
                                       stopped->second.why);
        return fmt::format("the scrub of its bytes on {}", dev.text);
    }
    const bool held = leg.phase != LegPhase::idle && belief.all(Presence::accepted);
    if (held) {
        if (plugged(grant, key)) return "";
        if (!ready(name, &why)) return fmt::format("{} to be ready: {}", name.text, why);
        for (const Range& range : grant.ranges_on(dev))
            if (const ReportedExtent* extent = reported(name, {dev, range});
                extent && !extent->error.empty())
                return fmt::format("{} to plug it: {}", name.text, extent->error);
        return fmt::format("{} to plug it", name.text);
    }
    if (belief.any(Presence::pending))
        return fmt::format("{} to answer the offer{}", name.text,
                           ready(name, &why) ? "" : ": " + why);
    if (leg.phase != LegPhase::idle && belief.any(Presence::unknown))
        return trouble(fmt::format("{} to say what {} holds", dev.text, name.text));
    if (!ready_on(key, &why)) return fmt::format("{} to be ready: {}", name.text, why);
    if (!lane_open(grant, key))
        return fmt::format("{} to answer what it was asked before on {}", name.text, dev.text);
    if (!belief.clearance.blocked_by.empty())
        return fmt::format("its bytes to be out of reach of others: {}",
                           belief.clearance.blocked_by);
    return trouble(fmt::format("{} to take the offer to {}", dev.text, name.text));
}

GrantState Manager::Impl::state_of(const Grant& grant, std::string& reason,
                                   std::string& waits_for) const {
    bool any_held = false, all_offered = true, any_started = false;
    for (const auto& [key, leg] : grant.legs) {
        const std::string waits = waits_on_leg(grant, key);
        if (waits_for.empty()) waits_for = waits;
        if (leg.phase == LegPhase::idle) {
            all_offered = false;
            continue;
        }
        any_held = any_started = true;
        const auto belief = legs.find({grant.id, key});
        if (belief == legs.end() || belief->second.any(Presence::none) ||
            belief->second.any(Presence::unknown) || belief->second.doing == Doing::adding)
            all_offered = false;
    }
    const auto since = waiting_since.find(grant.id);
    const Millis waited = since == waiting_since.end() ? 0 : now.mono_ms - since->second;
    if (grant.released) {
        if (!any_held) {
            for (const Extent& extent : grant.extents)
                if (const auto stopped = blocked.find(extent.device);
                    stopped != blocked.end() && stopped->second.ranges.intersects(extent.range))
                    waits_for =
                        fmt::format("a scrub that cannot be done yet: {}", stopped->second.why);
            if (waits_for.empty()) waits_for = "its bytes to be erased and read back";
            return GrantState::scrubbing;
        }
        if (waited <= limits.drain_ms) return GrantState::draining;
        reason = fmt::format("not given back for {} (limit {}): {}", seconds(waited),
                             seconds(limits.drain_ms), waits_for);
        return GrantState::stuck;
    }
    if (!grant.failure.empty()) {
        reason = grant.failure;
        waits_for = "its release";
        return GrantState::failed;
    }
    if (grant.was_active) return GrantState::active;
    if (waited > limits.offer_ms) {
        reason = fmt::format("not active for {} (limit {}): {}; the claim stays", seconds(waited),
                             seconds(limits.offer_ms), waits_for);
        return GrantState::stuck;
    }
    if (!any_started) return GrantState::pending;
    return all_offered ? GrantState::offered : GrantState::offering;
}

GrantView Manager::Impl::view(const Grant& grant) const {
    GrantView v;
    v.id = grant.id;
    v.name = grant.name;
    v.hosts = grant.hosts;
    v.use = grant.use;
    v.size = grant.size();
    v.extents = grant.extents;
    v.state = state_of(grant, v.reason, v.waits_for);
    for (const HostName& name : grant.hosts) {
        SeenOn seen{name, {}, {}};
        for (const Extent& extent : grant.extents)
            if (const ReportedExtent* at = reported(name, extent)) {
                if (at->node && std::ranges::find(seen.nodes, *at->node) == seen.nodes.end())
                    seen.nodes.push_back(*at->node);
                if (!at->dax.empty()) seen.dax.push_back(at->dax);
            }
        std::ranges::sort(seen.nodes);
        v.seen.push_back(std::move(seen));
    }
    // Marks first: what a report showed comes before what was decided by it in the same step.
    std::vector<TimedRecord> dates;
    if (const auto more = marks.find(grant.id); more != marks.end()) dates = more->second;
    dates.insert(dates.end(), grant.timeline.begin(), grant.timeline.end());
    std::ranges::stable_sort(dates, {}, &TimedRecord::time_us);
    for (const TimedRecord& date : dates) {
        const double ms = static_cast<double>(date.time_us - grant.created_us) / 1000;
        v.timeline.push_back({date.what, date.time_us, ms});
        if (date.what == "active" && !v.latency_ms) v.latency_ms = ms;
    }
    return v;
}

HostView Manager::Impl::view_host(const HostName& name) const {
    const HostBelief& host = hosts.at(name);
    HostView v;
    v.name = name;
    std::string why;
    const bool is_ready = ready(name, &why);
    const auto known = pool.hosts.find(name);
    if (is_ready) {
        v.state = HostState::ready;
        v.state_text =
            known != pool.hosts.end() && known->second.fence_asked ? "being fenced" : "ready";
    } else if (known != pool.hosts.end() && known->second.dead) {
        v.state = HostState::fenced;
        v.state_text = known->second.fence_asked ? "fenced" : "down";
    } else if (!alive(name) || !host.reachable) {
        v.state = HostState::absent;
        v.state_text = why;
    } else if (!host.report) {
        v.state = HostState::silent;
        v.state_text = "no poold";
    } else if (!report_is_fresh(name)) {
        v.state = HostState::silent;
        v.state_text = fmt::format("silent {}", seconds(now.mono_ms - host.report_at));
    } else {
        v.state = HostState::no_driver;
        v.state_text =
            host.report->driver_state.starts_with("other:")
                ? fmt::format("no-driver: {} has the device", host.report->driver_state.substr(6))
            : host.report->driver_state == "none"
                ? "no-driver"
                : fmt::format("no-driver: it is {}", host.report->driver_state);
    }
    for (const auto& [id, grant] : pool.grants)
        if (std::ranges::find(grant.hosts, name) != grant.hosts.end()) v.granted += grant.size();
    if (!host.report) return v;
    const HostReport& report = *host.report;
    std::set<int> pool_nodes;
    for (const ReportedDevice& dev : report.devices)
        for (const ReportedExtent& extent : dev.extents)
            if (extent.node) pool_nodes.insert(*extent.node);
    if (!pool_nodes.empty()) {
        v.used = 0;
        for (const ReportedNode& node : report.nodes)
            if (pool_nodes.contains(node.node))
                *v.used += node.total - std::min(node.total, node.free);
    }
    v.pressure = report.pressure_some_avg10;
    v.memory_block = report.memory_block;
    v.last_seen_ms = now.mono_ms - host.report_at;
    v.boot = report.boot;
    v.driver = report.driver;
    return v;
}

FabricView Manager::fabric_view() const {
    const Impl& m = *impl_;
    FabricView fabric;
    for (const auto& [name, spec] : m.fabric.devices) {
        DeviceView v;
        v.name = name;
        v.serial = spec.serial;
        v.size = spec.size;
        v.block = spec.block;
        const RangeSet free = m.pool.free(name);
        RangeSet dirty = free;
        dirty.subtract(m.pool.devices.at(name).clean);
        v.free = free.bytes();
        v.granted = spec.size - v.free;
        v.dirty = dirty.bytes();
        for (const auto& [host, hspec] : m.fabric.hosts)
            if (hspec.devices.contains(name)) v.hosts.push_back(host);
        if (const auto stopped = m.blocked.find(name);
            stopped != m.blocked.end() && !stopped->second.ranges.empty())
            v.note = stopped->second.why;
        fabric.devices.push_back(std::move(v));
    }
    for (const auto& [name, spec] : m.fabric.hosts) fabric.hosts.push_back(name);
    return fabric;
}

std::vector<HostView> Manager::host_views() const {
    std::vector<HostView> views;
    for (const auto& [name, spec] : impl_->fabric.hosts) views.push_back(impl_->view_host(name));
    return views;
}

Result<HostView> Manager::host_view(const HostName& name) const {
    if (!impl_->fabric.hosts.contains(name))
        return fail(Code::not_found, fmt::format("no host is named {}", name.text));
    return impl_->view_host(name);
}

std::vector<GrantView> Manager::grant_views() const {
    std::vector<GrantView> views;
    for (const auto& [id, grant] : impl_->pool.grants) views.push_back(impl_->view(grant));
    return views;
}

Result<GrantView> Manager::grant_view(const GrantName& name) const {
    if (const Grant* grant = impl_->pool.find(name)) return impl_->view(*grant);
    if (const auto gone = impl_->gone.find(name); gone != impl_->gone.end()) return gone->second;
    return fail(Code::not_found, fmt::format("no grant is named {}", name.text));
}

}  // namespace cxlpool
