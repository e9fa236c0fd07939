// SPDX-License-Identifier: Apache-2.0
#include "swarm.h"

#include <fmt/format.h>

#include <vector>

namespace cxlpool::fmsim {

using sim::Behaviour;
using sim::Random;

namespace {

// Small devices with large counts of everything: conflicts are what the run is for.
sim::RackConfig draw_rack(Random& random) {
    sim::RackConfig rack;
    const std::uint64_t devices = 1 + random.below(3);
    const std::uint64_t hosts = 2 + random.below(3);
    for (std::uint64_t i = 0; i < devices; ++i) {
        rack.fabric.devices[DeviceName{fmt::format("mem{}", i)}] = {
            .serial = i + 1,
            .size = (8 + random.below(25)) * 8 * MiB,
            .block = 2 * MiB,
            .identity = fmt::format("sim:mem{}", i)};
    }
    for (std::uint64_t i = 0; i < hosts; ++i) {
        const HostName name{fmt::format("h{}", i + 1)};
        HostSpec& spec = rack.fabric.hosts[name];
        for (const auto& [device, unused] : rack.fabric.devices) {
            if (i < 2 || random.chance(700)) spec.devices.insert(device);
        }
        Behaviour& behaviour = rack.behaviour[name];
        behaviour.memory_block = (random.chance(500) ? 8 : 16) * MiB;
        behaviour.boot_ms = random.between(200, 3000);
        behaviour.plug_ms = random.between(1, 400);
    }
    rack.old_bytes = random.chance(700);
    rack.booted = random.chance(700);
    return rack;
}

unsigned rate(Random& random, unsigned most) {
    return random.chance(400) ? static_cast<unsigned>(1 + random.below(most)) : 0;
}

}  // namespace

Swarm draw_swarm(std::uint64_t seed) {
    Random random(seed * 7919 + 1);
    Swarm swarm;
    swarm.rack = draw_rack(random);
    swarm.rack.seed = seed;
    swarm.limits = {.offer_ms = 5'000,
                    .drain_ms = 15'000,
                    .silent_ms = 3'000,
                    .answer_ms = 2'000,
                    .retry_first_ms = 50,
                    .retry_last_ms = 1'000,
                    .scrub_chunk = (8 + random.below(5) * 8) * MiB,
                    .offer_tries = 5,
                    .extents_per_group = 8};
    sim::Faults& faults = swarm.rack.faults;
    faults.command_lost = rate(random, 100);
    faults.command_refused = rate(random, 100);
    faults.failed_with_effect = rate(random, 100);
    faults.command_slow = rate(random, 200);
    faults.completion_lost = rate(random, 100);
    faults.completion_late = rate(random, 200);
    faults.completion_repeated = rate(random, 200);
    faults.scrub_failed = rate(random, 200);
    faults.scrub_slow = rate(random, 200);
    faults.report_late = rate(random, 300);
    faults.report_repeated = rate(random, 300);
    faults.late_ms = 10'000;
    swarm.safety_ms = random.between(20'000, 90'000);
    swarm.intent_every_ms = random.between(300, 5'000);
    swarm.chaos_every_ms = random.chance(800) ? random.between(500, 8'000) : 0;
    swarm.sync_ms = random.chance(500) ? 0 : random.between(1, 40);
    swarm.crash_per_effect = rate(random, 30);
    for (bool* one :
         {&swarm.reboots, &swarm.power_cycles, &swarm.unreachable, &swarm.hangs, &swarm.silent,
          &swarm.driver, &swarm.lies, &swarm.slow, &swarm.refuses, &swarm.returns, &swarm.holds}) {
        *one = random.chance(450);
    }
    // A foreign claim on a host that cannot be asked cannot be seen: these two do not go together.
    swarm.foreign = !swarm.unreachable && random.chance(200);
    return swarm;
}

std::string Swarm::describe() const {
    const sim::Faults& f = rack.faults;
    std::string text = fmt::format(
        "{} devices, {} hosts, {} s, intents every {} ms, chaos every {} ms, sync {} ms",
        rack.fabric.devices.size(), rack.fabric.hosts.size(), safety_ms / 1000, intent_every_ms,
        chaos_every_ms, sync_ms);
    const auto add = [&](const char* name, unsigned value) {
        if (value != 0) text += fmt::format(", {} {}", name, value);
    };
    add("crash", crash_per_effect);
    add("lost", f.command_lost);
    add("refused", f.command_refused);
    add("half-true", f.failed_with_effect);
    add("slow", f.command_slow);
    add("completion-lost", f.completion_lost);
    add("completion-late", f.completion_late);
    add("completion-repeated", f.completion_repeated);
    add("scrub-failed", f.scrub_failed);
    add("scrub-slow", f.scrub_slow);
    add("report-late", f.report_late);
    add("report-repeated", f.report_repeated);
    add("foreign", foreign);
    add("reboots", reboots);
    add("power-cycles", power_cycles);
    add("unreachable", unreachable);
    add("hangs", hangs);
    add("silent", silent);
    add("driver", driver);
    add("lies", lies);
    add("slow-hosts", slow);
    add("refuses", refuses);
    add("returns", returns);
    add("holds", holds);
    return text;
}

std::string chaos(const Swarm& swarm, sim::SimWorld& world, Random& random) {
    auto entry = world.hosts().begin();
    std::advance(entry, static_cast<std::ptrdiff_t>(random.below(world.hosts().size())));
    const HostName name = entry->first;
    sim::SimHost& host = *entry->second;
    Behaviour& b = host.behaviour;
    const auto toggle = [&](bool& what, const char* word) {
        what = !what;
        host.kick();
        return fmt::format("{} {} {}", name.text, word, what ? "begins" : "ends");
    };
    if (!host.powered() && random.chance(700)) {
        world.start(name);
        return name.text + " is powered on";
    }
    switch (random.below(15)) {
        case 0:
            if (!swarm.reboots) break;
            world.reboot(name, random.between(100, 4000));
            return name.text + " reboots";
        case 1:
            if (!swarm.power_cycles || !host.powered()) break;
            world.kill(name);
            if (random.chance(500)) world.start(name);
            return name.text + " loses power";
        case 2:
            if (!swarm.unreachable) break;
            world.set_reachable(name, b.unreachable);
            return fmt::format("{} is {}", name.text, b.unreachable ? "unreachable" : "reachable");
        case 3:
            return swarm.hangs ? toggle(b.hung, "hanging") : "";
        case 4:
            return swarm.silent ? toggle(b.silent, "silence") : "";
        case 5:
            if (!swarm.driver || !host.up()) break;
            if (b.driver == sim::Driver::ready) {
                return host.unload_driver() ? name.text + " unloads its driver" : "";
            }
            host.load_driver();
            return name.text + " loads its driver";
        case 6:
        case 7: {
            if (!swarm.lies) break;
            static constexpr sim::Lie lies[] = {
                sim::Lie::none,           sim::Lie::claims_plugged, sim::Lie::claims_unplugged,
                sim::Lie::claims_nothing, sim::Lie::claims_others,  sim::Lie::claims_nonsense};
            const auto pick = random.below(6);
            b.lie = lies[pick];
            host.kick();
            return fmt::format("{} tells lie {}", name.text, pick);
        }
        case 8:
            if (!swarm.slow) break;
            b.accept_ms = random.chance(500) ? 5 : random.between(1'000, 30'000);
            host.kick();
            return fmt::format("{} answers offers after {} ms", name.text, b.accept_ms);
        case 9:
            return swarm.refuses ? toggle(b.rejects, "rejecting") : "";
        case 10:
            return swarm.refuses ? toggle(b.never_accepts, "not accepting") : "";
        case 11:
            return swarm.returns ? toggle(b.never_returns, "not returning") : "";
        case 12:
            if (swarm.returns && host.give_back_one(random.below(100))) {
                return name.text + " gives one extent back unasked";
            }
            break;
        case 13:
            if (!swarm.holds) break;
            b.held = b.held == 0 ? 37 * MiB : 0;
            b.held_ms = random.between(0, 20'000);
            return fmt::format("{} holds {} of pool memory", name.text, describe_size(b.held));
        case 14:
            host.scribble();
            return name.text + " writes to all it has";
    }
    return "";
}

void heal(sim::SimWorld& world) {
    world.faults = {};
    for (const auto& [name, host] : world.hosts()) {
        Behaviour& b = host->behaviour;
        const Behaviour healthy;
        b.silent = b.hung = b.never_accepts = b.rejects = b.never_returns = false;
        b.lie = sim::Lie::none;
        b.accept_ms = healthy.accept_ms;
        b.held = 0;
        if (host->up() && b.driver != sim::Driver::ready) host->load_driver();
        b.driver = sim::Driver::ready;
        world.set_reachable(name, true);
        world.start(name);
        host->kick();
    }
}

}  // namespace cxlpool::fmsim
