// SPDX-License-Identifier: Apache-2.0
// What the outside may see: plain values, computed from the state when asked for.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "core/ids.h"
#include "core/record.h"
#include "core/units.h"

namespace cxlpool {

// The life of a grant (DESIGN section 5), computed in one place: state_of().
enum class GrantState {
    pending,    // claimed; waits for a scrub or for a host to be ready
    offering,   // the devices are being told
    offered,    // told; hosts have not taken or plugged all of it yet
    active,     // every extent accepted and plugged on every host
    draining,   // being given back; hosts still hold some of it
    scrubbing,  // no host can reach it; being erased
    gone,       // erased and free again
    failed,     // could not be given; holds its extents until it is released
    stuck,      // offered or draining past its limit; the reason says on what
};

struct DesiredExtent {
    std::uint64_t serial = 0;
    Range range;
    GrantName grant;
    Use use = Use::ram;
    bool plugged = false;  // wanted state: plugged or unplugged
    friend bool operator==(const DesiredExtent&, const DesiredExtent&) = default;
};

struct Desired {
    std::uint64_t rev = 0;
    std::vector<DesiredExtent> extents;  // by serial, DPA
    friend bool operator==(const Desired&, const Desired&) = default;
};

struct DeviceView {
    DeviceName name;
    std::uint64_t serial = 0;
    Bytes size = 0, block = 0, free = 0, granted = 0;
    Bytes dirty = 0;  // free, but must be scrubbed before it can be offered
    std::vector<HostName> hosts;
    std::string note;  // foreign extents, a scrub that is blocked and why; or empty
};

struct FabricView {
    std::vector<DeviceView> devices;
    std::vector<HostName> hosts;
};

enum class HostState {
    ready,      // reports, and its driver takes offers
    no_driver,  // reports, but no driver of ours is ready; text says which one is there
    silent,     // machine reachable, its agent has not reported lately
    absent,     // never seen, or the machine cannot be reached
    fenced,     // its machine is dead: it can reach nothing
};

struct HostView {
    HostName name;
    HostState state = HostState::absent;
    std::string state_text;  // "ready", "no driver: cxl_pci has the device", "silent 12 s", …
    Bytes granted = 0;
    std::optional<Bytes> used;       // of its pool nodes, as reported
    std::optional<double> pressure;  // PSI some avg10
    std::optional<Bytes> memory_block;
    std::optional<Millis> last_seen_ms;  // ago
    std::string boot, driver;
};

struct SeenOn {
    HostName host;
    std::vector<int> nodes;  // sorted, unique: a grant over two windows is in two nodes
    std::vector<std::string> dax;
};

struct TimelineEntry {
    std::string what;
    std::int64_t time_us = 0;
    double ms = 0;  // since the grant was created
};

struct GrantView {
    GrantId id;
    GrantName name;
    std::vector<HostName> hosts;
    Use use = Use::ram;
    Bytes size = 0;
    GrantState state = GrantState::pending;
    std::string reason;     // of failed and stuck: one sentence; else empty
    std::string waits_for;  // the next thing it waits for; empty when it waits for nothing
    std::vector<Extent> extents;
    std::vector<SeenOn> seen;  // as read on the hosts
    std::vector<TimelineEntry> timeline;
    std::optional<double> latency_ms;  // created → active
};

// What a dry run answers: the steps that would be taken, in order, a sentence each.
struct Plan {
    GrantName grant;
    std::vector<Extent> extents;
    std::vector<std::string> steps;
};

struct DoctorRow {
    Extent extent;
    std::string grant, host;
    std::string journal, device, driver, node;
    bool ok = false;
    std::string note;  // what differs, a sentence; empty when ok
};

struct DoctorView {
    bool ok = false;
    std::vector<DoctorRow> rows;
};

// Name of the grant or host that the intent was about, or its plan, or the doctor's findings.
using ReplyBody = std::variant<GrantView, HostView, Plan, DoctorView>;

}  // namespace cxlpool
