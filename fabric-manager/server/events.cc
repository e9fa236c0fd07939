// SPDX-License-Identifier: Apache-2.0
#include "server/events.h"

#include <algorithm>

#include "core/describe.h"

namespace cxlpool {
namespace {

struct About {
    std::string kind;
    std::optional<GrantId> grant;
    std::string host;
};

template <class Body>
About about(const char* kind, const Body& body) {
    About out{.kind = kind, .grant = {}, .host = {}};
    if constexpr (requires { body.id; }) out.grant = body.id;
    if constexpr (requires { body.host; }) out.host = body.host.text;
    return out;
}

About about(const RecordBody& body) {
    struct Visitor {
        About operator()(const DeviceAdopted& b) { return about("device-adopted", b); }
        About operator()(const HostSeen& b) { return about("host-seen", b); }
        About operator()(const HostDead& b) { return about("host-dead", b); }
        About operator()(const FenceStarted& b) { return about("fence-started", b); }
        About operator()(const GrantCreated& b) { return about("grant-created", b); }
        About operator()(const OfferStarted& b) { return about("offer-started", b); }
        About operator()(const OfferTaken& b) { return about("offer-taken", b); }
        About operator()(const OfferAccepted& b) { return about("offer-accepted", b); }
        About operator()(const GrantActive& b) { return about("grant-active", b); }
        About operator()(const GrantReleased& b) { return about("grant-released", b); }
        About operator()(const ReturnStarted& b) { return about("return-started", b); }
        About operator()(const Returned& b) { return about("returned", b); }
        About operator()(const GrantFailed& b) { return about("grant-failed", b); }
        About operator()(const GrantGone& b) { return about("grant-gone", b); }
        About operator()(const ScrubStarted& b) { return about("scrub-started", b); }
        About operator()(const ScrubDone& b) { return about("scrub-done", b); }
        About operator()(const ForeignSeen& b) { return about("foreign-seen", b); }
    };
    return std::visit(Visitor{}, body);
}

}  // namespace

Result<void> EventLog::add(const Record& record) {
    const About what = about(record.body);
    // A grant is known after its first record and until its last.
    std::string text, grant;
    const auto describe_now = [&] {
        text = sentence(record, pool_);
        if (!what.grant) return;
        const auto found = pool_.grants.find(*what.grant);
        if (found != pool_.grants.end()) grant = found->second.name.text;
    };
    if (std::holds_alternative<GrantGone>(record.body)) describe_now();
    if (const auto applied = apply(pool_, record); !applied) return applied;
    if (text.empty()) describe_now();
    keep({0, record.time_us, what.kind, what.host, grant, text});
    return {};
}

void EventLog::add(const Event& event) {
    keep({0, event.time_us, event.kind, event.host, event.grant, event.text});
}

void EventLog::keep(wire::EventView event) {
    event.seq = ++last_;
    events_.push_back(std::move(event));
    if (events_.size() > most_kept) events_.pop_front();
}

std::vector<wire::EventView> EventLog::since(std::uint64_t after, std::size_t limit) const {
    auto begin = std::ranges::upper_bound(events_, after, {}, &wire::EventView::seq);
    const auto found = static_cast<std::size_t>(events_.end() - begin);
    if (found > limit) begin = events_.end() - static_cast<std::ptrdiff_t>(limit);
    return {begin, events_.end()};
}

}  // namespace cxlpool
