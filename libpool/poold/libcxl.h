// SPDX-License-Identifier: Apache-2.0
// What libcxl lists, where it is installed: opened at run time, so that poold runs without it.
#pragma once

#include <optional>
#include <string>

namespace poold {

// "mem0 (0000:0d:00.0, 1 GiB)", "no memdevs"; nothing where there is no libcxl. A device driven by
// cxl_dcd has no memdev: that is as it should be.
std::optional<std::string> libcxl_memdevs();

}  // namespace poold
