// SPDX-License-Identifier: Apache-2.0
// What is erased when: grants that wait for clean bytes first, then what was given back, then all
// else that is free and dirty. One scrub a device at a time. Nothing is erased, and nothing is
// offered, before the devices themselves were asked about everybody who might still reach it.
#include <fmt/format.h>

#include <algorithm>

#include "core/beliefs.h"
#include "core/describe.h"

namespace cxlpool {
namespace {

Presence worst(const Completion& completion, std::size_t count) {
    if (!completion.result) return Presence::unknown;
    const auto* answer = std::get_if<std::vector<Presence>>(&*completion.result);
    if (!answer || answer->size() != count) return Presence::unknown;
    for (const Presence bad : {Presence::accepted, Presence::pending, Presence::unknown})
        if (std::ranges::find(*answer, bad) != answer->end()) return bad;
    return Presence::none;
}

std::string describe_ranges(const DeviceName& device, const std::vector<Range>& ranges) {
    std::string text;
    for (const Range& range : ranges)
        text += (text.empty() ? "" : ", ") + describe(Extent{device, range});
    return text;
}

}  // namespace

bool Manager::Impl::drive_clearance(Clearance& clearance, const DeviceName& device,
                                    const std::vector<Range>& ranges,
                                    const std::set<HostName>& except, InFlight::Purpose purpose,
                                    std::optional<GrantId> grant, const HostName& leg_host) {
    if (!clearance.backoff.due(now.mono_ms)) return false;
    if (now.mono_ms - clearance.asked_at > limits.answer_ms && clearance.asking.empty())
        clearance.answers.clear();  // too old to rely on
    std::string obstacle;
    bool waiting = false;
    for (const auto& [name, spec] : fabric.hosts) {
        if (!spec.devices.contains(device) || except.contains(name)) continue;
        const HostBelief& host = hosts.at(name);
        // A machine may be running that an earlier journal knew: nothing is touched before each
        // attached host was looked for once in this life of fmd.
        if (!host.heard) {
            waiting = true;
            continue;
        }
        if (!alive(name)) {
            // A dead machine reaches nothing. One never seen is taken as not running only when
            // nobody is at its address.
            const auto known = pool.hosts.find(name);
            const bool seen = known != pool.hosts.end() && !known->second.instance.empty();
            if (!seen && host.silence == Silence::no_answer)
                obstacle =
                    fmt::format("{} was never seen and does not answer ({}): it may hold {}",
                                name.text, host.unreachable_why, describe_ranges(device, ranges));
            continue;
        }
        if (clearance.asking.contains(name)) {
            waiting = true;
            continue;
        }
        const auto answer = clearance.answers.find(name);
        if (answer != clearance.answers.end()) {
            if (answer->second == Presence::none) continue;
            obstacle = answer->second == Presence::unknown
                           ? fmt::format("{} was asked about {} and gave no answer", name.text,
                                         describe_ranges(device, ranges))
                           : fmt::format("{} has {} {}, which no grant gave it", name.text,
                                         describe_ranges(device, ranges), name_of(answer->second));
            continue;
        }
        if (!host.reachable) {
            const auto& held = pool.devices.at(device).held;
            const auto its = held.find(name);
            const bool may_reach =
                its != held.end() && std::ranges::any_of(ranges, [&](const Range& r) {
                    return its->second.intersects(r);
                });
            if (may_reach)
                obstacle =
                    fmt::format("{} may still reach {}, and its machine cannot be asked ({})",
                                name.text, describe_ranges(device, ranges), host.unreachable_why);
            continue;
        }
        clearance.asked_at = now.mono_ms;
        waiting = true;
        clearance.asking[name] =
            command(AskPresence{name, device, ranges}, {{}, grant, purpose, leg_host, 0});
    }
    if (waiting) return false;
    clearance.answers.clear();
    clearance.blocked_by = obstacle;
    if (obstacle.empty()) {
        clearance.backoff.reset();
        return true;
    }
    clearance.backoff.again(now.mono_ms, limits);
    warn_once("warning", leg_host, {}, obstacle);
    return false;
}

void Manager::Impl::clearance_answered(Clearance& clearance, const InFlight& op,
                                       const Completion& completion) {
    const auto& ask = std::get<AskPresence>(op.body);
    const auto asked = clearance.asking.find(ask.host);
    if (asked == clearance.asking.end() || asked->second != completion.op) return;
    clearance.asking.erase(asked);
    clearance.answers[ask.host] = worst(completion, ask.ranges.size());
    if (!completion.result) return;
    const auto* answer = std::get_if<std::vector<Presence>>(&*completion.result);
    for (std::size_t i = 0; answer && i < std::min(answer->size(), ask.ranges.size()); ++i)
        if ((*answer)[i] == Presence::accepted || (*answer)[i] == Presence::pending) {
            foreign[ask.device].add(ask.ranges[i]);
            soil(ask.host, {ask.device, ask.ranges[i]}, Word::device);
        }
}

// Taking clean bytes for dirty ones only costs a scrub, so for this a host's own word is enough: a
// number of times for each machine, since a liar could keep another's grant waiting for its scrub
// for ever.
void Manager::Impl::soil(const HostName& host, const Extent& extent, Word whose) {
    const auto state = pool.devices.find(extent.device);
    if (state == pool.devices.end()) return;
    int& left = hosts.at(host).soils_left;
    const auto believed = [&] { return whose == Word::device || left-- > 0; };
    if (const auto job = scrubs.find(extent.device);
        job != scrubs.end() && job->second.running && job->second.spoiled.empty() &&
        job->second.extent.range.overlaps(extent.range) && believed())
        job->second.spoiled =
            fmt::format("{} reached {} while it was scrubbed", host.text, describe(extent));
    const RangeSet lost = state->second.clean.within(extent.range);
    for (const Range& range : lost.ranges())
        if (believed()) record(ForeignSeen{host, {extent.device, range}});
}

std::optional<Extent> Manager::Impl::next_scrub(const DeviceName& name) const {
    const DeviceState& state = pool.devices.at(name);
    const auto stopped = blocked.find(name);
    const auto first_dirty = [&](const RangeSet& space) -> std::optional<Extent> {
        RangeSet dirty = space;
        dirty.subtract(state.clean);
        if (stopped != blocked.end()) dirty.subtract(stopped->second.ranges);
        if (dirty.empty()) return std::nullopt;
        Range range = dirty.ranges().front();
        range.length = std::min(range.length, limits.scrub_chunk);
        return Extent{name, range};
    };
    const auto space_of = [&](const Grant& grant) {
        RangeSet space;
        for (const Range& range : grant.ranges_on(name)) space.add(range);
        return space;
    };
    for (const auto& [id, grant] : pool.grants) {
        if (grant.released || !grant.failure.empty()) continue;
        for (const auto& [key, leg] : grant.legs)
            if (key.second == name && needs_scrub(grant, key))
                if (auto extent = first_dirty(space_of(grant))) return extent;
    }
    for (const auto& [id, grant] : pool.grants) {
        if (!grant.released) continue;
        const bool back = std::ranges::none_of(grant.legs, [&](const auto& leg) {
            return leg.first.second == name && leg.second.phase != LegPhase::idle;
        });
        if (back)
            if (auto extent = first_dirty(space_of(grant))) return extent;
    }
    return first_dirty(pool.free(name));
}

void Manager::Impl::drive_scrubs() {
    for (const auto& [name, spec] : fabric.devices) {
        const auto stopped = blocked.find(name);
        if (stopped != blocked.end() && stopped->second.backoff.due(now.mono_ms))
            stopped->second.ranges = {};
        auto job = scrubs.find(name);
        if (job == scrubs.end()) {
            const auto extent = next_scrub(name);
            if (!extent) continue;
            job = scrubs.emplace(name, ScrubJob{*extent, {}, false, {}}).first;
        }
        if (job->second.running) continue;
        const Extent extent = job->second.extent;
        Clearance& clearance = job->second.clearance;
        if (drive_clearance(clearance, name, {extent.range}, {},
                            InFlight::Purpose::clearance_of_scrub, std::nullopt, {})) {
            record(ScrubStarted{extent});
            job->second.running = true;
            command(Scrub{extent}, {{}, std::nullopt, InFlight::Purpose::scrub, {}, 0});
        } else if (!clearance.blocked_by.empty()) {
            block_scrub(name, extent.range, clearance.blocked_by);
        }
    }
}

void Manager::Impl::block_scrub(const DeviceName& name, Range range, std::string why) {
    BlockedScrubs& stopped = blocked[name];
    stopped.ranges.add(range);
    stopped.why = std::move(why);
    stopped.backoff.again(now.mono_ms, limits);
    scrubs.erase(name);
    ++revision;
}

void Manager::Impl::scrub_answered(const InFlight& op, const Completion& completion) {
    const Extent extent = std::get<Scrub>(op.body).extent;
    const auto* receipt =
        completion.result ? std::get_if<ScrubReceipt>(&*completion.result) : nullptr;
    if (!receipt || receipt->bytes_read != extent.range.length) {
        std::string why = fmt::format(
            "the scrub of {} failed: {}", describe(extent),
            completion.result ? "not every byte was read back" : completion.result.error().message);
        event("warning", {}, {}, why);
        block_scrub(extent.device, extent.range, std::move(why));
        return;
    }
    if (const auto job = scrubs.find(extent.device);
        job != scrubs.end() && !job->second.spoiled.empty()) {
        std::string why = job->second.spoiled;
        event("warning", {}, {}, fmt::format("{}: the scrub is done again", why));
        block_scrub(extent.device, extent.range, std::move(why));
        return;
    }
    record(ScrubDone{extent, receipt->bytes_read});
    if (const auto reached = foreign.find(extent.device); reached != foreign.end())
        reached->second.subtract(extent.range);
    scrubs.erase(extent.device);
    if (const auto stopped = blocked.find(extent.device);
        stopped != blocked.end() && stopped->second.ranges.empty())
        blocked.erase(stopped);
}

}  // namespace cxlpool
