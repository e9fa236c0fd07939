// SPDX-License-Identifier: Apache-2.0
#include "tier/lesson.h"

#include <algorithm>
#include <cmath>

namespace libpool::tier {

namespace {

// Of a block: as many pages on the wrong side make it contested.
constexpr uint32_t odd_pages = 4;
// Log of how much likelier a block's sights are if nothing but the prior is believed of its pages,
// from which on what is believed of them is taken to be outdated.
constexpr double outdated = 11.5;  // 1e5
// And of each page, on average: many that are all off by a little are no news.
constexpr double outdated_a_page = 0.2;
constexpr double most_pages =
    0.75;  // of a sample that are touched: then the block is taken for hot

// Touches that one seen touch in `window_s` stands for, of a page with this rate.
double multiplicity(double rate, double window_s) {
    double expected = rate * window_s;
    return expected < 1e-3 ? 1 : expected / (1 - std::exp(-expected));
}

// A huge page takes the touches of 512.
std::vector<double> stretched(std::vector<double> rungs_s) {
    for (double& at_s : rungs_s) at_s *= block_pages;
    return rungs_s;
}

}  // namespace

Lesson::Lesson(Pages& pages, const Schedule& schedule, const Reading& reading,
               const Background& background, uint64_t& dice)
    : pages_(pages),
      schedule_(schedule),
      reading_(reading),
      background_(background),
      dice_(dice),
      telling_(std::min(schedule.telling_rung(), reading.rungs_s.size() - 1)),
      booking_(std::min(schedule.booking_rung(), reading.rungs_s.size() - 1)),
      telling_s_(reading.rungs_s[telling_]),
      booking_s_(reading.counts.empty() ? reading.rungs_s[booking_] : reading.rungs_s.back()),
      small_(reading.rungs_s, background.forgetting, background.prior),
      value_(reading.rungs_s) {}

Sums Lesson::learn() {
    size_t at = 0;
    for (const Run& run : reading_.runs) {
        for (PageId page = run.first; page < run.end();) {
            PageId end = std::min(run.end(), (page / block_pages + 1) * block_pages);
            if (end <= pages_.states.size()) {
                learn_segment({page, end - page}, reading_.sights.data() + at,
                              reading_.counts.empty() ? nullptr : reading_.counts.data() + at);
            }
            at += end - page;
            page = end;
        }
    }
    return sums_;
}

void Lesson::count_touch(PageId page, Sight sight, double weight, bool huge) {
    if (sight > booking_) return;
    std::vector<double>& known = multiplicities_[huge];
    if (known.empty()) known.resize(belief_count);
    const Belief belief = pages_.belief(page);
    double& touches = known[belief];
    if (touches == 0) {
        touches = multiplicity(rates_of(belief).mean * (huge ? block_pages : 1), booking_s_);
    }
    (pages_.states[page].place() == Place::near ? sums_.near : sums_.far) += weight * touches;
}

const std::vector<uint8_t>& Lesson::sides() {
    if (sides_.empty()) {
        for (size_t belief = 0; belief < belief_count; ++belief) {
            const BeliefRates& rates = rates_of(Belief(belief));
            sides_.push_back(uint8_t((rates.high > background_.boundary_rate ? above : unsure) |
                                     (rates.low < background_.boundary_rate ? below : unsure)));
        }
    }
    return sides_;
}

void Lesson::learn_counts(Run segment, const uint32_t* counts) {
    for (uint32_t i = 0; i < segment.pages; ++i) {
        PageId page = segment.first + i;
        const PageState state = pages_.states[page];
        if (state.place() == Place::nowhere) continue;
        pages_.states[page].set_belief(
            belief_counted(state.belief(), counts[i], booking_s_, background_.forgetting, dice_));
        (state.place() == Place::near ? sums_.near : sums_.far) += counts[i];
        sums_.touches_per_s += counts[i] / booking_s_;
        if (state.guest()) sums_.deviants.guests += counts[i] / booking_s_;
        if (state.exile()) sums_.deviants.exiles += counts[i] / booking_s_;
    }
}

void Lesson::learn_segment(Run segment, const Sight* sights, const uint32_t* counts) {
    size_t index = segment.first / block_pages;
    Block& block = pages_.blocks[index];
    if (block.pages == 0) return;  // forgotten meanwhile
    if (counts) {
        learn_counts(segment, counts);
        block.uniform = 0;
        return;
    }
    // Pages that were armed for the books alone are no fair sample of their block.
    const bool fair = !schedule_.added(segment.first);
    double weight =
        fair ? schedule_.stands_for(block.pages, segment.pages) / schedule_.chance_of(index) : 0;
    if (block.huge) {
        PageId first = PageId(index * block_pages);
        if (sights[0] == page_absent) return;
        sums_.touches_per_s += fair ? value_.high(sights[0]) / schedule_.chance_of(index) : 0;
        count_touch(first, sights[0], fair ? 1 / schedule_.chance_of(index) : 0, true);
        if (background_.dear) {
            const double stands_for = 1 / schedule_.chance_of(index);
            const PageState state = pages_.states[first];
            if (state.guest()) sums_.deviants.guests += stands_for * value_.low(sights[0]);
            if (state.exile()) sums_.deviants.exiles += stands_for * value_.high(sights[0]);
        }
        if (!huge_) {
            huge_.emplace(stretched(reading_.rungs_s), background_.forgetting, background_.prior);
        }
        Belief next = huge_->next(pages_.belief(first), sights[0], dice_);
        pages_.set_belief({first, block.pages}, next);
        return;
    }
    std::array<uint32_t, rung_limit> touched{}, guests{}, exiles{};
    for (uint32_t i = 0; i < segment.pages; ++i) {
        const Sight sight = sights[i];
        if (sight >= rung_limit) continue;
        const PageState state = pages_.states[segment.first + i];
        if (state.place() == Place::nowhere) continue;
        count_touch(segment.first + i, sight, weight, false);
        ++touched[sight];
        guests[sight] += state.guest();
        exiles[sight] += state.exile();
    }
    for (size_t sight = 0; sight < reading_.rungs_s.size(); ++sight) {
        const double low = weight * value_.low(Sight(sight));
        const double high = weight * value_.high(Sight(sight));
        sums_.touches_per_s += touched[sight] * high;
        if (!background_.dear) continue;
        sums_.deviants.guests += guests[sight] * low;
        sums_.deviants.exiles += exiles[sight] * high;
    }
    const bool outdates = fair && contradicted(segment, sights);
    if (fair && segment.pages < block.pages) learn_sample(segment, sights, outdates);
    for (uint32_t i = 0; i < segment.pages; ++i) {
        if (sights[i] == page_absent) continue;
        PageId page = segment.first + i;
        pages_.states[page].set_belief(small_.next(pages_.belief(page), sights[i], dice_));
    }
    if (schedule_.full()) judge_block(index);
}

// Do these sights say that the block has turned, whatever the program as a whole does? A
// likelihood ratio: of beliefs that are right it is as high once in 100,000 readings.
bool Lesson::contradicted(Run segment, const Sight* sights) {
    Block& block = pages_.blocks[segment.first / block_pages];
    ++sums_.blocks;
    int64_t steps = 0, present = 0;
    for (uint32_t i = 0; i < segment.pages; ++i) {
        if (sights[i] == page_absent) continue;
        ++present;
        steps += small_.surprise(pages_.belief(segment.first + i), sights[i]);
    }
    const double surprise = double(steps) / BeliefUpdate::surprise_unit;
    if (surprise < std::max(outdated, outdated_a_page * double(present))) return false;
    ++sums_.outdated;
    if (block.turns == Block::turns_full) return false;
    ++block.turns;
    return true;
}

// A few pages of a block that contradict what is believed, most of them touched or none: then the
// whole block has turned, as contiguous hot sets do, and one new belief is made for all its pages
// from what each of the sample says. Of a block that was taken to be all alike, any surprise calls
// for a look at all pages.
void Lesson::learn_sample(Run segment, const Sight* sights, bool contradicted) {
    size_t index = segment.first / block_pages;
    Block& block = pages_.blocks[index];
    double expected = 0;
    uint32_t touched = 0, present = 0;
    for (uint32_t i = 0; i < segment.pages; ++i) {
        if (sights[i] == page_absent) continue;
        ++present;
        touched += sights[i] <= telling_;
        expected += 1 - std::exp(-rates_of(pages_.belief(segment.first + i)).mean * telling_s_);
    }
    if (present == 0) return;
    if (contradicted && (touched == 0 || touched >= most_pages * present)) {
        Belief belief = belief_about(background_.boundary_rate, 4);
        for (uint32_t i = 0; i < segment.pages; ++i) {
            if (sights[i] != page_absent) belief = small_.next(belief, sights[i], dice_);
        }
        pages_.set_belief({PageId(index * block_pages), block.pages},
                          belief_about(rates_of(belief).mean, std::max(spread_of(belief), 2)));
        block.hot = touched > 0;
        return;
    }
    double surprise = std::abs(double(touched) - expected);
    if (contradicted ||
        surprise > 1.5 + 2 * std::sqrt(std::min(expected, present - expected) + 0.25)) {
        block.uniform = 0;
    }
}

// Are all on one side of the boundary, and surely? Then some stand for all from here on. Pages keep
// their own beliefs: one for all would forget the few that are different.
void Lesson::judge_block(size_t index) {
    if (!background_.boundary_learnt) return;
    Block& block = pages_.blocks[index];
    const std::vector<uint8_t>& sides_of = sides();
    uint32_t hot = 0, cold = 0;
    for (uint32_t i = 0; i < block.pages; ++i) {
        const uint8_t side = sides_of[pages_.belief(index * block_pages + i)];
        hot += (side & above) != 0;
        cold += (side & below) != 0;
    }
    block.uniform = hot < odd_pages || cold < odd_pages;
    block.hot = hot >= odd_pages;
}

}  // namespace libpool::tier
