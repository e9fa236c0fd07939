// SPDX-License-Identifier: Apache-2.0
// Empties a node of one process's pages before a deadline, in the order in which that does the
// program the most good: a grant must leave, and the kernel, which would empty the node otherwise,
// knows nothing of heat.
//
//  1. The hottest pages go near, hottest first, as far as near has room and as their rate is worth
//     it.
//  2. The others go to other far nodes, hottest first, as far as these have room.
//  3. What then is left goes near, as far as there is room: better there than in the way.
//  4. What is left still, the coldest, stays, and is told as ENOSPC.
//
// Carried out in that order, so that what a deadline cuts off is the coldest too.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "evacuate.h"
#include "mover.h"

namespace libpool::tier {

// A page of 4 KiB, or all 512 of a 2 MiB block of one rate (which may be one huge page).
struct DrainUnit {
    uint64_t address = 0;
    uint32_t pages = 1;
    float rate = 0;      // touches/s of each page, as believed; 0 for pages that are not tracked
    uint32_t owner = 0;  // whose it is, where pages of several processes are put in one order
    friend bool operator==(const DrainUnit&, const DrainUnit&) = default;
};

// addresses rising. Whole aligned blocks whose pages have one rate become one unit.
std::vector<DrainUnit> drain_units(std::span<const uint64_t> addresses,
                                   const std::function<float(uint64_t)>& rate_of);

struct DrainRoom {
    uint64_t near_pages = 0;
    uint64_t far_pages = 0;  // of the far nodes that stay
};

struct DrainOrder {
    std::vector<DrainUnit> near;
    std::vector<DrainUnit> far;
    std::vector<DrainUnit> late_near;  // cold, and only because far has no room
    std::vector<DrainUnit> stay;       // no room anywhere
};

DrainOrder order_drain(std::vector<DrainUnit> units, const DrainRoom& room, double worth_rate);

struct DrainTask {
    pid_t pid = 0;
    std::vector<int> near_nodes;  // the leaving one in neither list
    std::vector<int> far_nodes;
    double worth_rate = 0;  // touches/s from which a page is worth a place near
    double deadline_s = 0;  // of the clock below
};

// What a drain needs of the world.
struct DrainWorld {
    Kernel& kernel;
    Mover& mover;
    std::function<double()> now_s;
    std::function<void(double)> sleep_s;
    // Pages of the process that are on the leaving node now, by rising address.
    std::function<Result<std::vector<uint64_t>>()> find;
    std::function<float(uint64_t)> rate_of;
};

// Passes over what is there, until nothing is, the deadline has come, or the last passes moved
// nothing: pages that were busy are tried again, pages that came meanwhile are taken along. Between
// batches of 512 pages the deadline and the progress function are looked at. Reasons: ETIME: not
// tried before the deadline; ENOSPC: no room. `stopped` as asked by the progress function.
Result<Evacuation> drain(const DrainTask& task, const DrainWorld& world, const Progress& progress);

}  // namespace libpool::tier
