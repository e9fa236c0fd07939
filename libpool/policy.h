// SPDX-License-Identifier: Apache-2.0
// Which pages should move where. Pure: a function of what is known now, so that a recorded trace
// can be replayed with another policy. Time is money here: a near page saves gain_ns per touch, a
// move costs move_ns, and a page is expected to stay as it is for stay_s.
//
//  1. Over the limit: the coldest near pages leave, until the limit holds.
//  2. Admission: a far page may come when even the lower bound of its rate pays for its move.
//  3. Room first; without room, it takes the place of the coldest near page, if its lower bound
//     exceeds that page's upper bound by both moves' cost *and* by swap_margin. Two pages that are
//     equally hot never satisfy this, so they do not ping-pong.
//  4. A page that was just moved rests for rest_windows before it may be swapped back.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "heat.h"

namespace libpool {

enum class Place : uint8_t {
    unknown,  // absent, or on a node outside our tiers: left alone
    near,
    far,
};

struct PageView {
    Place place = Place::unknown;
    uint8_t windows = 0;   // in which it was seen
    uint8_t rested = 255;  // windows since it was last moved, or since a move of it failed
    Rate rate;
};

struct Situation {
    uint64_t near_limit_pages = UINT64_MAX;  // what tracked pages may take
    uint64_t near_room_pages = 0;            // live room on the near nodes
    uint64_t far_room_pages = 0;
    double gain_ns = 150;
    double move_ns = 2000;
    double stay_s = 120;
};

struct Plan {
    std::vector<uint32_t> demote;   // coldest first
    std::vector<uint32_t> promote;  // hottest first
    // The rate that parts what fits near from what does not: windows of about 1/this tell most.
    double boundary_rate = 0;
};

// Windows that a page must have been seen in before it is judged.
inline constexpr uint8_t judge_windows = 2;
// Windows for which a page that was moved, or could not be, is left where it is.
inline constexpr uint8_t rest_windows = 8;
// A newcomer's lower bound must be this much above its victim's upper bound.
inline constexpr double swap_margin = 4;

// Touches per second from which one move pays for itself within the stay.
double admission_rate(const Situation& situation);

Plan decide(std::span<const PageView> pages, const Situation& situation);

}  // namespace libpool
