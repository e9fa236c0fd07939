// SPDX-License-Identifier: Apache-2.0
// What one listening socket takes from its clients.
#pragma once

#include <chrono>
#include <cstddef>

#include "server/wire.h"

namespace cxlpool {

struct HttpLimits {
    std::size_t connections = 256;
    std::size_t header_bytes = 8 * 1024;
    std::size_t body_bytes = wire::most_body_bytes;
    std::chrono::milliseconds idle{75'000};     // between two requests of one connection
    std::chrono::milliseconds request{10'000};  // from a request's first byte to its last
    std::chrono::milliseconds write{10'000};    // until the client has taken the answer
};

}  // namespace cxlpool
