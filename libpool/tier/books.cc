// SPDX-License-Identifier: Apache-2.0
#include "tier/books.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "tier/touch_value.h"

namespace libpool::tier {

namespace {

constexpr double watched_pages = 64;  // guests, and exiles, that are watched in a cycle
constexpr double rate_step = 0.2;     // weight of the newest reading in the rate of all touches

}  // namespace

// Drawn anew for each cycle with chances that are fixed before: right on average whatever is
// believed of them. Rejected: those among the pages that are looked at anyway; of few deviations
// hardly any was seen, and the margin took what was earned.
std::vector<PageId> Books::draw(const Places& places, uint64_t& dice) {
    watched_.clear();
    const Pages& pages = places.pages();
    const std::array<uint64_t, 2> counts = {places.counts().guests, places.counts().exiles};
    for (size_t exiles : {0, 1}) {
        if (counts[exiles] == 0) continue;
        const double chance = std::min(1.0, watched_pages / double(counts[exiles]));
        // Of a geometric distribution: how many to pass over until the next one.
        auto gap = [&] {
            if (chance >= 1) return 0.0;
            const double uniform = (double(roll(dice) >> 11) + 0.5) * 0x1p-53;
            return std::floor(std::log(uniform) / std::log1p(-chance));
        };
        const double chance_huge = std::min(1.0, chance * block_pages);
        double left = gap();
        for (size_t b = 0; b < pages.blocks.size(); ++b) {
            const Block& block = pages.blocks[b];
            const PageState* states = &pages.states[b * block_pages];
            auto deviates = [&](PageState s) { return exiles ? s.exile() : s.guest(); };
            const auto first = PageId(b * block_pages);
            if (block.huge) {
                if (deviates(*states) && double(roll(dice) >> 11) * 0x1p-53 < chance_huge) {
                    watched_.push_back({first, float(1 / chance_huge)});
                }
                continue;
            }
            for (uint32_t i = 0; i < block.pages; ++i) {
                if (!deviates(states[i])) continue;
                if (left >= 1) {
                    --left;
                    continue;
                }
                watched_.push_back({first + i, float(1 / chance)});
                left = gap();
            }
        }
    }
    std::sort(watched_.begin(), watched_.end(),
              [](const Watched& a, const Watched& b) { return a.page < b.page; });
    std::vector<PageId> drawn;
    for (const Watched& watched : watched_) drawn.push_back(watched.page);
    return drawn;
}

// By sight alone: beliefs can be wrong where a page changes its ways, and must not be here.
void Books::count(const Pages& pages, const Reading& reading, DeviantRates& rates) const {
    const TouchValue value(reading.rungs_s);
    size_t run = 0, at = 0;
    for (const Watched& watched : watched_) {
        while (run < reading.runs.size() && reading.runs[run].end() <= watched.page) {
            at += reading.runs[run++].pages;
        }
        if (run == reading.runs.size()) break;
        if (watched.page < reading.runs[run].first) continue;  // could not be armed
        const Sight sight = reading.sights[at + watched.page - reading.runs[run].first];
        const PageState state = pages.states[watched.page];
        if (state.guest()) rates.guests += watched.stands_for * value.low(sight);
        if (state.exile()) rates.exiles += watched.stands_for * value.high(sight);
    }
}

void Books::book(const DeviantRates& rates, const Situation& situation, double stands_for_s) {
    const double booked_s = std::max(situation.loss_ns, 0.0) * 1e-9 * stands_for_s;
    bank_.book(rates.guests * booked_s, rates.exiles * booked_s);
}

void Books::spend(uint64_t moved_pages, double move_ns) {
    bank_.spend(double(moved_pages) * move_ns * 1e-9);
}

void Books::see_rate(double touches_per_s) {
    rate_ += (touches_per_s - rate_) * std::max(rate_step, 1.0 / ++rates_);
}

double Books::risk_s(const Situation& situation, double longest_gap_s) const {
    const double touch_s = std::max(situation.loss_ns, 0.0) * 1e-9;
    return rate_ * touch_s * longest_gap_s / double(std::max<uint64_t>(situation.near_pages, 1));
}

void Books::settle(const TierConfig& config, const Situation& situation, const PlaceCounts& counts,
                   double longest_gap_s, double introduction_s) {
    double move_s = situation.move_ns * 1e-9;
    const double touch_s = std::max(situation.loss_ns, 0.0) * 1e-9;
    unnoticed_s_ = std::max(unnoticed_s_, rate_ * touch_s * longest_gap_s);
    bank_.set_reserve(move_s * double(counts.guests + counts.exiles));
    bank_.set_unused_budget(config.cpu_share * situation.program_cpu_s - situation.overhead_cpu_s);
    if (config.allowance_s >= 0) {
        bank_.set_allowance(config.allowance_s);
    } else {
        // Filling near and coming back, twice over; what one bad booking may cost; the first looks,
        // which are spent whether anything moves or not; and two seconds to be uncertain about.
        double rule_s =
            8 * move_s * double(situation.near_pages) + unnoticed_s_ + introduction_s + 2;
        bank_.set_allowance(std::max(bank_.allowance_s(), rule_s));
    }
}

}  // namespace libpool::tier
