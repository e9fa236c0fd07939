// SPDX-License-Identifier: Apache-2.0
#include "server/api.h"

#include <fmt/format.h>

namespace cxlpool {
namespace {

std::unexpected<Refusal> refuse(Refusal refused) {
    return std::unexpected<Refusal>(std::move(refused));
}
std::unexpected<Refusal> refuse(Error error) { return refuse(refusal(std::move(error))); }

// Ends the reading of a query: the call, or what is wrong with the query.
template <class T>
Routed<Call> finished(Query& query, T call) {
    if (const auto good = query.finish(); !good) return refuse(good.error());
    return Call(std::move(call));
}

Mode mode_of(Query& query) { return query.flag("dry_run") ? Mode::dry_run : Mode::real; }

Routed<Call> create(const Request& request, Query& query) {
    auto intent = wire::decode_create(request.body);
    if (!intent) return refuse(intent.error());
    const int success = intent->mode == Mode::dry_run ? 200 : 201;
    return finished(query, Do{std::move(*intent), success});
}

// A body would be a wish that is not read, such as {"dry_run": true}.
std::optional<Error> body_of_none(const Request& request) {
    if (request.body.empty()) return {};
    return Error{Code::invalid,
                 fmt::format("{} takes no body; what it knows is ?dry_run=1", request.method)};
}

Routed<Call> release(const Request& request, const GrantName& name, Query& query) {
    if (const auto wrong = body_of_none(request)) return refuse(*wrong);
    const Mode mode = mode_of(query);
    return finished(query, Do{ReleaseGrant{name, mode}, mode == Mode::dry_run ? 200 : 202});
}

Routed<Call> fence(const Request& request, const HostName& name, Query& query) {
    if (const auto wrong = body_of_none(request)) return refuse(*wrong);
    const Mode mode = mode_of(query);
    return finished(query, Do{FenceHost{name, mode}, mode == Mode::dry_run ? 200 : 202});
}

Routed<Call> wait(const GrantName& name, Query& query) {
    const std::string what = query.word("for", "settled");
    const auto seconds = query.number("timeout", most_wait_s, most_wait_s);
    if (what != "settled")
        return refuse(Error{Code::invalid, "the parameter for can only be settled"});
    return finished(query, WaitGrant{name, static_cast<Millis>(seconds) * 1000});
}

Routed<Call> events(Query& query) {
    ListEvents call;
    call.after = query.number("after", 0, UINT64_MAX);
    call.wait_ms = static_cast<Millis>(query.number("wait", 0, most_wait_s)) * 1000;
    call.limit = query.number("limit", 1000, most_events_asked);
    return finished(query, call);
}

// Calls below /v1/grants.
Routed<Call> route_grants(const Request& request, const Target& target) {
    const auto& [path, unused] = target;
    const std::string& method = request.method;
    Query query(target);
    if (path.size() == 2) {
        if (method == "GET") return finished(query, ListGrants{});
        if (method == "POST") return create(request, query);
        return refuse(wrong_method(request, "GET or POST"));
    }
    const auto name = parse_name("grant", path[2]);
    if (!name) return refuse(name.error());
    if (path.size() == 3) {
        if (method == "GET") return finished(query, ShowGrant{GrantName(*name)});
        if (method == "DELETE") return release(request, GrantName(*name), query);
        return refuse(wrong_method(request, "GET or DELETE"));
    }
    if (path.size() == 4 && path[3] == "wait") {
        if (method == "GET") return wait(GrantName(*name), query);
        return refuse(wrong_method(request, "GET"));
    }
    return refuse(no_such_call(request));
}

// Calls below /v1/hosts.
Routed<Call> route_hosts(const Request& request, const Target& target) {
    const auto& [path, unused] = target;
    Query query(target);
    if (path.size() == 4 && path[3] == "fence") {
        const auto name = parse_name("host", path[2]);
        if (!name) return refuse(name.error());
        if (request.method == "POST") return fence(request, HostName(*name), query);
        return refuse(wrong_method(request, "POST"));
    }
    if (path.size() > 3) return refuse(no_such_call(request));
    if (request.method != "GET") return refuse(wrong_method(request, "GET"));
    if (path.size() == 2) return finished(query, ListHosts{});
    const auto name = parse_name("host", path[2]);
    if (!name) return refuse(name.error());
    return finished(query, ShowHost{HostName(*name)});
}

}  // namespace

Routed<Call> route_api(const Request& request) {
    const Target target = split_target(request.target);
    const auto& path = target.path;
    if (path.size() < 2 || path[0] != "v1") return refuse(no_such_call(request));
    if (path[1] == "grants") return route_grants(request, target);
    if (path[1] == "hosts") return route_hosts(request, target);

    const bool single = path.size() == 2;
    const bool known = path[1] == "fabric" || path[1] == "events" || path[1] == "doctor";
    if (!single || !known) return refuse(no_such_call(request));
    if (request.method != "GET") return refuse(wrong_method(request, "GET"));
    Query query(target);
    if (path[1] == "fabric") return finished(query, ShowFabric{});
    if (path[1] == "doctor") return finished(query, Do{DoctorScan{}, 200});
    return events(query);
}

}  // namespace cxlpool
