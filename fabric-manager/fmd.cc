// SPDX-License-Identifier: Apache-2.0
// fmd, the fabric manager daemon: puts the parts together, from the bottom up, and runs them.
#include <fmt/format.h>
#include <sys/resource.h>

#include <boost/asio/io_context.hpp>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <optional>

#include "core/manager.h"
#include "rack.h"
#include "server/config.h"
#include "server/engine.h"
#include "server/log.h"
#include "server/loop.h"
#include "server/notify.h"
#include "server/unix_socket.h"
#include "store/memory_store.h"
#include "store/sqlite_store.h"

namespace cxlpool {
namespace {

constexpr int exit_refused = 1;
constexpr int exit_journal_failed = 3;

int refuse(const Error& error) {
    log(LogLevel::error, error.message);
    return exit_refused;
}

Result<std::unique_ptr<Store>> open_store(const std::string& path) {
    if (path == memory_state) return std::make_unique<MemoryStore>();
    return SqliteStore::open(std::filesystem::absolute(path));
}

Result<std::vector<UnixListener>> listen_for_hosts(const Rack& rack) {
    std::vector<UnixListener> listeners;
    for (const HostSocket& host : rack.sockets) {
        auto listener =
            UnixListener::listen(host.path, {.mode = 0600, .owner = host.uid, .group = {}});
        if (!listener) return std::unexpected(listener.error());
        listeners.push_back(std::move(*listener));
    }
    return listeners;
}

Result<UnixListener> listen_for_fmctl(const Config& config) {
    SocketAccess access{.mode = 0660, .owner = {}, .group = {}};
    if (!config.group.empty()) access.group = *group_id(config.group);
    return UnixListener::listen(config.socket, access);
}

// Where fmd is spoken to. Who connects before fmd is ready waits in the kernel until it is.
struct Doors {
    UnixListener api;
    std::vector<UnixListener> hosts;  // as rack.sockets
};

Result<Doors> open_doors(const Config& config, const Rack& rack) {
    auto api = listen_for_fmctl(config);
    if (!api) return std::unexpected(api.error());
    auto hosts = listen_for_hosts(rack);
    if (!hosts) return std::unexpected(hosts.error());
    return Doors{std::move(*api), std::move(*hosts)};
}

int run(const Config& config) {
    if (config.state.empty()) return refuse({Code::invalid, "--state is empty: name a file"});
    boost::asio::io_context io(1);
    Pause pause(config.pause_at);

    auto rack = open_rack(config, io);
    if (!rack) return refuse(rack.error());
    const auto fabric = rack->backend->open();
    if (!fabric) return refuse(fabric.error());
    if (fabric->devices.empty() || fabric->hosts.empty())
        return refuse(
            {Code::invalid, fmt::format("{} names {} devices and {} hosts: there must be one of "
                                        "each at least",
                                        rack->name, fabric->devices.size(), fabric->hosts.size())});
    if (config.check && config.state != memory_state && !std::filesystem::exists(config.state))
        return refuse(
            {Code::not_found, fmt::format("there is no state file {} to check", config.state)});
    // Before the state, so that a start that is refused leaves no journal behind.
    std::optional<Doors> doors;
    if (!config.check) {
        auto opened = open_doors(config, *rack);
        if (!opened) return refuse(opened.error());
        doors.emplace(std::move(*opened));
    }
    const auto store = open_store(config.state);
    if (!store) return refuse(store.error());
    Engine engine(Manager(*fabric, config.limits), **store, *rack->backend, Loop::now, pause);

    if (const auto replayed = engine.replay(); !replayed) return refuse(replayed.error());
    if (config.check) {
        const auto good = engine.check();
        if (!good) return refuse(good.error());
        fmt::print("fmd: {} and {} are good: {} records, {} devices, {} hosts\n", config.state,
                   rack->name, engine.records(), fabric->devices.size(), fabric->hosts.size());
        return 0;
    }

    rack->connect(engine);
    if (const auto started = engine.start(); !started) return refuse(started.error());

    Loop loop(io, engine, pause,
              {rack->name, config.backend, {}, {.connections = 16}, rack->driven});
    loop.serve_api(doors->api);
    for (std::size_t i = 0; i < doors->hosts.size(); ++i)
        loop.serve_host(rack->sockets[i].host, doors->hosts[i]);

    log(LogLevel::info,
        fmt::format("ready: state {} ({} records), backend {}, {} devices, {} hosts, "
                    "socket {}",
                    config.state, engine.records(), config.backend, fabric->devices.size(),
                    fabric->hosts.size(), config.socket));
    notify_systemd("READY=1");
    const auto outcome = loop.run();
    notify_systemd("STOPPING=1");
    if (outcome) return 0;
    log(LogLevel::error, outcome.error().message + "; nothing more is acknowledged, fmd exits");
    return exit_journal_failed;
}

// Every kept-open connection is a descriptor: as many as the machine allows.
void raise_descriptor_limit() {
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
    limit.rlim_cur = limit.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &limit);
}

}  // namespace
}  // namespace cxlpool

int main(int argc, char** argv) {
    const auto invocation = cxlpool::parse_command_line(argc, argv);
    if (!invocation.config) {
        std::fputs(invocation.text.c_str(), invocation.exit_code ? stderr : stdout);
        return invocation.exit_code;
    }
    std::signal(SIGPIPE, SIG_IGN);
    std::signal(SIGXFSZ, SIG_IGN);  // a file-size limit is a failed write like any other
    cxlpool::raise_descriptor_limit();
    cxlpool::set_log_level(invocation.config->log_level);
    return cxlpool::run(*invocation.config);
}
