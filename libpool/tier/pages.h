// SPDX-License-Identifier: Apache-2.0
// What our policy keeps of each page: two bytes, and two more per 2 MiB block.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "tier/beliefs.h"
#include "tier/policy.h"

namespace libpool::tier {

// Bits 0-9 what is believed of its rate, 10-11 where it is, 12 its baseline (set: near), 13-14
// credit, 15 whether it was moved lately.
class PageState {
  public:
    static constexpr unsigned credit_full = 3;  // has earned a move

    PageState() { set_belief(belief_unknown()); }

    Belief belief() const { return bits_ & 0x3ff; }
    Place place() const { return Place(bits_ >> 10 & 3); }
    bool home_near() const { return bits_ >> 12 & 1; }
    unsigned credit() const { return bits_ >> 13 & 3; }
    bool resting() const { return bits_ >> 15; }
    bool guest() const { return place() == Place::near && !home_near(); }
    bool exile() const { return place() == Place::far && home_near(); }

    void set_belief(Belief belief) { put(0, 0x3ff, belief); }
    void set_place(Place place) { put(10, 3, unsigned(place)); }
    void set_home_near(bool near) { put(12, 1, near); }
    void set_credit(unsigned credit) { put(13, 3, credit); }
    void set_resting(bool resting) { put(15, 1, resting); }

  private:
    void put(unsigned at, unsigned mask, unsigned value) {
        bits_ = uint16_t((bits_ & ~(mask << at)) | value << at);
    }
    uint16_t bits_ = 0;
};
static_assert(sizeof(PageState) == 2);

struct Block {
    static constexpr unsigned turns_full = 3;

    uint16_t pages : 10 = 0;   // tracked ones, from its start: 0…512
    uint16_t huge : 1 = 0;     // one page of 2 MiB
    uint16_t uniform : 1 = 0;  // its pages are alike: some stand for all
    uint16_t hot : 1 = 0;      // of a uniform one: above the boundary
    uint16_t hinted : 1 = 0;
    uint16_t turns : 2 = 0;  // how often it turned as a whole lately
    uint16_t near = 0;       // of its pages: so many are near
};

// All tracked pages, by PageId; numbers that are not tracked are Place::nowhere.
struct Pages {
    std::vector<PageState> states;
    std::vector<Block> blocks;

    void reserve_to(PageId end) {
        size_t block_count = (size_t(end) + block_pages - 1) / block_pages;
        if (block_count <= blocks.size()) return;
        size_t count = block_count * block_pages;
        states.reserve(count);  // exactly: two bytes a page are promised
        states.resize(count);
        blocks.resize(block_count);
    }
    Belief belief(size_t page) const { return states[page].belief(); }
    void set_belief(Run run, Belief belief) {
        for (PageId page = run.first; page < run.end(); ++page) states[page].set_belief(belief);
    }
    size_t bytes() const {
        return states.capacity() * sizeof(PageState) + blocks.capacity() * sizeof(Block);
    }
};

}  // namespace libpool::tier
