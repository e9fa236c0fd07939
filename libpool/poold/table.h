// SPDX-License-Identifier: Apache-2.0
// A table for people: columns as wide as they need be, two spaces between them.
#pragma once

#include <string>
#include <vector>

namespace poold {

std::string table(const std::vector<std::vector<std::string>>& rows);

}  // namespace poold
