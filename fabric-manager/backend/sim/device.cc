// SPDX-License-Identifier: Apache-2.0
#include "backend/sim/device.h"

#include <fmt/format.h>

#include <algorithm>

namespace cxlpool::sim {

SimDevice::SimDevice(DeviceName name, DeviceSpec spec)
    : name_(std::move(name)), spec_(std::move(spec)), memory_(spec_.size / spec_.block, kZeros) {}

bool SimDevice::is_pending(const Port& port, Range range) const {
    return std::ranges::any_of(port.pending, [&](const std::vector<Range>& group) {
        return std::ranges::any_of(group, [&](const Range& r) { return r.overlaps(range); });
    });
}

bool SimDevice::is_accepted(const Port& port, Range range) const {
    return std::ranges::any_of(port.accepted, [&](const Range& r) { return r.overlaps(range); });
}

Presence SimDevice::presence(const HostName& host, Range range) const {
    auto found = ports_.find(host);
    if (found == ports_.end()) return Presence::none;
    if (is_accepted(found->second, range)) return Presence::accepted;
    if (is_pending(found->second, range)) return Presence::pending;
    return Presence::none;
}

Result<void> SimDevice::check(const HostName& host, const std::vector<Range>& group) const {
    for (const Range& range : group) {
        if (range.length == 0 || range.dpa % spec_.block != 0 || range.length % spec_.block != 0 ||
            range.end() > spec_.size || range.end() < range.dpa) {
            return fail(Code::fabric, fmt::format("{}{} for {} is not a range of whole DC blocks",
                                                  name_.text, describe(range), host.text));
        }
    }
    return {};
}

void SimDevice::put(Port& port, LogRecord record) {
    if (port.log.size() >= kLogRecords) {
        ++lost_records_;
        return;
    }
    port.log.push_back(record);
}

Result<void> SimDevice::add(const HostName& host, const std::vector<Range>& group) {
    if (auto ok = check(host, group); !ok) return ok;
    Port& port = ports_[host];
    std::size_t there = 0;
    for (const Range& range : group) {
        if (is_pending(port, range) || is_accepted(port, range)) ++there;
    }
    if (there == group.size()) return {};
    if (there != 0) {
        return fail(
            Code::fabric,
            fmt::format("{}: a part of the group is offered to {} or accepted by it already",
                        name_.text, host.text));
    }
    port.pending.push_back(group);
    for (std::size_t i = 0; i < group.size(); ++i) {
        put(port, {LogRecord::Kind::add, group[i], i + 1 < group.size()});
    }
    return {};
}

Result<void> SimDevice::release(const HostName& host, const std::vector<Range>& ranges) {
    if (auto ok = check(host, ranges); !ok) return ok;
    Port& port = ports_[host];
    for (const Range& range : ranges) {
        if (is_pending(port, range)) {
            return fail(Code::fabric,
                        fmt::format("{}: cannot release {} of {} with a pending DPA range",
                                    name_.text, describe(range), host.text));
        }
    }
    for (const Range& range : ranges) {
        if (is_accepted(port, range)) put(port, {LogRecord::Kind::release, range, false});
    }
    return {};
}

void SimDevice::erase(Range range) {
    for (std::size_t block = 0; block < memory_.size(); ++block) {
        if (block_range(block).overlaps(range)) memory_[block] = kZeros;
    }
}

std::vector<Range> SimDevice::next_group(const HostName& host) const {
    auto found = ports_.find(host);
    if (found == ports_.end()) return {};
    std::vector<Range> group;
    for (const LogRecord& record : found->second.log) {
        if (record.kind != LogRecord::Kind::add) break;
        group.push_back(record.range);
        if (!record.more) return group;
    }
    return {};
}

bool SimDevice::answer(const HostName& host, const std::vector<Range>& group, bool accept) {
    Port& port = ports_[host];
    if (port.pending.empty() || port.pending.front() != group) return false;
    port.pending.pop_front();
    if (accept) {
        port.accepted.insert(port.accepted.end(), group.begin(), group.end());
        std::ranges::sort(port.accepted);
    }
    return true;
}

bool SimDevice::give_back(const HostName& host, Range range) {
    Port& port = ports_[host];
    RangeSet held;
    for (const Range& r : port.accepted) held.add(r);
    if (!held.contains(range)) return false;
    std::vector<Range> left;
    for (const Range& r : port.accepted) {
        RangeSet rest(r);
        rest.subtract(range);
        left.insert(left.end(), rest.ranges().begin(), rest.ranges().end());
    }
    port.accepted = std::move(left);
    return true;
}

const std::vector<Range>& SimDevice::accepted(const HostName& host) const {
    static const std::vector<Range> nothing;
    auto found = ports_.find(host);
    return found == ports_.end() ? nothing : found->second.accepted;
}

void SimDevice::write(const HostName& host, Range range, Mark mark) {
    auto found = ports_.find(host);
    if (found == ports_.end()) return;
    for (std::size_t block = 0; block < memory_.size(); ++block) {
        const Range here = block_range(block);
        if (here.overlaps(range) && is_accepted(found->second, here)) memory_[block] = mark;
    }
}

}  // namespace cxlpool::sim
