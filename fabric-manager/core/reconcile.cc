// SPDX-License-Identifier: Apache-2.0
// Desired against believed: the one place that decides what is done next. It looks at the whole
// state (level, not edge), so that it does not matter which input came, or came twice, or did not
// come.
//
//   leg of a grant (one host × one device), by the journal and by the device's own word:
//     idle      ── clean, cleared, host ready ──▶ offering (OfferStarted) ─▶ add
//     offering  none → add again · pending → wait · accepted → wait until plugged → active
//     released: pending → wait (an offer cannot be withdrawn) · accepted → wait until the host has
//               unplugged it → returning (ReturnStarted) ─▶ release, asked again until none ─▶ idle
#include <fmt/format.h>

#include <algorithm>

#include "core/beliefs.h"
#include "core/describe.h"

namespace cxlpool {

void Manager::Impl::reconcile() {
    expire_commands();
    // Every pass either records or commands something, or is the last.
    for (int pass = 0;; ++pass) {
        CXLPOOL_CHECK(pass < 10'000);
        const std::size_t before = out.records.size() + out.commands.size();
        drive_hosts();
        std::vector<GrantId> ids;
        for (const auto& [id, grant] : pool.grants) ids.push_back(id);
        for (const GrantId id : ids) drive_grant(pool.grants.at(id));
        drive_scrubs();
        if (out.records.size() + out.commands.size() == before) break;
    }
    drive_doctors();
    refresh_desired();
}

void Manager::Impl::expire_commands() {
    std::vector<OpId> lost;
    for (const auto& [id, op] : in_flight)
        if (op.purpose != InFlight::Purpose::scrub && now.mono_ms - op.started > limits.answer_ms)
            lost.push_back(id);
    for (const OpId id : lost)
        complete(
            {id, fail(Code::timeout, fmt::format("no answer for {} s", limits.answer_ms / 1000))});
}

void Manager::Impl::drive_hosts() {
    for (auto& [name, host] : hosts) {
        if (host.report && alive(name)) {
            const bool silent = !report_is_fresh(name);
            if (silent && !host.said_silent)
                event("host", name, {},
                      fmt::format("{} is silent: poold has not reported for {} s", name.text,
                                  limits.silent_ms / 1000));
            if (!silent && host.said_silent)
                event("host", name, {}, fmt::format("{} reports again", name.text));
            host.said_silent = silent;
        }
        const auto known = pool.hosts.find(name);
        if (known == pool.hosts.end() || !known->second.fence_asked || known->second.dead) continue;
        if (!host.fencing && host.fence.due(now.mono_ms)) {
            host.fencing = true;
            host.fence.again(now.mono_ms, limits);
            command(Fence{name, known->second.instance},
                    {{}, std::nullopt, InFlight::Purpose::fence, name, 0});
        }
    }
}

void Manager::Impl::drive_grant(const Grant& grant) {
    const GrantId id = grant.id;
    std::vector<LegKey> keys;
    for (const auto& [key, leg] : grant.legs) keys.push_back(key);
    if (grant.released) {
        for (const LegKey& key : keys) drive_return(grant, key);
        for (const auto& [key, leg] : grant.legs)
            if (leg.phase != LegPhase::idle) return;
        for (const Extent& extent : grant.extents)
            if (!pool.devices.at(extent.device).clean.contains(extent.range)) return;
        GrantView last = view(grant);
        last.state = GrantState::gone;
        last.waits_for.clear();
        last.timeline.push_back(
            {"gone", now.wall_us, static_cast<double>(now.wall_us - grant.created_us) / 1000});
        constexpr std::size_t most_gone = 256;
        if (gone.size() >= most_gone)
            gone.erase(std::ranges::min_element(
                gone, {}, [](const auto& entry) { return entry.second.id.value; }));
        gone[last.name] = std::move(last);
        record(GrantGone{id});
        std::erase_if(legs, [&](const auto& leg) { return leg.first.first == id; });
        marks.erase(id);
        waiting_since.erase(id);
        return;
    }
    for (const LegKey& key : keys) {
        if (grant.failure.empty()) {
            drive_offer(grant, key);
            continue;
        }
        // It holds its lane for as long as an answer may be outstanding, so that is found out all
        // the same.
        const HostBelief& host = hosts.at(key.first);
        if (grant.legs.at(key).phase != LegPhase::idle && alive(key.first) && host.reachable)
            ask_if_unsure(grant, key);
    }
    if (!grant.failure.empty()) return;
    if (grant.was_active) return;
    for (const auto& [key, leg] : grant.legs)
        if (leg.phase != LegPhase::offering || !leg.accepted || !plugged(grant, key)) return;
    record(GrantActive{id});
    waiting_since.erase(id);
}

// ---- towards the host ----

bool Manager::Impl::needs_scrub(const Grant& grant, const LegKey& key) const {
    if (grant.legs.at(key).phase != LegPhase::idle) return false;
    // A host of the same grant has it already: the bytes are the grant's own.
    for (const auto& [other, leg] : grant.legs)
        if (other.second == key.second && leg.phase != LegPhase::idle) return false;
    for (const Range& range : grant.ranges_on(key.second))
        if (!pool.devices.at(key.second).clean.contains(range)) return true;
    return false;
}

// Whether the release requests for this leg may still lie in the device's event log. QEMU adds a
// record for each request, loses what comes when 8 are there, and a lost offer stays pending until
// a power cycle: so nothing is asked twice, or offered behind it, before later reports of a ready
// driver. They show that the host runs, not that its driver read the log; the overflow that remains
// possible is one the driver reports. Replayed legs count as asked.
bool Manager::Impl::maybe_unread(const Grant& grant, const LegKey& key) const {
    if (grant.legs.at(key).phase != LegPhase::returning) return false;
    const auto belief = legs.find({grant.id, key});
    const std::uint64_t floor = belief == legs.end() ? 0 : belief->second.return_floor;
    if (hosts.at(key.first).reports <= floor || !ready_on(key, nullptr)) return true;
    // Records are dealt with in order: behind an offer that may not be answered, nothing is read.
    return std::ranges::any_of(pool.grants, [&](const auto& entry) {
        const auto other = entry.second.legs.find(key);
        if (entry.first == grant.id || other == entry.second.legs.end() ||
            other->second.phase == LegPhase::idle)
            return false;
        const auto known = legs.find({entry.first, key});
        return known == legs.end() || known->second.any(Presence::pending) ||
               known->second.any(Presence::unknown);
    });
}

// One open group a device and host: the event log is short, and groups are answered in order.
bool Manager::Impl::lane_open(const Grant& grant, const LegKey& key) const {
    std::size_t records = grant.ranges_on(key.second).size();
    for (const auto& [id, other] : pool.grants) {
        if (id == grant.id) continue;
        if (other.legs.contains(key) && maybe_unread(other, key)) {
            records += other.ranges_on(key.second).size();
            if (records > limits.extents_per_group) return false;
        }
        const auto leg = other.legs.find(key);
        if (leg == other.legs.end() || leg->second.phase == LegPhase::idle) continue;
        const auto belief = legs.find({id, key});
        if (belief == legs.end()) return false;
        if (belief->second.doing == Doing::adding || belief->second.any(Presence::pending) ||
            belief->second.any(Presence::unknown))
            return false;
    }
    return true;
}

void Manager::Impl::drive_offer(const Grant& grant, const LegKey& key) {
    if (!alive(key.first) || !hosts.at(key.first).reachable) return;
    LegBelief& belief = legs[{grant.id, key}];
    if (belief.doing != Doing::nothing) return;
    const Leg& leg = grant.legs.at(key);
    if (leg.phase == LegPhase::idle) {
        if (!needs_scrub(grant, key)) offer_leg(grant, key);
        return;
    }
    if (ask_if_unsure(grant, key)) return;
    if (belief.all(Presence::accepted)) {
        belief.refusals = 0;
        belief.trouble.clear();
        if (leg.accepted) return;
        record(OfferAccepted{grant.id, key.first, key.second});
        return;
    }
    offer_leg(grant, key);  // some or all of it is not there (any more): offer that again
}

void Manager::Impl::offer_leg(const Grant& grant, const LegKey& key) {
    LegBelief& belief = legs[{grant.id, key}];
    if (!ready_on(key, nullptr) || !lane_open(grant, key) || !belief.act.due(now.mono_ms)) return;
    const bool first = grant.legs.at(key).phase == LegPhase::idle;
    const std::vector<Range> all = grant.ranges_on(key.second);
    std::vector<Range> missing;
    for (std::size_t i = 0; i < all.size(); ++i)
        if (first || belief.presence.empty() || belief.presence[i] == Presence::none)
            missing.push_back(all[i]);
    // The others that share the grant may have it, or be getting it right now; the host itself is
    // asked when it should have nothing yet.
    std::set<HostName> sharing(grant.hosts.begin(), grant.hosts.end());
    if (first) sharing.erase(key.first);
    if (!drive_clearance(belief.clearance, key.second, missing, sharing,
                         InFlight::Purpose::clearance_of_leg, grant.id, key.first))
        return;
    if (first) {
        record(OfferStarted{grant.id, key.first, key.second});
        belief.presence.clear();
    }
    belief.doing = Doing::adding;
    belief.report_floor = hosts.at(key.first).reports;
    belief.awaited = command(AddCapacity{key.first, key.second, std::move(missing)},
                             {{}, grant.id, InFlight::Purpose::leg, key.first, 0});
}

// False when the device's last word on this leg still holds and is final.
bool Manager::Impl::ask_if_unsure(const Grant& grant, const LegKey& key) {
    LegBelief& belief = legs[{grant.id, key}];
    if (!belief.any(Presence::unknown) && !belief.any(Presence::pending) && !belief.recheck)
        return false;
    if (belief.doing == Doing::nothing) ask_leg(grant, key);
    return true;
}

void Manager::Impl::ask_leg(const Grant& grant, const LegKey& key) {
    LegBelief& belief = legs[{grant.id, key}];
    if (!belief.ask.due(now.mono_ms)) return;
    belief.doing = Doing::asking;
    belief.recheck = false;
    belief.ask.again(now.mono_ms, limits);
    belief.awaited = command(AskPresence{key.first, key.second, grant.ranges_on(key.second)},
                             {{}, grant.id, InFlight::Purpose::leg, key.first, 0});
}

void Manager::Impl::leg_refused(const Grant& grant, const LegKey& key, std::string why) {
    LegBelief& belief = legs[{grant.id, key}];
    belief.trouble = std::move(why);
    belief.act.again(now.mono_ms, limits);
    event("warning", key.first, grant.name, fmt::format("{}: {}", grant.name.text, belief.trouble));
    if (++belief.refusals < limits.offer_tries || grant.released || !grant.failure.empty() ||
        grant.was_active)
        return;
    record(GrantFailed{grant.id, fmt::format("{} ({} tries)", belief.trouble, belief.refusals)});
}

void Manager::Impl::leg_answered(const InFlight& op, const Completion& completion) {
    const auto owner = pool.grants.find(*op.grant);
    if (owner == pool.grants.end()) return;
    const Grant& grant = owner->second;
    const auto found = std::ranges::find_if(legs, [&](const auto& leg) {
        const auto same = [&](const HostName& host, const DeviceName& dev) {
            return leg.first == std::pair{grant.id, LegKey{host, dev}};
        };
        if (const auto* add = std::get_if<AddCapacity>(&op.body))
            return same(add->host, add->device);
        if (const auto* back = std::get_if<ReleaseCapacity>(&op.body))
            return same(back->host, back->device);
        if (const auto* ask = std::get_if<AskPresence>(&op.body))
            return same(ask->host, ask->device);
        return false;
    });
    if (found == legs.end()) return;
    const LegKey key = found->first.second;
    LegBelief& belief = found->second;
    if (belief.awaited != completion.op) return;  // of an earlier machine, or given up
    belief.doing = Doing::nothing;
    const std::string where = fmt::format("{} on {}", key.first.text, key.second.text);

    if (std::holds_alternative<AddCapacity>(op.body)) {
        // Whatever it said, the device's own list is what counts: a failed add may have taken
        // effect.
        belief.presence.clear();
        belief.ask.reset();
        if (completion.result) {
            belief.trouble.clear();
            belief.offered = true;
            record(OfferTaken{grant.id, key.first, key.second});
        } else {
            leg_refused(grant, key,
                        fmt::format("the offer to {} failed: {}", where,
                                    completion.result.error().message));
        }
        return;
    }
    if (std::holds_alternative<ReleaseCapacity>(op.body)) {
        belief.presence.clear();
        belief.ask.reset();
        // A report that was on its way may be older than the request; there is never more than one.
        belief.return_floor = hosts.at(key.first).reports + 1;
        belief.trouble = completion.result ? ""
                                           : fmt::format("taking it back from {} failed: {}", where,
                                                         completion.result.error().message);
        return;
    }
    const std::size_t count = grant.ranges_on(key.second).size();
    const auto* answer =
        completion.result ? std::get_if<std::vector<Presence>>(&*completion.result) : nullptr;
    if (!answer || answer->size() != count) {
        belief.presence.clear();
        belief.trouble =
            fmt::format("{} did not say what it holds: {}", where,
                        completion.result ? "a garbled answer" : completion.result.error().message);
        return;
    }
    const bool was_offered = belief.offered || belief.any(Presence::pending);
    const bool was_accepted = belief.all(Presence::accepted);
    if (belief.presence != *answer) belief.ask.reset();
    // The first re-ask comes soon, later ones back off.
    if (belief.ask.tries == 0) belief.ask.again(now.mono_ms, limits);
    belief.presence = *answer;
    if (belief.any(Presence::pending) || belief.any(Presence::unknown)) return;
    belief.offered = false;
    // What was asked back behind that offer is only read now.
    if (was_offered)
        for (auto& [other, behind] : legs)
            if (other.second == key) behind.return_floor = hosts.at(key.first).reports + 1;
    if (!belief.any(Presence::none) || grant.released || !grant.failure.empty()) return;
    if (was_offered)
        leg_refused(grant, key,
                    where + (belief.all(Presence::none) ? " refused the offer"
                                                        : " took only a part of the offer"));
    else if (was_accepted) {
        belief.act.again(now.mono_ms, limits);
        event("warning", key.first, grant.name,
              fmt::format("{}: {} gave it back without being asked; it is offered again",
                          grant.name.text, where));
    }
}

bool Manager::Impl::plugged(const Grant& grant, const LegKey& key) const {
    const HostBelief& host = hosts.at(key.first);
    const auto belief = legs.find({grant.id, key});
    if (!host.report || belief == legs.end() || !belief->second.all(Presence::accepted) ||
        host.reports <= belief->second.report_floor)
        return false;
    for (const Range& range : grant.ranges_on(key.second)) {
        const ReportedExtent* seen = reported(key.first, {key.second, range});
        if (!seen || seen->state != "plugged" || seen->use != grant.use) return false;
        if (grant.use == Use::ram ? !seen->node : seen->dax.empty()) return false;
    }
    return true;
}

// ---- back from the host ----

// A device that is not reported is one of which the agent could not tell, or without driver: either
// may have something plugged, or cannot answer.
bool Manager::Impl::unplugged(const Grant& grant, const LegKey& key) const {
    if (!report_is_fresh(key.first) || !reported_device(key.first, key.second)) return false;
    for (const Range& range : grant.ranges_on(key.second)) {
        const ReportedExtent* seen = reported(key.first, {key.second, range});
        if (seen && seen->state != "accepted" && seen->state != "pending" &&
            seen->state != "releasing")
            return false;
    }
    return true;
}

void Manager::Impl::drive_return(const Grant& grant, const LegKey& key) {
    const Leg& leg = grant.legs.at(key);
    if (leg.phase == LegPhase::idle || !hosts.at(key.first).reachable) return;
    LegBelief& belief = legs[{grant.id, key}];
    if (belief.doing != Doing::nothing) return;
    if (belief.all(Presence::none)) {
        record(Returned{grant.id, key.first, key.second});
        legs.erase({grant.id, key});
        return;
    }
    if (ask_if_unsure(grant, key)) return;
    if (unplugged(grant, key) && belief.act.due(now.mono_ms) && !maybe_unread(grant, key)) {
        if (leg.phase != LegPhase::returning)
            record(ReturnStarted{grant.id, key.first, key.second});
        std::vector<Range> held;
        const std::vector<Range> all = grant.ranges_on(key.second);
        for (std::size_t i = 0; i < all.size(); ++i)
            if (belief.presence[i] == Presence::accepted) held.push_back(all[i]);
        belief.doing = Doing::releasing;
        belief.return_floor = hosts.at(key.first).reports + 1;
        // The driver needs some time to answer; asking twice at once would only fill its event log.
        belief.act.tries = std::max(belief.act.tries, 3);
        belief.act.again(now.mono_ms, limits);
        belief.awaited = command(ReleaseCapacity{key.first, key.second, std::move(held)},
                                 {{}, grant.id, InFlight::Purpose::leg, key.first, 0});
        return;
    }
    if (leg.phase == LegPhase::returning) ask_leg(grant, key);
}

void Manager::Impl::refresh_desired() {
    for (auto& [name, wanted] : desired) {
        std::vector<DesiredExtent> list;
        for (const auto& [id, grant] : pool.grants)
            for (const auto& [key, leg] : grant.legs) {
                if (key.first != name || leg.phase == LegPhase::idle) continue;
                const bool plug = !grant.released && grant.failure.empty();
                for (const Range& range : grant.ranges_on(key.second))
                    list.push_back({device(key.second).serial, range, grant.name, grant.use, plug});
            }
        std::ranges::sort(list, {}, [](const DesiredExtent& e) {
            return std::pair{e.serial, e.range};
        });
        if (list == wanted.extents) continue;
        wanted.extents = std::move(list);
        ++wanted.rev;
        ++revision;
    }
}

}  // namespace cxlpool
