// SPDX-License-Identifier: Apache-2.0
// HTTP/1.1 over listening Unix sockets: reads requests, keeps connections open, guards the limits,
// and answers what never reaches a router (garbage, too large, too slow, too many). It knows no
// call.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>

#include "server/http_limits.h"
#include "server/request.h"

namespace cxlpool {

// What a handler may do with the connection while it waits for something to answer.
class Connection {
  public:
    virtual ~Connection() = default;
    // Until the timer expires or is cancelled (true), or the client has gone away (false).
    virtual boost::asio::awaitable<bool> wait(boost::asio::steady_timer& timer) = 0;
};

struct Handled {
    Response response;
    std::function<void()> sent;  // called when the answer was written to the socket; may be empty
};

using HttpHandler = std::function<boost::asio::awaitable<Handled>(Request, Connection&)>;

// Serves the listener until the io_context stops. `handler` is called on the io_context's thread.
void serve_http(boost::asio::io_context& io, int listening_fd, HttpLimits limits,
                HttpHandler handler);

}  // namespace cxlpool
