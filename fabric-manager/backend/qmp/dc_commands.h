// SPDX-License-Identifier: Apache-2.0
// QEMU's commands for dynamic capacity and what its answers mean. Pure.
// QEMU has no query for extents, but an add that names one range twice always fails, and its error
// tells the state of the range. QEMU looks at the first naming before it sees the second, and there
// at accepted extents before pending ones (hw/mem/cxl_type3.c, 11.1), so for a range as a whole:
//   "cannot add DPA already accessible to the same LD"   at least one byte is accepted
//   "cannot add DPA again while still pending"           none is accepted, at least one is offered
//   "duplicate or overlapped extents are detected"       neither: only the second naming is at
//   fault
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "core/command.h"
#include "core/fabric.h"
#include "core/result.h"

namespace cxlpool {

inline constexpr const char* kAddCapacity = "cxl-add-dynamic-capacity";
inline constexpr const char* kReleaseCapacity = "cxl-release-dynamic-capacity";
inline constexpr std::size_t kMostExtents = 8;  // a group: the device's event log holds no more

// Refuses what QEMU would not, or would only half, carry out: an empty group (it "succeeds"), more
// than 8 extents (it loses the rest), and what does not fit the device.
Result<void> check_group(const DeviceSpec& device, const std::vector<Range>& extents);

nlohmann::json add_arguments(const std::string& path, const std::vector<Range>& extents);
nlohmann::json release_arguments(const std::string& path, const std::vector<Range>& extents);
nlohmann::json query_arguments(const std::string& path, const Range& range);

// What the refusal of a query tells; nothing when it tells something else.
std::optional<Presence> presence_by_refusal(const std::string& refusal);

}  // namespace cxlpool
