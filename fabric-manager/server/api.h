// SPDX-License-Identifier: Apache-2.0
// The REST API of fmctl: which call a request is (docs/API.md). Pure: request → Call, or why not.
// The loop carries calls out.
#pragma once

#include <string>
#include <variant>

#include "core/intent.h"
#include "server/request.h"

namespace cxlpool {

inline constexpr std::uint64_t most_wait_s = 60;            // of one long-poll; ask again for more
inline constexpr std::uint64_t most_events_asked = 10'000;  // of one answer

struct ShowFabric {};
struct ListHosts {};
struct ShowHost {
    HostName name;
};
struct ListGrants {};
struct ShowGrant {
    GrantName name;
};

// Answers when the grant is at rest (active, gone, failed, stuck), or after the time-out as it is
// then.
struct WaitGrant {
    GrantName name;
    Millis timeout_ms = 0;
};

// Events after number `after`, at most the last `limit` of them; waits for one when there is none.
struct ListEvents {
    std::uint64_t after = 0;
    Millis wait_ms = 0;
    std::size_t limit = 0;
};

// Something the manager decides.
struct Do {
    Intent intent;
    int success = 200;  // HTTP status when it says yes
};

using Call =
    std::variant<ShowFabric, ListHosts, ShowHost, ListGrants, ShowGrant, WaitGrant, ListEvents, Do>;

Routed<Call> route_api(const Request& request);

}  // namespace cxlpool
