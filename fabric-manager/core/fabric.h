// SPDX-License-Identifier: Apache-2.0
// The fabric as the operator described it (--fabric FILE): constant for one life of fmd.
#pragma once

#include <map>
#include <set>
#include <string>

#include "core/extents.h"
#include "core/ids.h"

namespace cxlpool {

inline constexpr Bytes kMostDeviceBytes =
    64 * TiB;  // far beyond any device of today; the sim keeps marks by block

// A pooled CXL memory device, of which one DC region is divided.
struct DeviceSpec {
    std::uint64_t serial = 0;
    Bytes size = 0;         // of the DC region; a multiple of block
    Bytes block = 2 * MiB;  // the DC block: the device's allocation unit
    std::string identity;   // tells this device's memory from another of the same name (pool file
                            // inode and birth time); never empty

    friend bool operator==(const DeviceSpec&, const DeviceSpec&) = default;
};

struct HostSpec {
    std::set<DeviceName> devices;  // the devices this host is attached to
    friend bool operator==(const HostSpec&, const HostSpec&) = default;
};

struct Fabric {
    std::map<DeviceName, DeviceSpec> devices;
    std::map<HostName, HostSpec> hosts;
};

// Time limits of DESIGN section 7; named in messages, set in fmd's configuration. A limit ends
// somebody's wait or raises an alarm; it never ends a claim.
struct Limits {
    Millis offer_ms = 30'000;   // an offer not answered for so long is called stuck
    Millis drain_ms = 300'000;  // a release not finished for so long is called stuck
    Millis silent_ms = 10'000;  // a host that has not reported for so long is called silent
    Millis answer_ms =
        5'000;  // a command not answered for so long is taken as lost: ask what came of it
    Millis retry_first_ms = 100;    // first back-off of a failed or unanswered command …
    Millis retry_last_ms = 5'000;   // … doubled each time up to this
    Bytes scrub_chunk = 256 * MiB;  // the largest range of one scrub
    int offer_tries = 5;            // offers refused or failed in a row before a grant is failed
    std::size_t extents_per_group = 8;  // the device's event log holds no more (FACTS section 3)
};

}  // namespace cxlpool
