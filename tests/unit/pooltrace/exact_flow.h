// SPDX-License-Identifier: Apache-2.0
// The exact offline optimum by minimum-cost flow. Plain values in and out: it is compiled as C++17.
#pragma once

#include <cstdint>
#include <vector>

namespace exact {

struct Problem {
    uint32_t pages = 0, epochs = 0, near_pages = 0;
    int64_t loss = 0, move = 0;    // costs of a far access and of a move
    std::vector<uint32_t> counts;  // epoch by epoch
    std::vector<char> home;        // 'n', 'f', or '-' (born later: starts where it likes)
};

int64_t optimum(const Problem& problem);

}  // namespace exact
