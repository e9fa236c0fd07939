// SPDX-License-Identifier: Apache-2.0
// Waits for something that other threads or processes do, and says whether it came about.
#pragma once

#include <chrono>
#include <functional>
#include <thread>

namespace poold {

inline bool soon(const std::function<bool()>& what,
                 std::chrono::milliseconds limit = std::chrono::seconds(8)) {
    auto end = std::chrono::steady_clock::now() + limit;
    while (!what() && std::chrono::steady_clock::now() < end)
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
    return what();
}

}  // namespace poold
