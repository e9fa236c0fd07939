// SPDX-License-Identifier: Apache-2.0
// The two calls of poold (docs/API.md), each host on a socket of its own. Pure: request → HostCall,
// or why not. Who asks is known from the socket; nothing in a message is believed about it.
#pragma once

#include <variant>

#include "server/request.h"

namespace cxlpool {

inline constexpr std::uint64_t most_host_wait_s = 30;

struct TakeReport {
    wire::ReportMessage message;
};

// The desired list, at once when its revision is not `after`, else when it changes or after the
// wait (204).
struct AskDesired {
    std::uint64_t after = 0;
    Millis wait_ms = 0;
};

using HostCall = std::variant<TakeReport, AskDesired>;

Routed<HostCall> route_host(const HostName& host, const Request& request);

}  // namespace cxlpool
