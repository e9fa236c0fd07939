// SPDX-License-Identifier: Apache-2.0
// A record: one journal entry. State = replay of all records in order; nothing else is durable.
// A record is a fact that is decided (what will be done, before it is done) or seen (what came of
// it).
#pragma once

#include <string>
#include <variant>
#include <vector>

#include "core/extents.h"
#include "core/ids.h"

namespace cxlpool {

enum class Use {
    ram,  // onlined as a NUMA node
    dax,  // a character device that programs map
};

// A device is taken into this pool. Nothing of it is clean; every byte is scrubbed before an offer.
struct DeviceAdopted {
    DeviceName device;
    std::uint64_t serial = 0;
    Bytes size = 0;
    Bytes block = 0;
    std::string identity;
    friend bool operator==(const DeviceAdopted&, const DeviceAdopted&) = default;
};

// A host's machine (in the testbed: its QEMU process) is seen for the first time. A new instance is
// a power cycle: whatever the host held before is gone from its devices. `fenced` instances are
// dead.
struct HostSeen {
    HostName host;
    std::string instance;
    friend bool operator==(const HostSeen&, const HostSeen&) = default;
};

// That instance is seen dead (its process has ended): it can reach nothing any more.
struct HostDead {
    HostName host;
    std::string instance;
    friend bool operator==(const HostDead&, const HostDead&) = default;
};

// The operator asked for this instance to be made unable to reach its extents.
struct FenceStarted {
    HostName host;
    std::string instance;
    friend bool operator==(const FenceStarted&, const FenceStarted&) = default;
};

struct GrantCreated {
    GrantId id;
    GrantName name;
    std::vector<HostName> hosts;  // sorted, unique, at least one
    Use use = Use::ram;
    std::vector<Extent> extents;  // sorted; together the granted bytes
    friend bool operator==(const GrantCreated&, const GrantCreated&) = default;
};

// From here on `host` may reach these extents of the grant: written before the device is told.
struct OfferStarted {
    GrantId id;
    HostName host;
    DeviceName device;
    friend bool operator==(const OfferStarted&, const OfferStarted&) = default;
};

// The device took the offer into its event log.
struct OfferTaken {
    GrantId id;
    HostName host;
    DeviceName device;
    friend bool operator==(const OfferTaken&, const OfferTaken&) = default;
};

// The device itself lists the extents as accepted by the host.
struct OfferAccepted {
    GrantId id;
    HostName host;
    DeviceName device;
    friend bool operator==(const OfferAccepted&, const OfferAccepted&) = default;
};

// Every extent of the grant is accepted and plugged on every host.
struct GrantActive {
    GrantId id;
    friend bool operator==(const GrantActive&, const GrantActive&) = default;
};

// The operator gave the grant back; from here on it only shrinks.
struct GrantReleased {
    GrantId id;
    friend bool operator==(const GrantReleased&, const GrantReleased&) = default;
};

// The device is about to be told to take the extents back from the host.
struct ReturnStarted {
    GrantId id;
    HostName host;
    DeviceName device;
    friend bool operator==(const ReturnStarted&, const ReturnStarted&) = default;
};

// The device says that the host can no longer reach the grant's extents on it, or the host is dead.
struct Returned {
    GrantId id;
    HostName host;
    DeviceName device;
    friend bool operator==(const Returned&, const Returned&) = default;
};

struct GrantFailed {
    GrantId id;
    std::string reason;
    friend bool operator==(const GrantFailed&, const GrantFailed&) = default;
};

struct GrantGone {
    GrantId id;
    friend bool operator==(const GrantGone&, const GrantGone&) = default;
};

struct ScrubStarted {
    Extent extent;
    friend bool operator==(const ScrubStarted&, const ScrubStarted&) = default;
};

// The receipt: erased, flushed, and `bytes_read` bytes read back as zeros.
struct ScrubDone {
    Extent extent;
    Bytes bytes_read = 0;
    friend bool operator==(const ScrubDone&, const ScrubDone&) = default;
};

// A host could reach bytes that no grant gave it, by the device's word or its own: whatever it
// stored there is nobody else's to read, so they are no longer clean.
struct ForeignSeen {
    HostName host;
    Extent extent;
    friend bool operator==(const ForeignSeen&, const ForeignSeen&) = default;
};

using RecordBody =
    std::variant<DeviceAdopted, HostSeen, HostDead, FenceStarted, GrantCreated, OfferStarted,
                 OfferTaken, OfferAccepted, GrantActive, GrantReleased, ReturnStarted, Returned,
                 GrantFailed, GrantGone, ScrubStarted, ScrubDone, ForeignSeen>;

struct Record {
    Seq seq;                   // 1, 2, 3 … without gaps
    std::int64_t time_us = 0;  // wall clock (Unix epoch, µs), for people; nothing is decided by it
    RecordBody body;
    friend bool operator==(const Record&, const Record&) = default;
};

}  // namespace cxlpool
