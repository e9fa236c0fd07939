// SPDX-License-Identifier: Apache-2.0
#include "tier/split.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>

namespace libpool::tier {

namespace {

// Parts must serve so much more of the touches: what is lost with huge pages (TLB misses) nobody
// here has measured.
constexpr double least_gain = 0.1;
// A block that can hold fewer hot parts than this is cold, and one whose average is so near to the
// rate of hot parts is hot: both stay whole.
constexpr double least_hot_parts = 16, hot_part = 0.5;
constexpr double trial_pause_s = 60;    // to the next one; doubles
constexpr uint64_t most_at_once = 256;  // blocks a decision
constexpr double most_at_once_s = 0.25;
constexpr double pays_times = 2;      // what is won, against what splitting costs
constexpr double least_share = 0.01;  // of the parts that are called the hottest
// A look that found more of the parts touched tells nothing of rates, nor one that found fewer.
constexpr double most_touched = 0.5, fewest_touched = 0.003, enough_touched = 0.03;
// One look ranks poorly: in a guest it found 28 % of the touches where 38 % could be served.
constexpr double doubts = 2;  // of few touches many may be on the hottest parts by chance
constexpr int ranking_readings = 2;
constexpr int most_looks = 12;
constexpr size_t groups = 6;  // of the hottest parts, and of the others
// What is believed of a part of a huge page: as much as of the average page, but as a guess.
constexpr int part_spread = 4;

PageId first_of(size_t block) { return PageId(block * block_pages); }

bool holds_memory(const Pages& pages, size_t block) {
    return pages.blocks[block].pages == block_pages &&
           pages.states[first_of(block)].place() != Place::nowhere;
}

// The sights of a block that was looked at as a whole.
const Sight* sights_of(const Reading& reading, uint32_t block) {
    size_t at = 0;
    for (const Run& run : reading.runs) {
        if (first_of(block) >= run.first && first_of(block) + block_pages <= run.end()) {
            return &reading.sights[at + first_of(block) - run.first];
        }
        at += run.pages;
    }
    return nullptr;
}

// Touches in a look's time, of which only the first is seen.
double unsaturated(double touched, double of) {
    return of > 0 ? -std::log1p(-std::min(touched / of, 1 - 0.5 / of)) : 0;
}

}  // namespace

void Splits::forget(Run run) {
    for (size_t block = run.first / block_pages; first_of(block) < run.end(); ++block) {
        if (block < split_.size()) split_[block] = false;
        std::erase_if(tried_, [&](const Tried& tried) { return tried.block == block; });
    }
}

void Splits::see(const Pages& pages, const Reading& reading) {
    if (state_ != SplitState::trial || judged_ || !reading.counts.empty()) return;
    size_t there = 0;
    std::vector<Tried*> seen;
    std::array<double, rung_limit> touched{};
    double parts = 0;
    for (Tried& tried : tried_) {
        if (const Sight* sights = sights_of(reading, tried.block)) {
            tried.gone = std::ranges::binary_search(reading.huge, first_of(tried.block)) ||
                         !holds_memory(pages, tried.block);
            if (!tried.gone) seen.push_back(&tried);
            for (uint32_t page = 0; page < block_pages && !tried.gone; ++page) {
                parts += sights[page] != page_absent;
                if (sights[page] < rung_limit) ++touched[sights[page]];
            }
        }
        there += !tried.gone;
    }
    if (there == 0) {
        // They could not be split, or are no more.
        judged_ = true;
        parts_share_ = whole_share_ = near_share_;
        return;
    }
    if (seen.size() < std::max(std::min(there, least_trial_blocks), there / 4)) return;
    // The first look with enough touches: later ones saturate.
    Sight rung = 0;
    double so_far = touched[0];
    while (so_far < enough_touched * parts && rung + 1u < reading.rungs_s.size()) {
        so_far += touched[++rung];
    }
    if (so_far <= fewest_touched * parts) return;                      // idle
    if (so_far > std::max(most_touched, near_share_) * parts) return;  // far too late
    bool ranked = true;
    for (Tried* tried : seen) ranked = tried->readings++ >= ranking_readings && ranked;
    if (ranked) judge(pages, reading, rung);
}

// By the touches of this reading, and the beliefs from before it.
void Splits::judge(const Pages& pages, const Reading& reading, Sight rung) {
    struct Part {
        float rate;
        Sight sight;
        size_t of;
    };
    std::vector<Part> parts;
    for (size_t i = 0; i < tried_.size(); ++i) {
        tried_[i].rate = -1;
        const Sight* sights = sights_of(reading, tried_[i].block);
        if (!sights || tried_[i].gone) continue;
        for (uint32_t page = 0; page < block_pages; ++page) {
            if (sights[page] == page_absent) continue;
            const Belief belief = pages.belief(first_of(tried_[i].block) + page);
            parts.push_back({rates_of(belief).mean, sights[page], i});
        }
    }
    const auto all = double(parts.size());
    std::ranges::stable_sort(parts, std::greater<>(), &Part::rate);
    const double share = std::clamp(near_share_, least_share, 1.0);
    const auto hottest = std::max(size_t(share * all), size_t(1));
    double hot = 0, every = 0, hot_believed = 0, believed = 0;
    // In groups of equals, as far as is known: what the touched ones of a group stand for, since
    // only the first touch of each is seen.
    auto add_group = [&](size_t from, size_t to) {
        double seen = 0;
        for (size_t i = from; i < to; ++i) seen += parts[i].sight <= rung;
        const double of = double(to - from);
        const double weight = seen > 0 ? of * unsaturated(seen, of) / seen : 0;
        for (size_t i = from; i < to; ++i) {
            const double touches = parts[i].sight <= rung ? weight : 0;
            Tried& tried = tried_[parts[i].of];
            tried.rate = std::max(tried.rate, 0.0) + touches;
            every += touches;
            hot += i < hottest ? touches : 0;
            believed += parts[i].rate;
            hot_believed += i < hottest ? parts[i].rate : 0;
        }
    };
    for (size_t i = 0; i < groups; ++i) {
        add_group(hottest * i / groups, hottest * (i + 1) / groups);
        const size_t others = parts.size() - hottest;
        add_group(hottest + others * i / groups, hottest + others * (i + 1) / groups);
    }
    parts_share_ = hot / std::max(every, 1e-12);
    hot_rate_ = hot_believed / double(hottest);
    mean_rate_ = believed / all;
    whole_share_ = served_by_blocks(share);
    double touches = 0;
    for (const Part& part : parts) touches += part.sight <= rung;
    doubt_ = std::sqrt(share * (1 - share) / std::max(touches, 1.0));
    judged_ = true;
}

// What whole blocks serve that are chosen by what was believed of them. Those that could not be
// told apart (one octave) have equal chances.
double Splits::served_by_blocks(double near_share) const {
    struct Level {
        double blocks = 0, rate = 0;
    };
    std::vector<std::pair<int, Level>> levels;
    double all = 0, blocks = 0;
    for (const Tried& tried : tried_) {
        if (tried.rate < 0) continue;  // not in the reading
        const int octave = int(std::floor(std::log2(std::max(tried.whole_rate, 1e-6f))));
        auto at = std::ranges::find(levels, octave, &std::pair<int, Level>::first);
        if (at == levels.end()) at = levels.insert(levels.end(), {octave, {}});
        ++at->second.blocks;
        at->second.rate += tried.rate;
        all += tried.rate;
        ++blocks;
    }
    std::ranges::sort(levels, std::greater<>(), &std::pair<int, Level>::first);
    double left = near_share * blocks, served = 0;
    for (const auto& [octave, level] : levels) {
        const double part = std::min(1.0, left / level.blocks);
        served += part * level.rate;
        left = std::max(0.0, left - level.blocks);
    }
    return all > 0 ? served / all : near_share;
}

bool Splits::pays(const Pages& pages, const SplitTerms& terms) const {
    const double gain = parts_share_ - whole_share_;
    if (gain < least_gain + doubts * doubt_) return false;
    const auto huge = double(status(pages).huge_blocks);
    const double won_s =
        gain * mean_rate_ * huge * block_pages * terms.loss_ns * 1e-9 * terms.stay_s;
    return won_s > pays_times * huge * terms.split_ns * 1e-9;
}

std::vector<PageId> Splits::choose(Pages& pages, const SplitTerms& terms, uint64_t& dice) {
    finished_ = given_up_ = false;
    for (const Tried& tried : tried_) pages.blocks[tried.block].uniform = 0;  // all parts are asked
    if (!terms.can_split || terms.near_share >= 1 || terms.near_share <= 0) {
        if (state_ == SplitState::trial) {
            state_ = SplitState::worthless;
            given_up_ = true;
            tried_.clear();
        }
        return {};
    }
    if (state_ == SplitState::trial && !judged_ && ++looks_ > most_looks) {
        // Idle, or no look is early enough: parts are taken to be alike.
        judged_ = true;
        parts_share_ = whole_share_ = near_share_;
    }
    if (state_ == SplitState::trial && judged_) {
        judged_ = false;
        tried_.clear();
        const bool worth = pays(pages, terms);
        state_ = worth ? SplitState::worth : SplitState::worthless;
        given_up_ = !worth;
        next_trial_s_ = terms.now_s + std::exp2(trials_ - 1) * trial_pause_s;
    }
    if (state_ == SplitState::worth) return split_rest(pages, terms);
    if (state_ != SplitState::trial && trials_ < most_trials && terms.now_s >= next_trial_s_ &&
        terms.all_looked_at) {
        return begin_trial(pages, terms, dice);
    }
    return {};
}

// One of each stretch of them, so that a hot set in one place has its share of the trial.
std::vector<PageId> Splits::begin_trial(Pages& pages, const SplitTerms& terms, uint64_t& dice) {
    std::vector<uint32_t> huge;
    for (size_t block = 0; block < pages.blocks.size(); ++block) {
        if (pages.blocks[block].huge && holds_memory(pages, block) && !was_split(block)) {
            huge.push_back(uint32_t(block));
        }
    }
    if (huge.size() < least_trial_blocks) return {};
    const size_t wanted = std::clamp(huge.size() / 8, least_trial_blocks, trial_blocks);
    if (double(wanted) * terms.split_ns * 1e-9 > terms.most_s) return {};
    std::vector<PageId> chosen;
    tried_.clear();
    for (size_t i = 0; i < wanted; ++i) {
        const size_t from = i * huge.size() / wanted, to = (i + 1) * huge.size() / wanted;
        const uint32_t block = huge[from + roll(dice) % (to - from)];
        tried_.push_back({block, rates_of(pages.belief(first_of(block))).mean});
        mark(pages, block);
        chosen.push_back(first_of(block));
    }
    near_share_ = terms.near_share;
    judged_ = false;
    looks_ = 0;
    state_ = SplitState::trial;
    ++trials_;
    return chosen;
}

std::vector<PageId> Splits::split_rest(Pages& pages, const SplitTerms& terms) {
    const double boundary = hot_part * hot_rate_;
    const double money_s = std::min(most_at_once_s, terms.most_s);
    const auto most = std::min<uint64_t>(
        most_at_once, uint64_t(std::max(money_s, 0.0) / std::max(terms.split_ns * 1e-9, 1e-9)));
    std::vector<PageId> chosen;
    bool more = false;
    for (size_t block = 0; block < pages.blocks.size(); ++block) {
        if (!pages.blocks[block].huge || !holds_memory(pages, block) || was_split(block)) continue;
        const BeliefRates& rates = rates_of(pages.belief(first_of(block)));
        if (rates.high * block_pages < least_hot_parts * boundary) continue;
        if (rates.low > boundary) continue;
        if (chosen.size() == most) {
            more = true;
            break;
        }
        chosen.push_back(first_of(block));
    }
    for (PageId page : chosen) mark(pages, page / block_pages);
    finished_ = !chosen.empty() && !more;
    return chosen;
}

void Splits::mark(Pages& pages, uint32_t block) {
    if (split_.size() < pages.blocks.size()) split_.resize(pages.blocks.size());
    split_[block] = true;
    ++asked_;
    const double rate = rates_of(pages.belief(first_of(block))).mean;
    pages.set_belief({first_of(block), block_pages}, belief_about(rate, part_spread));
    pages.blocks[block].huge = 0;
    pages.blocks[block].uniform = 0;
}

SplitStatus Splits::status(const Pages& pages) const {
    SplitStatus status;
    status.state = state_;
    status.asked_blocks = asked_;
    status.parts_share = parts_share_;
    status.whole_share = whole_share_;
    for (const Block& block : pages.blocks) status.huge_blocks += block.huge && block.pages > 0;
    return status;
}

}  // namespace libpool::tier
