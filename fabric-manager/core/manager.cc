// SPDX-License-Identifier: Apache-2.0
// Input by input: what each one changes. What follows from it is decided in reconcile.cc alone.
#include "core/manager.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>

#include "core/beliefs.h"
#include "core/describe.h"
#include "core/placement.h"

namespace cxlpool {

Manager::Manager(Fabric fabric, Limits limits) : impl_(std::make_unique<Impl>()) {
    impl_->fabric = std::move(fabric);
    impl_->limits = limits;
    for (const auto& [name, spec] : impl_->fabric.hosts) impl_->hosts[name];
}
Manager::~Manager() = default;
Manager::Manager(Manager&&) noexcept = default;
Manager& Manager::operator=(Manager&&) noexcept = default;

Result<void> Manager::replay(const Record& record) { return apply(impl_->pool, record); }

namespace {

Result<void> same_device(const DeviceName& name, const DeviceState& journal,
                         const DeviceSpec& spec) {
    const auto differs = [&](std::string_view what, const auto& was, const auto& is) {
        return fail(
            Code::conflict,
            fmt::format("{}: the journal knows it with {} {}, the fabric file with {}: put the "
                        "old device back, or begin with an empty --state",
                        name.text, what, was, is));
    };
    if (journal.serial != spec.serial) return differs("serial", journal.serial, spec.serial);
    if (journal.size != spec.size)
        return differs("size", describe_size(journal.size), describe_size(spec.size));
    if (journal.block != spec.block)
        return differs("DC block", describe_size(journal.block), describe_size(spec.block));
    if (journal.identity != spec.identity)
        return differs("identity", journal.identity, spec.identity);
    return {};
}

}  // namespace

Result<Output> Manager::start(Now now) {
    Impl& m = *impl_;
    m.now = now;
    m.out = {};
    for (const auto& [name, state] : m.pool.devices) {
        const auto spec = m.fabric.devices.find(name);
        if (spec == m.fabric.devices.end()) {
            if (!m.pool.granted(name).empty())
                return fail(
                    Code::conflict,
                    fmt::format("the journal has grants on {}, which the fabric file does not "
                                "name: add it, or begin with an empty --state",
                                name.text));
            continue;
        }
        if (auto same = same_device(name, state, spec->second); !same)
            return std::unexpected(same.error());
    }
    for (const auto& [id, grant] : m.pool.grants)
        for (const auto& [key, leg] : grant.legs) {
            const auto host = m.fabric.hosts.find(key.first);
            if (host == m.fabric.hosts.end() || !host->second.devices.contains(key.second))
                return fail(
                    Code::conflict,
                    fmt::format("{} holds {} on {}, which the fabric file does not attach to "
                                "it: add it, or begin with an empty --state",
                                key.first.text, grant.name.text, key.second.text));
        }
    // The journal does not know who was attached to what, so only a host that is gone from the file
    // is noticed.
    for (const auto& [name, state] : m.pool.devices)
        for (const auto& [host, held] : state.held)
            if (!held.empty() && m.alive(host) && !m.fabric.hosts.contains(host) &&
                m.fabric.devices.contains(name))
                return fail(
                    Code::conflict,
                    fmt::format(
                        "{} may still reach {} of {} and is not in the fabric file any more: "
                        "keep it there until its machine has ended or {} is scrubbed",
                        host.text, describe_size(held.bytes()), name.text, name.text));
    for (const auto& [name, spec] : m.fabric.devices)
        if (!m.pool.devices.contains(name))
            m.record(DeviceAdopted{name, spec.serial, spec.size, spec.block, spec.identity});
    // A host must see that its list may differ from what an earlier life of fmd told it.
    for (const auto& [name, spec] : m.fabric.hosts)
        m.desired[name].rev = static_cast<std::uint64_t>(now.wall_us);
    for (const auto& [id, grant] : m.pool.grants)
        if (grant.released || !grant.was_active) m.waiting_since[id] = now.mono_ms;
    m.reconcile();
    return std::move(m.out);
}

Output Manager::step(const Input& input, Now now) {
    Impl& m = *impl_;
    // Time never runs backward for the state, whatever the caller's clock does.
    m.now = {std::max(m.now.mono_ms, now.mono_ms), now.wall_us};
    m.out = {};
    std::visit(
        [&](const auto& body) {
            using T = std::decay_t<decltype(body)>;
            if constexpr (std::is_same_v<T, Submit>) m.submit(body);
            if constexpr (std::is_same_v<T, Completion>) m.complete(body);
            if constexpr (std::is_same_v<T, HostUp>) m.host_up(body);
            if constexpr (std::is_same_v<T, HostDied>) m.host_died(body);
            if constexpr (std::is_same_v<T, HostUnreachable>) m.host_unreachable(body);
            if constexpr (std::is_same_v<T, HostReset>) m.host_reset(body);
            if constexpr (std::is_same_v<T, HostReport>) m.host_report(body);
            if constexpr (std::is_same_v<T, Durable>)
                std::erase_if(m.undurable, [&](const auto& made) {
                    if (made.first > body.seq) return false;
                    m.mark(made.second, "journaled");
                    return true;
                });
        },
        input);
    m.reconcile();
    return std::move(m.out);
}

// ---- small parts ----

void Manager::Impl::record(RecordBody body) {
    Record record{Seq{pool.last_seq.value + 1}, now.wall_us, std::move(body)};
    const auto applied = apply(pool, record);
    if (!applied) std::fprintf(stderr, "%s\n", applied.error().message.c_str());
    CXLPOOL_CHECK(applied.has_value());
    out.records.push_back(std::move(record));
    ++revision;
}

OpId Manager::Impl::command(CommandBody body, InFlight op) {
    const OpId id{++last_op};
    op.body = body;
    op.started = now.mono_ms;
    in_flight.emplace(id, std::move(op));
    out.commands.push_back({id, std::move(body)});
    ++revision;
    return id;
}

void Manager::Impl::event(std::string kind, const HostName& host, const GrantName& grant,
                          std::string text) {
    out.events.push_back({now.wall_us, std::move(kind), host.text, grant.text, std::move(text)});
    ++revision;
}

void Manager::Impl::warn_once(const std::string& key, const HostName& host, const GrantName& grant,
                              std::string text) {
    constexpr std::size_t most_said = 10'000;
    if (said.size() >= most_said) said.clear();
    if (said.insert(key + '\n' + host.text + '\n' + text).second)
        event(key, host, grant, std::move(text));
}

void Manager::Impl::mark(GrantId grant, std::string what) {
    auto& dates = marks[grant];
    if (dates.size() < 64) dates.push_back({std::move(what), now.wall_us});
    ++revision;
}

bool Manager::Impl::alive(const HostName& name) const {
    const auto host = pool.hosts.find(name);
    return host != pool.hosts.end() && !host->second.instance.empty() && !host->second.dead;
}

const ReportedExtent* Manager::Impl::reported(const HostName& host, const Extent& extent) const {
    const auto belief = hosts.find(host);
    if (belief == hosts.end() || !belief->second.report) return nullptr;
    const std::uint64_t serial = device(extent.device).serial;
    for (const ReportedDevice& dev : belief->second.report->devices)
        if (dev.serial == serial)
            for (const ReportedExtent& seen : dev.extents)
                if (seen.range == extent.range) return &seen;
    return nullptr;
}

bool Manager::Impl::report_is_fresh(const HostName& name) const {
    const HostBelief& host = hosts.at(name);
    return host.report && now.mono_ms - host.report_at <= limits.silent_ms;
}

bool LegBelief::all(Presence what) const {
    return !presence.empty() &&
           std::ranges::all_of(presence, [&](Presence p) { return p == what; });
}

bool LegBelief::any(Presence what) const {
    if (presence.empty()) return what == Presence::unknown;
    return std::ranges::any_of(presence, [&](Presence p) { return p == what; });
}

// ---- what the lower half says ----

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

// ---- what users ask ----

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

// ---- the public face ----

Result<void> Manager::judge(const HostReport& report) const { return impl_->judge(report); }
const Pool& Manager::pool() const { return impl_->pool; }
std::uint64_t Manager::revision() const { return impl_->revision; }

Desired Manager::desired(const HostName& host) const {
    const auto found = impl_->desired.find(host);
    return found == impl_->desired.end() ? Desired{} : found->second;
}

}  // namespace cxlpool
