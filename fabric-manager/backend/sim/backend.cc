// SPDX-License-Identifier: Apache-2.0
#include "backend/sim/backend.h"

#include <fmt/format.h>

#include <random>
#include <utility>

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
    const auto found = world_->hosts().find(host);
    if (found == world_->hosts().end() || found->second->instance() != instance) {
        dead_.push_back({host, instance});
    }
}

void SimBackend::run(Sink sink) {
    sink_ = std::move(sink);
    world_->manager_found();
}

void SimBackend::start_command(const Command& command) { world_->start_command(command); }

void SimBackend::advance(Millis now) {
    for (const HostDied& died : std::exchange(dead_, {})) {
        if (sink_) sink_(died);
    }
    world_->notice_desired();
    for (const Input& input : world_->advance(now)) {
        if (sink_) sink_(input);
    }
    world_->notice_desired();
}

}  // namespace cxlpool::sim
