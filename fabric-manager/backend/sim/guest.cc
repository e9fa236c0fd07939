// SPDX-License-Identifier: Apache-2.0
// What the driver and the agent of a simulated host do.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "backend/sim/host.h"

namespace cxlpool::sim {

// ---- driver ----

void SimHost::driver_work() {
    if (!driver_ready() || behaviour.hung) return;
    for (SimDevice* device : links_.devices) {
        while (answer_front(*device)) {
        }
    }
    return_asked();
}

// Deals with the front of the event log: a whole group, or a release request. Cleared only after
// the answer, as the device demands. False when there is nothing (more) it can deal with.
bool SimHost::answer_front(SimDevice& device) {
    std::deque<LogRecord>& log = device.log(name_);
    if (log.empty()) return false;
    if (log.front().kind == LogRecord::Kind::release) {
        for (auto& [key, extent] : extents_) {
            if (key.first == &device && log.front().range.contains(key.second)) {
                extent.release_asked = true;
            }
        }
        log.pop_front();
        return true;
    }
    if (behaviour.never_accepts) return false;
    const std::vector<Range> group = device.next_group(name_);
    if (group.empty() || !device.answer(name_, group, !behaviour.rejects)) return false;
    log.erase(log.begin(), log.begin() + static_cast<std::ptrdiff_t>(group.size()));
    for (const Range& range : group) {
        if (!behaviour.rejects) extents_[{&device, range}].dax = next_dax_++;
        links_.tell(behaviour.rejects ? "rejected" : "accepted", name_, device, range);
    }
    desired_moved();
    changed();
    return true;
}

// Answers remembered release requests; only for extents of which nothing is plugged.
void SimHost::return_asked() {
    if (behaviour.never_returns) return;
    std::vector<Key> asked;
    for (auto& [key, extent] : extents_) {
        if (!extent.release_asked) continue;
        if (extent.state == State::accepted) {
            asked.push_back(key);
        } else {
            extent.error = "release requested by the device, extent in use";
        }
    }
    for (const Key& key : asked) {
        key.first->give_back(name_, key.second);
        drop_extent(key);
    }
}

void SimHost::drop_extent(const Key& key) {
    const Key gone = key;
    extents_.erase(gone);
    links_.tell("returned", name_, *gone.first, gone.second);
    changed();
}

// ---- agent ----

void SimHost::desired_moved() {
    if (desired_planned_) return;
    desired_planned_ = true;
    later(2, [](SimHost& self) {
        self.desired_planned_ = false;
        self.agent_work();
    });
}

void SimHost::agent_work() {
    if (!driver_ready() || behaviour.silent || behaviour.hung) return;
    const std::optional<Desired> desired = links_.desired(name_);
    if (!desired) return;
    for (const DesiredExtent& wanted : desired->extents) {
        for (auto& [key, extent] : extents_) {
            if (key.first->spec().serial == wanted.serial && key.second == wanted.range) {
                follow(key, extent, wanted);
            }
        }
    }
}

void SimHost::follow(const Key& key, Extent& extent, const DesiredExtent& wanted) {
    if (wanted.plugged && extent.state == State::accepted) plug(key, wanted.use);
    if (!wanted.plugged && extent.state == State::plugged) unplug(key);
}

void SimHost::plug(const Key& key, Use use) {
    Extent& extent = extents_[key];
    if (use == Use::ram && behaviour.online_policy.starts_with("online") &&
        behaviour.online_policy != "online_movable") {
        extent.error =
            fmt::format("refused to plug: the kernel onlines new memory itself (policy {})",
                        behaviour.online_policy);
        changed();
        return;
    }
    extent.state = State::plugging;
    extent.use = use;
    extent.error.clear();
    const Millis delay =
        std::max<Millis>(1, behaviour.plug_ms * static_cast<Millis>(key.second.length / MiB) / 256);
    later(delay, [key](SimHost& self) {
        auto found = self.extents_.find(key);
        if (found == self.extents_.end() || found->second.state != State::plugging) return;
        found->second.state = State::plugged;
        for (std::size_t block = 0; block < key.first->blocks(); ++block) {
            const Range here = key.first->block_range(block);
            if (here.overlaps(key.second)) {
                key.first->write(self.name_, here, self.links_.mark(*key.first, self.name_, here));
            }
        }
        self.changed();
        self.desired_moved();  // it may have been unwanted in the meantime
    });
}

void SimHost::unplug(const Key& key) {
    Extent& extent = extents_[key];
    const Millis now = links_.timeline.now();
    if (behaviour.held != 0) {
        if (!extent.refused_since) extent.refused_since = now;
        if (behaviour.held_ms == 0 || now - *extent.refused_since < behaviour.held_ms) {
            extent.error = "memory in use cannot be taken away";
            changed();
            if (!std::exchange(retry_planned_, true)) {
                later(200, [](SimHost& self) {
                    self.retry_planned_ = false;
                    self.agent_work();
                });
            }
            return;
        }
    }
    extent.state = State::unplugging;
    extent.error.clear();
    extent.refused_since.reset();
    later(std::max<Millis>(1, behaviour.unplug_ms), [key](SimHost& self) {
        auto found = self.extents_.find(key);
        if (found == self.extents_.end() || found->second.state != State::unplugging) return;
        found->second.state = State::accepted;
        found->second.use.reset();
        self.changed();
        self.driver_work();
    });
}

}  // namespace cxlpool::sim
