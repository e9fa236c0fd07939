// SPDX-License-Identifier: Apache-2.0
#include "tier/places.h"

#include <algorithm>

namespace libpool::tier {

void Places::track(Run run) {
    pages_.reserve_to(run.end());
    for (PageId page = run.first; page < run.end(); page += block_pages) {
        Block& block = pages_.blocks[page / block_pages];
        block = Block{};
        block.pages = uint16_t(std::min<uint32_t>(block_pages, run.end() - page));
    }
    for (PageId page = run.first; page < run.end(); ++page) {
        pages_.states[page] = PageState{};
    }
}

void Places::forget(Run run) {
    for (PageId page = run.first; page < run.end(); ++page) {
        PageState& state = pages_.states[page];
        counts_.home_near -= state.home_near();
        counts_.guests -= state.guest();
        counts_.exiles -= state.exile();
        counts_.near -= state.place() == Place::near;
        counts_.far -= state.place() == Place::far;
        pages_.states[page] = PageState{};
    }
    for (PageId page = run.first; page < run.end(); page += block_pages) {
        pages_.blocks[page / block_pages] = Block{};
    }
}

// The first place of a page is its baseline, but where our guests take the room that it would have
// found near without us.
uint64_t Places::put(std::span<const PageId> pages, Place where, uint64_t near_pages) {
    uint64_t moved = 0;
    for (PageId page : pages) {
        PageState& state = pages_.states[page];
        Place before = state.place();
        if (before == where) continue;
        uint16_t& near_in_block = pages_.blocks[page / block_pages].near;
        near_in_block = uint16_t(near_in_block + (where == Place::near) - (before == Place::near));
        counts_.guests -= state.guest();
        counts_.exiles -= state.exile();
        if (where == Place::nowhere) {
            counts_.home_near -= state.home_near();
            (before == Place::near ? counts_.near : counts_.far)--;
            state = PageState{};
            continue;
        }
        if (before == Place::nowhere) {
            bool home = where == Place::near ||
                        (counts_.near > counts_.home_near && counts_.home_near < near_pages);
            state.set_home_near(home);
            counts_.home_near += home;
        } else {
            if (book_against_last_) {
                counts_.home_near += before == Place::near;
                counts_.home_near -= state.home_near();
                state.set_home_near(before == Place::near);
            }
            (before == Place::near ? counts_.near : counts_.far)--;
            ++moved;
            state.set_resting(true);
            state.set_credit(0);
        }
        state.set_place(where);
        (where == Place::near ? counts_.near : counts_.far)++;
        counts_.guests += state.guest();
        counts_.exiles += state.exile();
    }
    return moved;
}

}  // namespace libpool::tier
