// SPDX-License-Identifier: Apache-2.0
// Where a grant's bytes come from. Pure: pool + request → extents, or a sentence why not.
#pragma once

#include <map>
#include <optional>
#include <vector>

#include "core/fabric.h"
#include "core/pool.h"
#include "core/result.h"

namespace cxlpool {

struct PlaceRequest {
    std::vector<DeviceName> devices;  // those that every host of the grant is attached to
    Bytes size = 0;
    Use use = Use::ram;
    Bytes unit = 0;  // memory block (ram) or DC block (dax): pieces are multiples of it
    // DPA % unit of the first usable aligned piece, a device; 0 when absent. ram only: the window
    // may put DPA 0 in the middle of a memory block of the host's address space.
    std::map<DeviceName, Bytes> offset;
    std::map<DeviceName, RangeSet> avoid;  // free, but known to be in the reach of a host: foreign
    std::size_t most_extents = 8;          // a device
};

// Best fit first: the smallest free gap that holds the whole; else the fewest pieces, largest gaps
// first. Clean bytes are preferred among gaps of like fit. ram grows from the low end of a device,
// dax from the high end, so that the two do not fragment each other.
Result<std::vector<Extent>> place(const Pool& pool, const PlaceRequest& request);

}  // namespace cxlpool
