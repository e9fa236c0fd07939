// SPDX-License-Identifier: Apache-2.0
#include "server/host_api.h"

namespace cxlpool {
namespace {

std::unexpected<Refusal> refuse(Refusal refused) {
    return std::unexpected<Refusal>(std::move(refused));
}

Routed<HostCall> report(const HostName& host, const Request& request, Query& query) {
    if (const auto good = query.finish(); !good) return refuse(refusal(good.error()));
    auto message = wire::decode_report(host, request.body);
    if (!message) return refuse(refusal(message.error()));
    return HostCall(TakeReport{std::move(*message)});
}

Routed<HostCall> desired(Query& query) {
    AskDesired call;
    call.after = query.number("after", 0, UINT64_MAX);
    call.wait_ms = static_cast<Millis>(query.number("wait", 0, most_host_wait_s)) * 1000;
    if (const auto good = query.finish(); !good) return refuse(refusal(good.error()));
    return HostCall(call);
}

}  // namespace

Routed<HostCall> route_host(const HostName& host, const Request& request) {
    const Target target = split_target(request.target);
    const bool ours = target.path.size() == 2 && target.path[0] == "v1";
    Query query(target);
    if (ours && target.path[1] == "report") {
        if (request.method == "POST") return report(host, request, query);
        return refuse(wrong_method(request, "POST"));
    }
    if (ours && target.path[1] == "desired") {
        if (request.method == "GET") return desired(query);
        return refuse(wrong_method(request, "GET"));
    }
    return refuse(no_such_call(request));
}

}  // namespace cxlpool
