// SPDX-License-Identifier: Apache-2.0
// The machine and the guest; the driver's and the agent's work is in guest.cc, what the agent says
// in report.cc.
#include "backend/sim/host.h"

#include <fmt/format.h>

#include <algorithm>

namespace cxlpool::sim {

SimHost::SimHost(HostName name, Behaviour with, std::string run, HostLinks links)
    : behaviour(std::move(with)),
      name_(std::move(name)),
      run_(std::move(run)),
      links_(std::move(links)) {}

std::string SimHost::boot() const { return fmt::format("{}-boot{}", instance_, boots_); }

bool SimHost::attached(const SimDevice& device) const {
    return std::ranges::find(links_.devices, &device) != links_.devices.end();
}

void SimHost::later(Millis delay, std::function<void(SimHost&)> action) {
    links_.timeline.after(delay, [this, boot = boots_, action = std::move(action)] {
        if (boot == boots_ && powered_) action(*this);
    });
}

void SimHost::forget_guest() {
    booted_ = false;
    report_planned_ = desired_planned_ = retry_planned_ = false;
    extents_.clear();
    seq_ = 0;
    next_dax_ = 0;
    ++boots_;
}

void SimHost::power_on(Millis boot_ms) {
    if (powered_) return;
    powered_ = true;
    instance_ = fmt::format("{}-{}{}", name_.text, run_, ++instances_);
    forget_guest();
    later(boot_ms, [](SimHost& self) { self.boot_done(); });
}

void SimHost::power_off() {
    if (!powered_) return;
    powered_ = false;
    forget_guest();
    for (SimDevice* device : links_.devices) device->forget(name_);
}

void SimHost::reboot(Millis boot_ms) {
    if (!powered_) return;
    forget_guest();
    later(boot_ms, [](SimHost& self) { self.boot_done(); });
}

void SimHost::boot_done() {
    booted_ = true;
    if (behaviour.driver == Driver::ready) load_driver();
    report_every();
}

bool SimHost::unload_driver() {
    if (!up() || behaviour.driver != Driver::ready) return false;
    const bool busy = std::ranges::any_of(
        extents_, [](const auto& entry) { return entry.second.state != State::accepted; });
    if (busy) return false;
    while (!extents_.empty()) {
        const Key key = extents_.begin()->first;
        key.first->give_back(name_, key.second);
        drop_extent(key);
    }
    behaviour.driver = Driver::none;
    changed();
    return true;
}

// Reads the accepted list back, as every probe of the driver does.
void SimHost::load_driver() {
    behaviour.driver = Driver::ready;
    ++drivers_;
    extents_.clear();
    for (SimDevice* device : links_.devices) {
        for (const Range& range : device->accepted(name_)) {
            extents_[{device, range}].dax = next_dax_++;
        }
    }
    kick();
}

void SimHost::kick() {
    later(behaviour.accept_ms, [](SimHost& self) { self.driver_work(); });
    desired_moved();
    changed();
}

void SimHost::scribble() {
    if (!up()) return;
    for (SimDevice* device : links_.devices) {
        for (const Range& range : device->accepted(name_)) {
            for (std::size_t block = 0; block < device->blocks(); ++block) {
                const Range here = device->block_range(block);
                if (here.overlaps(range)) {
                    device->write(name_, here, links_.mark(*device, name_, here));
                }
            }
        }
    }
}

bool SimHost::give_back_one(std::size_t pick) {
    if (!driver_ready() || extents_.empty()) return false;
    auto entry = extents_.begin();
    std::advance(entry, static_cast<std::ptrdiff_t>(pick % extents_.size()));
    if (entry->second.state != State::accepted) return false;
    const Key key = entry->first;
    key.first->give_back(name_, key.second);
    drop_extent(key);
    return true;
}

}  // namespace cxlpool::sim
