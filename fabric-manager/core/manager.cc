// SPDX-License-Identifier: Apache-2.0
// The face of the manager, and the small parts that its files share. What an input changes stands
// in observations.cc and intents.cc; what follows from it is decided in reconcile.cc alone.
#include "core/manager.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/beliefs.h"
#include "core/describe.h"

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

Result<void> Manager::judge(const HostReport& report) const { return impl_->judge(report); }
const Pool& Manager::pool() const { return impl_->pool; }
std::uint64_t Manager::revision() const { return impl_->revision; }

Desired Manager::desired(const HostName& host) const {
    const auto found = impl_->desired.find(host);
    return found == impl_->desired.end() ? Desired{} : found->second;
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

}  // namespace cxlpool
