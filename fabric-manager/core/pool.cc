// SPDX-License-Identifier: Apache-2.0
#include "core/pool.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/describe.h"

namespace cxlpool {

Bytes Grant::size() const {
    Bytes sum = 0;
    for (const Extent& extent : extents) sum += extent.range.length;
    return sum;
}

std::vector<Range> Grant::ranges_on(const DeviceName& device) const {
    std::vector<Range> ranges;
    for (const Extent& extent : extents)
        if (extent.device == device) ranges.push_back(extent.range);
    return ranges;
}

const Grant* Pool::find(const GrantName& name) const {
    for (const auto& [id, grant] : grants)
        if (grant.name == name) return &grant;
    return nullptr;
}

RangeSet Pool::granted(const DeviceName& device) const {
    RangeSet set;
    for (const auto& [id, grant] : grants)
        for (const Range& range : grant.ranges_on(device)) set.add(range);
    return set;
}

RangeSet Pool::free(const DeviceName& device) const {
    RangeSet set(Range{0, devices.at(device).size});
    set.subtract(granted(device));
    return set;
}

namespace {

// One apply(record) each: check everything first, then change; nothing in between can fail.
class Applier {
  public:
    Applier(Pool& pool, const Record& record) : pool_(pool), record_(record) {}

    Result<void> operator()(const DeviceAdopted& r) {
        if (pool_.devices.contains(r.device)) return broken("the device is adopted already");
        if (r.block == 0 || r.size == 0 || r.size % r.block != 0 || r.identity.empty())
            return broken(
                "its size is not a positive multiple of its block, or it has no identity");
        pool_.devices[r.device] = {r.serial, r.size, r.block, r.identity, {}, {}};
        for (const auto& [name, host] : pool_.hosts)
            if (!host.instance.empty() && !host.dead) hold_all_dirty(name);
        return {};
    }

    Result<void> operator()(const HostSeen& r) {
        if (r.instance.empty()) return broken("the instance has no name");
        if (alive(r.host)) return broken("its last instance is not dead");
        pool_.hosts[r.host] = {r.instance, false, false};
        // It may have been given extents before we knew of it: whatever is dirty may be in its
        // reach.
        hold_all_dirty(r.host);
        return {};
    }

    Result<void> operator()(const HostDead& r) {
        HostRecord* host = alive(r.host);
        if (!host || host->instance != r.instance) return broken("that instance is not alive");
        host->dead = true;
        for (auto& [name, device] : pool_.devices) device.held.erase(r.host);
        for (auto& [id, grant] : pool_.grants)
            for (auto& [key, leg] : grant.legs)
                if (key.first == r.host && leg.phase != LegPhase::idle) {
                    leg = {};
                    grant.was_active = false;
                    note(grant, fmt::format("{} lost it: its machine ended", r.host.text));
                }
        return {};
    }

    Result<void> operator()(const FenceStarted& r) {
        HostRecord* host = alive(r.host);
        if (!host || host->instance != r.instance) return broken("that instance is not alive");
        host->fence_asked = true;
        return {};
    }

    Result<void> operator()(const GrantCreated& r) {
        if (r.id <= pool_.last_grant) return broken("the grant's number was used before");
        if (pool_.find(r.name)) return broken("the grant's name is taken");
        if (r.hosts.empty() || r.extents.empty()) return broken("it has no host or no extent");
        RangeSet taken;
        const DeviceName* last = nullptr;
        for (const Extent& extent : r.extents) {  // sorted, so a device's extents are together
            const auto device = pool_.devices.find(extent.device);
            if (device == pool_.devices.end()) return broken("unknown device");
            const Range& range = extent.range;
            if (!last || *last != extent.device) taken = pool_.granted(extent.device);
            last = &extent.device;
            if (range.length == 0 || range.dpa % device->second.block != 0 ||
                range.length % device->second.block != 0 || range.end() < range.dpa ||
                range.end() > device->second.size)
                return broken(describe(extent) + " is not whole DC blocks of the device");
            if (taken.intersects(range))
                return broken(describe(extent) + " belongs to another grant");
            taken.add(range);
        }
        Grant grant{r.id,  r.name, r.hosts, r.use,           r.extents, {},
                    false, false,  "",      record_.time_us, {}};
        for (const HostName& host : r.hosts)
            for (const Extent& extent : r.extents) grant.legs[{host, extent.device}] = {};
        note(grant, "created");
        pool_.grants[r.id] = std::move(grant);
        pool_.last_grant = r.id;
        return {};
    }

    Result<void> operator()(const OfferStarted& r) {
        auto leg = find_leg(r.id, r.host, r.device);
        if (!leg) return std::unexpected(leg.error());
        Grant& grant = *leg->grant;
        DeviceState& device = pool_.devices.at(r.device);
        if (!alive(r.host)) return broken("the host is dead");
        if (grant.released || !grant.failure.empty())
            return broken("the grant is being given back");
        if (leg->leg->phase != LegPhase::idle) return broken("it is offered already");
        const bool shared = std::ranges::any_of(grant.legs, [&](const auto& other) {
            return other.first.second == r.device && other.second.phase != LegPhase::idle;
        });
        for (const Range& range : grant.ranges_on(r.device))
            if (!shared && !device.clean.contains(range))
                return broken(describe(Extent{r.device, range}) + " is not scrubbed");
        for (const Range& range : grant.ranges_on(r.device)) {
            device.clean.subtract(range);
            device.held[r.host].add(range);
        }
        *leg->leg = {LegPhase::offering, false};
        note(grant, fmt::format("offer to {} started", r.host.text));
        return {};
    }

    Result<void> operator()(const OfferTaken& r) {
        auto leg = find_leg(r.id, r.host, r.device);
        if (!leg) return std::unexpected(leg.error());
        note(*leg->grant, fmt::format("{} offered to {}", r.device.text, r.host.text));
        return {};
    }

    Result<void> operator()(const OfferAccepted& r) {
        auto leg = find_leg(r.id, r.host, r.device);
        if (!leg) return std::unexpected(leg.error());
        if (leg->leg->phase == LegPhase::idle) return broken("it is not offered");
        leg->leg->accepted = true;
        note(*leg->grant, fmt::format("accepted by {} on {}", r.host.text, r.device.text));
        return {};
    }

    Result<void> operator()(const GrantActive& r) {
        Grant* grant = find(r.id);
        if (!grant) return broken("no such grant");
        if (grant->released || !grant->failure.empty()) return broken("it is being given back");
        for (const auto& [key, leg] : grant->legs)
            if (leg.phase != LegPhase::offering || !leg.accepted)
                return broken(key.first.text + " has not accepted it");
        grant->was_active = true;
        note(*grant, "active");
        return {};
    }

    Result<void> operator()(const GrantReleased& r) {
        Grant* grant = find(r.id);
        if (!grant) return broken("no such grant");
        if (grant->released) return broken("it is released already");
        grant->released = true;
        note(*grant, "release asked");
        return {};
    }

    Result<void> operator()(const ReturnStarted& r) {
        auto leg = find_leg(r.id, r.host, r.device);
        if (!leg) return std::unexpected(leg.error());
        if (!leg->grant->released) return broken("the grant is not released");
        if (leg->leg->phase != LegPhase::offering) return broken("it is not offered");
        leg->leg->phase = LegPhase::returning;
        note(*leg->grant, fmt::format("{} asked to return it on {}", r.host.text, r.device.text));
        return {};
    }

    Result<void> operator()(const Returned& r) {
        auto leg = find_leg(r.id, r.host, r.device);
        if (!leg) return std::unexpected(leg.error());
        if (!leg->grant->released) return broken("the grant is not released");
        if (leg->leg->phase == LegPhase::idle) return broken("it is not offered");
        *leg->leg = {};
        note(*leg->grant, fmt::format("returned by {} on {}", r.host.text, r.device.text));
        return {};
    }

    Result<void> operator()(const GrantFailed& r) {
        Grant* grant = find(r.id);
        if (!grant) return broken("no such grant");
        if (grant->released || !grant->failure.empty()) return broken("it failed or went already");
        grant->failure = r.reason;
        note(*grant, "failed");
        return {};
    }

    Result<void> operator()(const GrantGone& r) {
        Grant* grant = find(r.id);
        if (!grant) return broken("no such grant");
        if (!grant->released) return broken("it is not released");
        for (const auto& [key, leg] : grant->legs)
            if (leg.phase != LegPhase::idle) return broken(key.first.text + " still holds it");
        for (const Extent& extent : grant->extents)
            if (!pool_.devices.at(extent.device).clean.contains(extent.range))
                return broken(describe(extent) + " is not scrubbed");
        pool_.grants.erase(r.id);
        return {};
    }

    Result<void> operator()(const ScrubStarted& r) { return scrub(r.extent, 0); }
    Result<void> operator()(const ScrubDone& r) {
        if (r.bytes_read != r.extent.range.length) return broken("not every byte was read back");
        return scrub(r.extent, r.bytes_read);
    }

    Result<void> operator()(const ForeignSeen& r) {
        const auto device = pool_.devices.find(r.extent.device);
        if (device == pool_.devices.end() || r.extent.range.end() > device->second.size ||
            r.extent.range.end() < r.extent.range.dpa)
            return broken("outside of the device");
        device->second.clean.subtract(r.extent.range);
        if (alive(r.host)) device->second.held[r.host].add(r.extent.range);
        return {};
    }

  private:
    struct Found {
        Grant* grant;
        Leg* leg;
    };

    std::unexpected<Error> broken(std::string_view why) const {
        return fail(Code::storage,
                    fmt::format("journal record \"{}\": {}", describe(record_), why));
    }

    // The host if its latest instance may still be running, else null.
    HostRecord* alive(const HostName& name) {
        const auto host = pool_.hosts.find(name);
        const bool lives =
            host != pool_.hosts.end() && !host->second.instance.empty() && !host->second.dead;
        return lives ? &host->second : nullptr;
    }

    Grant* find(GrantId id) {
        const auto it = pool_.grants.find(id);
        return it == pool_.grants.end() ? nullptr : &it->second;
    }

    Result<Found> find_leg(GrantId id, const HostName& host, const DeviceName& device) {
        Grant* grant = find(id);
        if (!grant) return broken("no such grant");
        const auto leg = grant->legs.find({host, device});
        if (leg == grant->legs.end()) return broken("the grant has no such host or device");
        return Found{grant, &leg->second};
    }

    // `bytes` 0: started; else done.
    Result<void> scrub(const Extent& extent, Bytes bytes) {
        const auto device = pool_.devices.find(extent.device);
        if (device == pool_.devices.end()) return broken("unknown device");
        if (extent.range.length == 0 || extent.range.end() > device->second.size)
            return broken("outside of the device");
        for (auto& [id, grant] : pool_.grants)
            for (const auto& [key, leg] : grant.legs)
                if (leg.phase != LegPhase::idle && key.second == extent.device)
                    for (const Range& range : grant.ranges_on(extent.device))
                        if (range.overlaps(extent.range))
                            return broken(key.first.text + " may still reach it");
        if (bytes > 0) {
            device->second.clean.add(extent.range);
            for (auto& [host, held] : device->second.held) held.subtract(extent.range);
            std::erase_if(device->second.held, [](const auto& h) { return h.second.empty(); });
        }
        for (auto& [id, grant] : pool_.grants)
            for (const Range& range : grant.ranges_on(extent.device))
                if (range.overlaps(extent.range)) {
                    note(grant, bytes > 0 ? "scrubbed" : "scrub started");
                    break;
                }
        return {};
    }

    void hold_all_dirty(const HostName& host) {
        for (auto& [name, device] : pool_.devices) {
            RangeSet dirty(Range{0, device.size});
            dirty.subtract(device.clean);
            if (!dirty.empty()) device.held[host].add(dirty);
        }
    }

    // A named limit on what one grant remembers: a host that flaps for years must not fill the
    // memory.
    static constexpr std::size_t most_notes = 64;
    void note(Grant& grant, std::string what) {
        if (grant.timeline.size() >= most_notes)
            grant.timeline.erase(grant.timeline.begin() + most_notes / 2);
        grant.timeline.push_back({std::move(what), record_.time_us});
    }

    Pool& pool_;
    const Record& record_;
};

}  // namespace

Result<void> apply(Pool& pool, const Record& record) {
    if (record.seq.value != pool.last_seq.value + 1)
        return fail(Code::storage,
                    fmt::format("journal record {} follows record {}: one is missing",
                                record.seq.value, pool.last_seq.value));
    if (auto done = std::visit(Applier(pool, record), record.body); !done) return done;
    pool.last_seq = record.seq;
    return {};
}

}  // namespace cxlpool
