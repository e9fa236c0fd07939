// SPDX-License-Identifier: Apache-2.0
// The pool: devices + grants, the desired state. It is exactly what the journal says: made by
// apply() from records and by nothing else. What devices and hosts say now is not here (beliefs.h
// has it).
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "core/extents.h"
#include "core/ids.h"
#include "core/record.h"
#include "core/result.h"

namespace cxlpool {

struct DeviceState {
    std::uint64_t serial = 0;
    Bytes size = 0;
    Bytes block = 0;
    std::string identity;
    // Scrubbed since anyone could last reach it. Everything else is dirty.
    RangeSet clean;
    // What each host may have been able to reach since it was last scrubbed: whoever is named here
    // is asked about before a scrub, as is every host that can be reached.
    std::map<HostName, RangeSet> held;
    friend bool operator==(const DeviceState&, const DeviceState&) = default;
};

struct HostRecord {
    std::string instance;  // the latest seen; empty: never
    bool dead = false;     // that instance is known to be dead
    bool fence_asked = false;
    friend bool operator==(const HostRecord&, const HostRecord&) = default;
};

// How far a grant has come on one device of one host, by the journal.
enum class LegPhase {
    idle,       // never offered to this instance of the host, or returned
    offering,   // the device is being told, or was told
    returning,  // the device is being told to take it back
};

struct Leg {
    LegPhase phase = LegPhase::idle;
    bool accepted = false;  // the device has listed it as accepted since it was last offered
    friend bool operator==(const Leg&, const Leg&) = default;
};

using LegKey = std::pair<HostName, DeviceName>;

struct TimedRecord {
    std::string what;
    std::int64_t time_us = 0;
    friend bool operator==(const TimedRecord&, const TimedRecord&) = default;
};

struct Grant {
    GrantId id;
    GrantName name;
    std::vector<HostName> hosts;
    Use use = Use::ram;
    std::vector<Extent> extents;
    std::map<LegKey, Leg> legs;  // one for each host × device of extents
    bool released = false;       // the operator gave it back
    bool was_active = false;
    std::string failure;  // empty, or why it failed
    std::int64_t created_us = 0;
    std::vector<TimedRecord> timeline;

    Bytes size() const;
    std::vector<Range> ranges_on(const DeviceName& device) const;
    friend bool operator==(const Grant&, const Grant&) = default;
};

struct Pool {
    Seq last_seq;
    GrantId last_grant;
    std::map<DeviceName, DeviceState> devices;
    std::map<HostName, HostRecord> hosts;
    std::map<GrantId, Grant> grants;  // those not gone

    const Grant* find(const GrantName& name) const;
    RangeSet granted(const DeviceName& device) const;
    RangeSet free(const DeviceName& device) const;  // not granted
    friend bool operator==(const Pool&, const Pool&) = default;
};

// Checks the record against the state, then changes it; an error changes nothing. Invariants
// checked here, in release builds too: no byte in two grants; only clean bytes are ever offered; a
// scrub only of bytes that no grant offers; a grant goes only when all its bytes are clean.
Result<void> apply(Pool& pool, const Record& record);

}  // namespace cxlpool
