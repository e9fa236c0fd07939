// SPDX-License-Identifier: Apache-2.0
// What the manager asks the lower half to do, and what it hears from it. Every command is
// idempotent: doing it twice, or finding it done, is the same as doing it once. Questions are
// commands too. Commands of one host take effect in the order they were started; their completions
// may be late, repeated or lost. A scrub is local work: its completion always comes while the
// process lives, so it is never started a second time beside itself (a late erase would destroy the
// next owner's bytes).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "core/ids.h"
#include "core/record.h"
#include "core/result.h"

namespace cxlpool {

// ---- commands ----

// Offer a group of extents to a host: Initiate Dynamic Capacity Add, prescriptive. One group,
// `More` on all but the last. Done = the device took the whole group into the host's event log.
struct AddCapacity {
    HostName host;
    DeviceName device;
    std::vector<Range> extents;
};

// Ask the host for extents back: Initiate Dynamic Capacity Release, not forced. Done = the device
// took the request; only AskPresence tells whether the host gave them back.
struct ReleaseCapacity {
    HostName host;
    DeviceName device;
    std::vector<Range> extents;
};

// Ask the device, and nobody else, what the host may do with each range.
struct AskPresence {
    HostName host;
    DeviceName device;
    std::vector<Range> ranges;
};

// Erase, flush, read back every byte of a range of the device's memory.
struct Scrub {
    Extent extent;
};

// End the host's instance for good. Done = asked; HostDied tells that it is dead.
struct Fence {
    HostName host;
    std::string instance;
};

using CommandBody = std::variant<AddCapacity, ReleaseCapacity, AskPresence, Scrub, Fence>;

struct Command {
    OpId op;
    CommandBody body;
};

// ---- completions ----

// What a host may do with a range, by the device's own word.
enum class Presence {
    unknown,   // not asked, or no answer: may be anything
    none,      // neither offered nor accepted: the host cannot reach a byte of it
    pending,   // offered, not answered yet: the host may accept at any moment
    accepted,  // at least one DC block of it is accepted: the host can reach it
};

struct ScrubReceipt {
    Bytes bytes_read = 0;
};

// nothing for Add, Release and Fence; one Presence a range, in order, for AskPresence.
using Answer = std::variant<std::monostate, std::vector<Presence>, ScrubReceipt>;

// May come in any order, late, twice or never; a late one of an earlier life of fmd never reaches
// the manager (its op is unknown, and is ignored).
struct Completion {
    OpId op;
    Result<Answer> result;
};

// ---- observations ----

struct HostUp {
    HostName host;
    std::string instance;
};

// That instance is dead for good: seen by pidfd or the like, never guessed from a closed
// connection.
struct HostDied {
    HostName host;
    std::string instance;
};

// The backend cannot talk to the host's machine now. Says nothing about what the host can reach.
enum class Silence {
    no_answer,       // somebody may be there
    nobody_listens,  // no process is at its address: proves nothing about a machine seen before,
                     // but one that was never seen is taken as not running
};

struct HostUnreachable {
    HostName host;
    std::string why;
    Silence silence = Silence::no_answer;
};

// The host's machine was reset: what its agent said of this boot holds no more. May be missed (fmd
// was not connected); the first report of the next boot says the same, later.
struct HostReset {
    HostName host;
};

// What a host's own agent says. Believed for progress, never for safety (design invariant 9).
struct ReportedExtent {
    std::uint64_t serial = 0;
    Range range;
    std::string
        state;  // driver's word: pending accepted plugging plugged unplugging releasing stuck
    std::optional<Use> use;
    std::optional<int> node;
    std::string dax;
    std::string error;
    std::optional<Bytes> used;  // bytes in use, only while draining
    struct Holder {
        std::int64_t pid = 0;
        std::string comm;
        Bytes bytes = 0;
        friend bool operator==(const Holder&, const Holder&) = default;
    };
    std::vector<Holder> held;
    Bytes held_kernel = 0;
    friend bool operator==(const ReportedExtent&, const ReportedExtent&) = default;
};

struct ReportedDevice {
    std::uint64_t serial = 0;
    Bytes region_base = 0;  // DPA
    Bytes region_len = 0;
    Bytes hpa = 0;  // where region_base appears in the host's address space; 0 = nowhere
    std::vector<ReportedExtent> extents;
    std::string state = "ready";  // of the driver for this device: "ready", "starting", "broken"
    friend bool operator==(const ReportedDevice&, const ReportedDevice&) = default;
};

struct ReportedNode {
    int node = 0;
    Bytes total = 0;
    Bytes free = 0;
    friend bool operator==(const ReportedNode&, const ReportedNode&) = default;
};

struct HostReport {
    HostName host;  // from the socket it came by, never from the message
    std::string boot;
    std::string driver;     // instance of the driver; empty when none
    std::uint64_t seq = 0;  // rises within a boot
    Bytes memory_block = 0;
    std::string driver_state;  // "ready", "none", "other:<driver>", "broken"
    std::string driver_error;
    std::string online_policy;
    std::vector<ReportedDevice> devices;
    std::vector<ReportedNode> nodes;
    double pressure_some_avg10 = 0;
    std::string poold_version;
    friend bool operator==(const HostReport&, const HostReport&) = default;
};

}  // namespace cxlpool
