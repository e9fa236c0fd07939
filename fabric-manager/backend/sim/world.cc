// SPDX-License-Identifier: Apache-2.0
#include "backend/sim/world.h"

#include <fmt/format.h>

#include <algorithm>

namespace cxlpool::sim {

RackConfig default_rack() {
    RackConfig rack;
    std::set<DeviceName> all;
    for (std::uint64_t serial = 1; serial <= 2; ++serial) {
        const DeviceName name{fmt::format("mem{}", serial - 1)};
        rack.fabric.devices[name] = {
            .serial = serial, .size = 4 * GiB, .block = 2 * MiB, .identity = "sim:" + name.text};
        all.insert(name);
    }
    for (const char* name : {"h1", "h2", "h3"}) rack.fabric.hosts[HostName{name}] = {all};
    return rack;
}

SimWorld::SimWorld(RackConfig config)
    : faults(config.faults), config_(std::move(config)), random_(config_.seed) {
    for (const auto& [name, spec] : config_.fabric.devices) {
        auto& device = devices_[name] = std::make_unique<SimDevice>(name, spec);
        if (config_.old_bytes) device->fill(kOldBytes);
    }
    for (const auto& [name, spec] : config_.fabric.hosts) {
        HostLinks links{timeline_, {}, {}, {}, {}, {}};
        for (const DeviceName& device : spec.devices)
            links.devices.push_back(devices_.at(device).get());
        links.send_report = [this](const HostReport& report) { send_report(report); };
        links.desired = [this](const HostName& who) {
            return manager_there_ && desired ? desired(who) : std::nullopt;
        };
        links.mark = [this](const SimDevice& device, const HostName& who, Range range) {
            if (owner) return owner(device, who, range);
            return Mark{1} + static_cast<Mark>(std::distance(hosts_.begin(), hosts_.find(who)));
        };
        links.tell = [this](const char* what, const HostName& who, const SimDevice& device,
                            Range range) {
            const std::string_view word = what;
            tell(word == "accepted"   ? Effect::Kind::accepted
                 : word == "rejected" ? Effect::Kind::rejected
                                      : Effect::Kind::returned,
                 who, device.name(), range);
        };
        auto behaves = config_.behaviour.find(name);
        auto& host = hosts_[name] = std::make_unique<SimHost>(
            name, behaves == config_.behaviour.end() ? Behaviour{} : behaves->second, config_.run,
            std::move(links));
        host->power_on(config_.booted ? 1 : host->behaviour.boot_ms);
    }
}

namespace {

HostUnreachable unreachable(const SimHost& host) {
    if (host.powered())
        return {host.name(), "its management socket does not answer", Silence::no_answer};
    return {host.name(), "nobody listens on its management socket", Silence::nobody_listens};
}

}  // namespace

// ---- lives of the manager ----

void SimWorld::manager_found() {
    manager_there_ = true;
    seen_rev_.clear();
    for (auto& [name, host] : hosts_) {
        if (host->powered() && !host->behaviour.unreachable) {
            deliver(1, HostUp{name, host->instance()});
        } else {
            deliver(1, unreachable(*host));
        }
        host->kick();
    }
}

// A process that ended while fmd was away is told from a live one by pid and start time.
void SimWorld::expect(const HostName& name, const std::string& instance) {
    const auto host = hosts_.find(name);
    const bool alive =
        host != hosts_.end() && host->second->powered() && host->second->instance() == instance;
    if (!alive) deliver(1, HostDied{name, instance});
}

void SimWorld::manager_lost() {
    for (const auto& [name, host] : hosts_) {
        if (random_.chance(500)) dropped_.insert({name, life_});
    }
    ++life_;
    manager_there_ = false;
    scrubbing_until_.clear();
    outbox_.clear();
}

void SimWorld::deliver(Millis delay, Input input) {
    timeline_.after(delay, [this, life = life_, input = std::move(input)] {
        if (life == life_ && manager_there_) outbox_.push_back(input);
    });
}

std::vector<Input> SimWorld::advance(Millis now) {
    timeline_.run_until(now);
    return std::exchange(outbox_, {});
}

void SimWorld::notice_desired() {
    if (!manager_there_ || !desired) return;
    for (auto& [name, host] : hosts_) {
        if (!host->up()) continue;
        const auto list = desired(name);
        if (!list) continue;
        auto [seen, first] = seen_rev_.try_emplace(name, list->rev);
        if (!first && seen->second == list->rev) continue;
        seen->second = list->rev;
        host->desired_moved();
    }
}

void SimWorld::send_report(const HostReport& report) {
    const bool late = random_.chance(faults.report_late);
    deliver(late ? random_.between(1, faults.slow_ms) : 1, report);
    if (random_.chance(faults.report_repeated)) deliver(random_.between(1, faults.slow_ms), report);
}

// ---- commands ----

SimWorld::Fate SimWorld::draw_fate() {
    if (random_.chance(faults.command_lost)) return Fate::lost;
    if (random_.chance(faults.command_refused)) return Fate::refused;
    if (random_.chance(faults.failed_with_effect)) return Fate::failed_with_effect;
    return Fate::fine;
}

void SimWorld::start_command(const Command& command) {
    if (const auto* scrub = std::get_if<Scrub>(&command.body)) return run_scrub(command, *scrub);
    if (const auto* fence = std::get_if<Fence>(&command.body)) return run_fence(command, *fence);
    const HostName host = std::visit(
        [](const auto& body) {
            if constexpr (requires { body.host; }) {
                return body.host;
            } else {
                return HostName{};
            }
        },
        command.body);
    run_on_host(command, host);
}

void SimWorld::run_on_host(const Command& command, const HostName& host) {
    const Fate fate = draw_fate();
    Millis delay = config_.offer_ms;
    if (random_.chance(faults.command_slow)) delay += random_.between(1, faults.slow_ms);
    Millis& busy = busy_until_[host];
    busy = std::max(busy, timeline_.now() + delay);
    if (fate == Fate::lost) return;
    const auto found = hosts_.find(host);
    const std::string machine = found == hosts_.end() ? "" : found->second->instance();
    timeline_.after(
        busy - timeline_.now(), [this, command, host, fate, found, machine, life = life_] {
            if (life != life_ && dropped_.contains({host, life})) return;
            // What was sent to a machine that has ended never reaches the next one.
            const bool there = found != hosts_.end() && found->second->powered() &&
                               found->second->instance() == machine;
            Result<Answer> result = fail(
                Code::fabric, fmt::format("{}: its management socket does not answer", host.text));
            if (there && !found->second->behaviour.unreachable) {
                if (fate != Fate::refused) result = execute(command.body, host);
                if (fate != Fate::fine) {
                    result = fail(Code::fabric,
                                  fmt::format("{}: the device answered with an error", host.text));
                }
            }
            if (life == life_) complete(command, std::move(result));
        });
}

Result<Answer> SimWorld::execute(const CommandBody& body, const HostName& host) {
    if (const auto* add = std::get_if<AddCapacity>(&body)) {
        SimDevice& device = *devices_.at(add->device);
        std::vector<Range> news;
        for (const Range& range : add->extents) {
            if (!device.may_reach(host, range)) news.push_back(range);
        }
        if (auto ok = device.add(host, add->extents); !ok) return std::unexpected(ok.error());
        for (const Range& range : news) tell(Effect::Kind::offered, host, add->device, range);
        hosts_.at(host)->kick();
        return Answer{};
    }
    if (const auto* release = std::get_if<ReleaseCapacity>(&body)) {
        if (auto ok = devices_.at(release->device)->release(host, release->extents); !ok) {
            return std::unexpected(ok.error());
        }
        for (const Range& range : release->extents) {
            tell(Effect::Kind::release_asked, host, release->device, range);
        }
        hosts_.at(host)->kick();
        return Answer{};
    }
    const auto& ask = std::get<AskPresence>(body);
    std::vector<Presence> answer;
    for (const Range& range : ask.ranges) {
        answer.push_back(devices_.at(ask.device)->presence(host, range));
    }
    return Answer{answer};
}

// fmd erases pool memory itself, one range after the other on a device; the hosts have no part in
// it.
void SimWorld::run_scrub(const Command& command, const Scrub& scrub) {
    const bool broken = random_.chance(faults.scrub_failed);
    Millis delay = std::max<Millis>(
        1, config_.scrub_ms * static_cast<Millis>(scrub.extent.range.length / MiB) / 64);
    if (random_.chance(faults.scrub_slow)) delay += random_.between(1, faults.slow_ms);
    Millis& busy = scrubbing_until_[scrub.extent.device];
    busy = std::max(busy, timeline_.now()) + delay;
    tell(Effect::Kind::scrub_begun, {}, scrub.extent.device, scrub.extent.range);
    timeline_.after(
        busy - timeline_.now(), [this, command, extent = scrub.extent, broken, life = life_] {
            const auto device = devices_.find(extent.device);
            if (device == devices_.end()) return;
            Range erased = extent.range;
            if (life != life_ || broken) erased.length /= 2;
            device->second->erase(erased);
            if (life != life_) return;
            if (broken) {
                complete(command, fail(Code::fabric,
                                       fmt::format("{} reads back non-zero bytes after the scrub",
                                                   describe(extent))));
                return;
            }
            tell(Effect::Kind::scrubbed, {}, extent.device, extent.range);
            complete(command, Answer{ScrubReceipt{extent.range.length}});
        });
}

// The end of a process needs no help of the process: unreachable and hung hosts are fenced alike.
void SimWorld::run_fence(const Command& command, const Fence& fence) {
    if (draw_fate() == Fate::lost) return;
    timeline_.after(config_.offer_ms, [this, command, fence, life = life_] {
        const auto found = hosts_.find(fence.host);
        if (found == hosts_.end()) return;
        if (found->second->powered() && found->second->instance() == fence.instance) {
            kill(fence.host);
        } else {
            deliver(1, HostDied{fence.host, fence.instance});
        }
        if (life == life_) complete(command, Answer{});
    });
}

void SimWorld::complete(const Command& command, Result<Answer> result) {
    const Completion completion{command.op, std::move(result)};
    // Scrubs run in fmd itself: there is no way on which their completion could be lost.
    const bool own = std::holds_alternative<Scrub>(command.body);
    if (own || !random_.chance(faults.completion_lost)) {
        const bool late = random_.chance(faults.completion_late);
        deliver(late ? random_.between(1, faults.late_ms) : 1, completion);
    }
    if (random_.chance(faults.completion_repeated)) {
        deliver(random_.between(2, faults.late_ms), completion);
    }
}

// ---- hosts ----

void SimWorld::kill(const HostName& name) {
    SimHost& host = *hosts_.at(name);
    if (!host.powered()) return;
    const std::string instance = host.instance();
    host.power_off();
    tell(Effect::Kind::host_died, name, {}, {});
    deliver(1, HostDied{name, instance});
}

void SimWorld::reboot(const HostName& name, Millis boot_ms) {
    SimHost& host = *hosts_.at(name);
    if (!host.powered()) return;
    host.reboot(boot_ms);
    if (!host.behaviour.unreachable && random_.chance(700)) deliver(1, HostReset{name});
}

void SimWorld::start(const HostName& name) {
    SimHost& host = *hosts_.at(name);
    if (host.powered()) return;
    host.power_on(host.behaviour.boot_ms);
    tell(Effect::Kind::host_up, name, {}, {});
    if (!host.behaviour.unreachable) deliver(2, HostUp{name, host.instance()});
}

void SimWorld::set_reachable(const HostName& name, bool reachable) {
    SimHost& host = *hosts_.at(name);
    if (host.behaviour.unreachable != reachable) return;
    host.behaviour.unreachable = !reachable;
    if (!reachable) {
        deliver(1, unreachable(host));
    } else if (host.powered()) {
        deliver(1, HostUp{name, host.instance()});
    }
}

void SimWorld::add_foreign(const HostName& host, const DeviceName& device, Range range) {
    if (!devices_.at(device)->add(host, {range})) return;
    tell(Effect::Kind::foreign_added, host, device, range);
    hosts_.at(host)->kick();
}

void SimWorld::tell(Effect::Kind kind, HostName host, DeviceName device, Range range) const {
    if (on_effect) on_effect({kind, std::move(host), std::move(device), range});
}

std::string describe(const Effect& effect) {
    const char* word = "";
    switch (effect.kind) {
        case Effect::Kind::offered:
            word = "offered";
            break;
        case Effect::Kind::accepted:
            word = "accepted";
            break;
        case Effect::Kind::rejected:
            word = "rejected";
            break;
        case Effect::Kind::release_asked:
            word = "release-asked";
            break;
        case Effect::Kind::returned:
            word = "returned";
            break;
        case Effect::Kind::scrub_begun:
            word = "scrub-begun";
            break;
        case Effect::Kind::scrubbed:
            word = "scrubbed";
            break;
        case Effect::Kind::host_up:
            word = "host-up";
            break;
        case Effect::Kind::host_died:
            word = "host-died";
            break;
        case Effect::Kind::foreign_added:
            word = "foreign-added";
            break;
    }
    std::string text = word;
    if (!effect.host.text.empty()) text += " " + effect.host.text;
    if (!effect.device.text.empty()) {
        text += " " + cxlpool::describe(Extent{effect.device, effect.range});
    }
    return text;
}

}  // namespace cxlpool::sim
