// SPDX-License-Identifier: Apache-2.0
// Something to be done with each of many processes, many at a time: it is mostly waiting for an
// answer, and one that is stopped must not cost the others the time until it is given up.
#pragma once

#include <algorithm>
#include <atomic>
#include <exception>
#include <system_error>
#include <thread>
#include <vector>

namespace poold {

inline constexpr size_t asked_at_once = 64;

// what(i) for each i below `count`, begun in rising order, up to `limit` of them at a time, while
// go_on() says so; what is under way then is waited for. Both are called from several threads.
template <typename GoOn, typename What>
void at_once(size_t count, GoOn go_on, What what, size_t limit = asked_at_once) {
    std::atomic<size_t> next = 0;
    auto work = [&] {
        while (go_on()) {
            const size_t i = next++;
            if (i >= count) return;
            try {
                what(i);
            } catch (const std::exception&) {  // no memory for this one: as if it had not answered
            }
        }
    };
    std::vector<std::jthread> helpers;
    try {
        while (helpers.size() + 1 < std::min(count, limit)) helpers.emplace_back(work);
    } catch (const std::system_error&) {  // as many as there can be
    }
    work();
}

}  // namespace poold
