// SPDX-License-Identifier: Apache-2.0
// What users ask: judged, planned (a dry run) or recorded. Nothing is carried out here.
#include <fmt/format.h>

#include <algorithm>
#include <bit>

#include "core/beliefs.h"
#include "core/describe.h"
#include "core/placement.h"

namespace cxlpool {

void Manager::Impl::submit(const Submit& submit) {
    Plan plan;
    const auto answer = [&](auto result, Mode mode) {
        if (!result)
            out.replies.push_back({submit.ticket, std::unexpected(result.error())});
        else if (mode == Mode::dry_run)
            out.replies.push_back({submit.ticket, ReplyBody(std::move(plan))});
        else
            out.replies.push_back({submit.ticket, ReplyBody(std::move(*result))});
    };
    std::visit(
        [&](const auto& intent) {
            using T = std::decay_t<decltype(intent)>;
            if constexpr (std::is_same_v<T, DoctorScan>) {
                start_doctor(submit.ticket);
            } else {
                Plan* dry = intent.mode == Mode::dry_run ? &plan : nullptr;
                if constexpr (std::is_same_v<T, CreateGrant>)
                    answer(create(intent, dry), intent.mode);
                if constexpr (std::is_same_v<T, ReleaseGrant>)
                    answer(release(intent, dry), intent.mode);
                if constexpr (std::is_same_v<T, FenceHost>) answer(fence(intent, dry), intent.mode);
            }
        },
        submit.intent);
}

namespace {

std::string known_names(const auto& map) {
    std::string text;
    for (const auto& [name, value] : map) text += (text.empty() ? "" : ", ") + name.text;
    return text.empty() ? "none" : text;
}

}  // namespace

Result<std::vector<Extent>> Manager::Impl::judge_create(const CreateGrant& intent) const {
    if (intent.name) {
        if (auto good = parse_name("grant", intent.name->text); !good)
            return std::unexpected(good.error());
        if (const Grant* taken = pool.find(*intent.name)) {
            std::string reason, waits;
            return fail(
                Code::conflict,
                fmt::format("{} exists already ({}, {}): take another name, or release it first",
                            taken->name.text, name_of(state_of(*taken, reason, waits)),
                            describe_size(taken->size())));
        }
    }
    if (intent.hosts.empty()) return fail(Code::invalid, "a grant needs at least one host");
    std::set<HostName> unique;
    for (const HostName& host : intent.hosts) {
        if (!fabric.hosts.contains(host))
            return fail(Code::not_found, fmt::format("no host is named {}: there is {}", host.text,
                                                     known_names(fabric.hosts)));
        if (!unique.insert(host).second)
            return fail(Code::invalid, fmt::format("host {} is named twice", host.text));
    }
    if (intent.use == Use::ram && unique.size() > 1)
        return fail(
            Code::invalid,
            fmt::format("{} hosts cannot share a ram grant, since each kernel would manage the "
                        "same bytes as its own: use --as dax",
                        unique.size()));
    if (intent.size == 0) return fail(Code::invalid, "a grant of 0 bytes is none: ask for more");
    for (const HostName& host : unique)
        if (std::string why; !ready(host, &why)) return fail(Code::not_ready, why);

    PlaceRequest request;
    request.size = intent.size;
    request.use = intent.use;
    request.most_extents = limits.extents_per_group;
    request.avoid = foreign;
    for (const auto& [name, spec] : fabric.devices)
        if (std::ranges::all_of(unique, [&](const HostName& host) {
                return fabric.hosts.at(host).devices.contains(name);
            }))
            request.devices.push_back(name);
    if (request.devices.empty())
        return fail(Code::invalid, fmt::format("no device is attached to {}",
                                               unique.size() > 1 ? "all of these hosts"
                                                                 : intent.hosts.front().text));
    std::string left_out;  // why, device by device
    std::erase_if(request.devices, [&](const DeviceName& name) {
        for (const HostName& host : unique) {
            std::string why;
            const bool here = ready_on({host, name}, &why);
            if (here && (intent.use == Use::dax || reported_device(host, name)->hpa != 0)) continue;
            if (here) why = fmt::format("{} has no CXL window for {}", host.text, name.text);
            left_out += (left_out.empty() ? "" : "; ") + why;
            return true;
        }
        return false;
    });
    if (request.devices.empty()) return fail(Code::not_ready, left_out);
    for (const DeviceName& name : request.devices)
        request.unit = std::max(request.unit, device(name).block);
    std::string unit_name = "the DC block";
    if (intent.use == Use::ram) {
        const HostReport& report = *hosts.at(intent.hosts.front()).report;
        // A report is somebody's word: nothing it says may lead to a placement that is not whole DC
        // blocks.
        if (!std::has_single_bit(report.memory_block) || report.memory_block > TiB)
            return fail(Code::not_ready,
                        fmt::format("{} says that its memory block is {} bytes, which cannot be",
                                    report.host.text, report.memory_block));
        if (report.online_policy != "offline" && report.online_policy != "online_movable")
            return fail(
                Code::not_ready,
                fmt::format("{}: new memory would be onlined as \"{}\" and could never be taken "
                            "back; boot it with memhp_default_state=offline",
                            report.host.text, report.online_policy));
        request.unit = std::max(request.unit, report.memory_block);
        unit_name = "its memory block";
        for (const ReportedDevice& dev : report.devices)
            for (const DeviceName& name : request.devices) {
                if (device(name).serial != dev.serial) continue;
                // dpa ≡ offset (mod unit) puts hpa + dpa - region_base on a memory block.
                const Bytes offset =
                    (request.unit - (dev.hpa - dev.region_base) % request.unit) % request.unit;
                if (offset % device(name).block != 0)
                    return fail(
                        Code::not_ready,
                        fmt::format("{} says that {} begins at HPA {:#x}, which is not on a DC "
                                    "block of {}",
                                    report.host.text, name.text, dev.hpa,
                                    describe_size(device(name).block)));
                request.offset[name] = offset;
            }
    }
    if (intent.size % request.unit != 0) {
        const Bytes up = (intent.size / request.unit + 1) * request.unit;
        const bool fits = up > intent.size;  // no overflow
        return fail(Code::invalid,
                    fmt::format("{}: {} takes multiples of {} ({}){}", describe_size(intent.size),
                                intent.hosts.front().text, describe_size(request.unit), unit_name,
                                fits ? fmt::format("; ask for {}", short_size(up)) : ""));
    }
    auto placed = place(pool, request);
    if (!placed && !left_out.empty())
        return fail(placed.error().code, fmt::format("{} ({})", placed.error().message, left_out));
    return placed;
}

Result<GrantView> Manager::Impl::create(const CreateGrant& intent, Plan* plan) {
    auto extents = judge_create(intent);
    if (!extents) return std::unexpected(extents.error());
    GrantName name;
    if (intent.name)
        name = *intent.name;
    else
        for (int i = 1; name.text.empty() || pool.find(name); ++i)
            name = GrantName(fmt::format("g{}", i));
    std::vector<HostName> sorted = intent.hosts;
    std::ranges::sort(sorted);
    if (plan) {
        plan->grant = name;
        plan->extents = *extents;
        plan->steps.push_back(
            fmt::format("journal {} for {}", name.text, describe_size(intent.size)));
        for (const Extent& extent : *extents)
            if (!pool.devices.at(extent.device).clean.contains(extent.range))
                plan->steps.push_back(fmt::format("scrub {}", describe(extent)));
        for (const HostName& host : sorted)
            for (const Extent& extent : *extents)
                plan->steps.push_back(fmt::format("offer {} to {}", describe(extent), host.text));
        for (const HostName& host : sorted)
            plan->steps.push_back(intent.use == Use::ram
                                      ? fmt::format("{} onlines it as movable memory", host.text)
                                      : fmt::format("{} makes a dax device of it", host.text));
        return GrantView{};
    }
    const GrantId id{pool.last_grant.value + 1};
    record(GrantCreated{id, name, sorted, intent.use, *extents});
    undurable.emplace_back(pool.last_seq, id);
    waiting_since[id] = now.mono_ms;
    gone.erase(name);
    return view(pool.grants.at(id));
}

Result<GrantView> Manager::Impl::release(const ReleaseGrant& intent, Plan* plan) {
    const Grant* grant = pool.find(intent.name);
    if (!grant) return fail(Code::not_found, fmt::format("no grant is named {}", intent.name.text));
    if (grant->released)
        return fail(Code::conflict, fmt::format("{} is being released already", grant->name.text));
    if (plan) {
        plan->grant = grant->name;
        plan->extents = grant->extents;
        for (const auto& [key, leg] : grant->legs) {
            if (leg.phase == LegPhase::idle) continue;
            plan->steps.push_back(fmt::format("{} empties and unplugs its part of {}",
                                              key.first.text, key.second.text));
            plan->steps.push_back(
                fmt::format("{} takes it back from {} and is asked whether it is gone",
                            key.second.text, key.first.text));
        }
        for (const Extent& extent : grant->extents)
            plan->steps.push_back(fmt::format("scrub {}", describe(extent)));
        return GrantView{};
    }
    const GrantId id = grant->id;
    record(GrantReleased{id});
    waiting_since[id] = now.mono_ms;
    return view(pool.grants.at(id));
}

Result<HostView> Manager::Impl::fence(const FenceHost& intent, Plan* plan) {
    if (!fabric.hosts.contains(intent.host))
        return fail(Code::not_found, fmt::format("no host is named {}: there is {}",
                                                 intent.host.text, known_names(fabric.hosts)));
    if (!alive(intent.host))
        return fail(Code::conflict,
                    fmt::format("the machine of {} is not running: there is nothing to "
                                "fence",
                                intent.host.text));
    const HostRecord& host = pool.hosts.at(intent.host);
    if (plan) {
        plan->steps.push_back(
            fmt::format("end the machine of {} ({}), and with it all its access to "
                        "pooled memory",
                        intent.host.text, host.instance));
        for (const auto& [id, grant] : pool.grants)
            for (const auto& [key, leg] : grant.legs)
                if (key.first == intent.host && leg.phase != LegPhase::idle)
                    plan->steps.push_back(fmt::format("what {} holds of {} on {} is lost to it",
                                                      intent.host.text, grant.name.text,
                                                      key.second.text));
        return HostView{};
    }
    if (!host.fence_asked) record(FenceStarted{intent.host, host.instance});
    return view_host(intent.host);
}

}  // namespace cxlpool
