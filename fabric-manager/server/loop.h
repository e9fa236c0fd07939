// SPDX-License-Identifier: Apache-2.0
// The one thread of fmd: carries out the calls of both APIs on the engine, plans its batches,
// ticks, and wakes those who wait when something changed. It owns no state of the pool.
#pragma once

#include <boost/asio/io_context.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "server/engine.h"
#include "server/http_limits.h"
#include "server/unix_socket.h"

namespace cxlpool {

// A backend that lives on the loop's time instead of its own (sim).
struct DrivenBackend {
    std::function<void(Millis now)> advance;
    std::function<std::optional<Millis>()> next_event;
};

struct LoopOptions {
    std::string fabric_name;
    std::string backend_name;
    HttpLimits api_limits;
    HttpLimits host_limits;
    std::optional<DrivenBackend> driven;
};

class Loop {
  public:
    static constexpr Millis tick_ms = 100;

    Loop(boost::asio::io_context& io, Engine& engine, Pause& pause, LoopOptions options);
    ~Loop();

    void serve_api(UnixListener& listener);
    void serve_host(const HostName& host, UnixListener& listener);

    // Until SIGTERM or SIGINT (nothing), or until the journal fails (why).
    Result<void> run();

    static Now now();  // fmd's clock: ms since it was first read, and the wall clock

  private:
    struct State;
    std::shared_ptr<State> state_;
};

}  // namespace cxlpool
