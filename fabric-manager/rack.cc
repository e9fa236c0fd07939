// SPDX-License-Identifier: Apache-2.0
#include "rack.h"

#include <fmt/format.h>

#include <fstream>
#include <sstream>

#include "backend/fabric_file.h"
#include "backend/qmp/backend.h"
#include "backend/sim/backend.h"
#include "backend/sim/config.h"

namespace cxlpool {
namespace {

constexpr std::size_t most_fabric_bytes = 1 << 20;

Result<std::string> read_file(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    std::string text;
    if (file) {
        text.resize(most_fabric_bytes + 1);
        file.read(text.data(), static_cast<std::streamsize>(text.size()));
        text.resize(static_cast<std::size_t>(file.gcount()));
    }
    if (file.bad() || (!file.eof() && file.fail()) || !file.is_open())
        return fail(Code::not_found, fmt::format("cannot read the fabric file {}", path));
    if (text.size() > most_fabric_bytes)
        return fail(Code::invalid, fmt::format("the fabric file {} is larger than 1 MiB", path));
    return text;
}

Result<sim::RackConfig> sim_config(const std::string& fabric) {
    if (fabric.empty()) return sim::default_rack();
    const auto text = read_file(fabric);
    if (!text) return std::unexpected(text.error());
    auto config = sim::parse_rack(*text);
    if (!config) return fail(config.error().code, fabric + ": " + config.error().message);
    return config;
}

Result<Rack> open_sim(const Config& config) {
    auto rack_config = sim_config(config.fabric);
    if (!rack_config) return std::unexpected(rack_config.error());
    auto backend = std::make_unique<sim::SimBackend>(std::move(*rack_config));
    sim::SimBackend* sim = backend.get();
    Rack rack;
    rack.name = config.fabric.empty() ? "simulated rack" : config.fabric;
    rack.backend = std::move(backend);
    rack.driven = DrivenBackend{[sim](Millis now) { sim->advance(now); },
                                [sim] { return sim->next_event(); }};
    rack.set_desired = [sim](DesiredOf desired) { sim->set_desired(std::move(desired)); };
    return rack;
}

Result<Rack> open_qmp(const Config& config, boost::asio::io_context& io) {
    auto file = read_fabric_file(config.fabric);
    if (!file) return std::unexpected(file.error());
    Rack rack;
    rack.name = config.fabric;
    for (const FabricFile::Host& host : file->hosts)
        rack.sockets.push_back({host.name, host.socket, host.socket_uid});
    rack.backend = std::make_unique<QmpBackend>(
        io, std::move(*file), [](const std::string& text) { log(LogLevel::warning, text); });
    return rack;
}

}  // namespace

Result<Rack> open_rack(const Config& config, boost::asio::io_context& io) {
    return config.backend == "sim" ? open_sim(config) : open_qmp(config, io);
}

void Rack::connect(Engine& engine) {
    for (const auto& [host, known] : engine.manager().pool().hosts)
        if (!known.instance.empty() && !known.dead) backend->expect(host, known.instance);
    if (set_desired)
        set_desired([&engine](const HostName& host) { return engine.manager().desired(host); });
    backend->run([&engine](Input input) { engine.observe(std::move(input)); });
}

}  // namespace cxlpool
