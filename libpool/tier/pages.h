// SPDX-License-Identifier: Apache-2.0
// What our policy keeps of each page: two bytes, and two more per 2 MiB block.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "tier/beliefs.h"
#include "tier/policy.h"

namespace libpool::tier {

// Bits 0-1 where it is, 2 its baseline (set: near), 3-5 credit, 6-7 decisions since it was moved.
class PageState {
  public:
    static constexpr unsigned credit_full = 7;  // has earned a move
    static constexpr unsigned rested = 3;

    Place place() const { return Place(bits_ & 3); }
    bool home_near() const { return bits_ & 4; }
    unsigned credit() const { return bits_ >> 3 & 7; }
    unsigned rest() const { return bits_ >> 6; }
    bool guest() const { return place() == Place::near && !home_near(); }
    bool exile() const { return place() == Place::far && home_near(); }

    void set_place(Place place) { bits_ = uint8_t((bits_ & ~3) | uint8_t(place)); }
    void set_home_near(bool near) { bits_ = uint8_t((bits_ & ~4) | (near ? 4 : 0)); }
    void set_credit(unsigned credit) { bits_ = uint8_t((bits_ & ~0x38) | credit << 3); }
    void set_rest(unsigned rest) { bits_ = uint8_t((bits_ & 0x3f) | rest << 6); }

  private:
    uint8_t bits_ = uint8_t(rested << 6);
};

struct Block {
    uint16_t pages : 10 = 0;   // tracked ones, from its start: 0…512
    uint16_t huge : 1 = 0;     // one page of 2 MiB
    uint16_t uniform : 1 = 0;  // its pages are alike: some stand for all
    uint16_t hot : 1 = 0;      // of a uniform one: above the boundary
    uint16_t hinted : 1 = 0;
};

// All tracked pages, by PageId; numbers that are not tracked are Place::nowhere.
struct Pages {
    std::vector<Belief> beliefs;
    std::vector<PageState> states;
    std::vector<Block> blocks;

    void reserve_to(PageId end) {
        size_t block_count = (size_t(end) + block_pages - 1) / block_pages;
        if (block_count <= blocks.size()) return;
        size_t count = block_count * block_pages;
        beliefs.reserve(count);  // exactly: two bytes a page are promised
        states.reserve(count);
        beliefs.resize(count, belief_unknown());
        states.resize(count);
        blocks.resize(block_count);
    }
    size_t bytes() const {
        return beliefs.capacity() + states.capacity() + blocks.capacity() * sizeof(Block);
    }
};

}  // namespace libpool::tier
