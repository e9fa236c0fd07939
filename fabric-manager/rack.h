// SPDX-License-Identifier: Apache-2.0
// The lower half that the command line asks for: a backend with what it needs around it.
#pragma once

#include <sys/types.h>

#include <boost/asio/io_context.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "server/config.h"
#include "server/engine.h"
#include "server/loop.h"

namespace cxlpool {

// Where a host's agent reaches fmd: its own socket is its identity.
struct HostSocket {
    HostName host;
    std::string path;
    std::optional<uid_t> uid;  // who may connect; none: fmd's own user
};

using DesiredOf = std::function<Desired(const HostName&)>;

struct Rack {
    std::string name;  // for people
    std::unique_ptr<Backend> backend;
    std::vector<HostSocket> sockets;             // none with sim: its agents are simulated
    std::optional<DrivenBackend> driven;         // sim lives on the loop's time
    std::function<void(DesiredOf)> set_desired;  // what sim's agents ask for; empty with others

    // From now on the engine hears the backend. After Engine::replay(), since the journal tells
    // which machines are to be looked for.
    void connect(Engine& engine);
};

Result<Rack> open_rack(const Config& config, boost::asio::io_context& io);

}  // namespace cxlpool
