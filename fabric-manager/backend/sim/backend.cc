// SPDX-License-Identifier: Apache-2.0
#include "backend/sim/backend.h"

#include <fmt/format.h>

#include <random>

namespace cxlpool::sim {

namespace {

RackConfig with_run(RackConfig config) {
    if (config.run.empty()) config.run = fmt::format("{:06x}-", std::random_device{}() & 0xffffff);
    return config;
}

}  // namespace

SimBackend::SimBackend(RackConfig config)
    : world_(std::make_unique<SimWorld>(with_run(std::move(config)))) {}

Result<Fabric> SimBackend::open() { return world_->fabric(); }

void SimBackend::set_desired(std::function<Desired(const HostName&)> desired) {
    world_->desired = [desired = std::move(desired)](const HostName& host) {
        return std::optional<Desired>(desired(host));
    };
}

void SimBackend::expect(const HostName& host, const std::string& instance) {
    world_->expect(host, instance);
}

void SimBackend::run(Sink sink) {
    sink_ = std::move(sink);
    world_->manager_found();
}

void SimBackend::start_command(const Command& command) { world_->start_command(command); }

void SimBackend::advance(Millis now) {
    world_->notice_desired();
    for (const Input& input : world_->advance(now)) {
        if (sink_) sink_(input);
    }
    world_->notice_desired();
}

}  // namespace cxlpool::sim
