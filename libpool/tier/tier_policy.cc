// SPDX-License-Identifier: Apache-2.0
#include "tier/tier_policy.h"

#include <algorithm>
#include <cmath>
#include <cstdarg>
#include <optional>

#include "error.h"
#include "tier/bank.h"
#include "tier/change.h"
#include "tier/choose.h"
#include "tier/pages.h"
#include "tier/schedule.h"

namespace libpool::tier {

namespace {

// Share of a belief that returns to the prior per reading; and for the first ones after a change.
constexpr double forgetting_usual = 0.001;
constexpr double forgetting_changed = 0.85, forgetting_after = 0.5;
constexpr double changed_readings = 2;
constexpr double watched_pages = 64;  // guests, and exiles, that are watched in a cycle
// What a look at all pages is worth to the change detector, in glances.
constexpr double whole_weight = 12;
// Of the pages, moved between two such looks: up to here the second one can show a change.
constexpr double quiet_part = 0.02;
// How long a program is expected to stay as it is: as long as it has been, and until it has changed
// for the first time, two minutes: dear moves (5 ms a page to an emulated extent) would never pay
// else.
constexpr double stay_min_s = 5, stay_unknown_s = 120, stay_max_s = 300;
// Of a block: as many pages on the wrong side make it contested.
constexpr uint32_t odd_pages = 4;
constexpr uint64_t learning_cycles = 3;  // full ones, before blocks may be judged as a whole
// Log of the chance under what is believed, below which a block is taken to have turned.
const double turned = std::log(1e-5);
// A block may turn thrice, and once more each so many seconds: what streams in rounds turns for
// ever, and its average is what counts.
constexpr double turns_fade_s = 60;
// Weight of the newest reading in the near share.
constexpr double share_step = 0.2;
constexpr double hot_hint_factor = 4;
// Part of the allowance that is not spent on new deviations.
constexpr double kept_part = 0.15;

// Touches that one seen touch in `window_s` stands for, of a page with this rate.
double multiplicity(double rate, double window_s) {
    double expected = rate * window_s;
    return expected < 1e-3 ? 1 : expected / (1 - std::exp(-expected));
}

// A smoothed mean with its variance.
class Smooth {
  public:
    void add(double value) {
        double step = std::max(share_step, 1.0 / ++count_);
        double away = value - mean_;
        mean_ += step * away;
        variance_ = (1 - step) * (variance_ + step * away * away);
    }
    double mean() const { return mean_; }
    // Of the mean of 2/share_step values, 90 % two-sided.
    double half_width() const { return 1.645 * std::sqrt(variance_ * share_step / 2); }
    bool empty() const { return count_ == 0; }

  private:
    double mean_ = 0, variance_ = 0;
    int count_ = 0;
};

// A guest or an exile (or a huge page of them) that the books rest on, and how many it stands for.
struct Watched {
    PageId page;
    float stands_for;
};

class LadderPolicy final : public TierPolicy {
  public:
    explicit LadderPolicy(const TierConfig& config)
        : config_(config),
          schedule_(config.cpu_share, config.busy_cpu_share, config.seed),
          bank_(config.delta),
          dice_(config.seed * 0xd1342543de82ef95ull | 1) {}

    void track(Run run) override;
    void forget(Run run) override;
    void place(std::span<const PageId> pages, Place where) override;
    Aim aim(const Situation& situation) override;
    void observe(const Reading& reading, const Situation& situation) override;
    Plan decide(const Situation& situation) override;
    void hint(Run run, Hint hint) override;
    void set_cpu_share(double share) override {
        config_.cpu_share = share;
        schedule_.set_share(share);
    }
    TierStatus status() const override;
    Explanation explain(PageId page) const override;
    std::vector<float> rates(Run run) const override;
    std::vector<Step> benefit() const override;

  private:
    // What one reading adds up to. Touches stand for pages that were not armed, too.
    struct Sums {
        double near = 0, far = 0;       // touches in the telling window, as believed
        double guests = 0, exiles = 0;  // touched at the first look
    };
    struct Context {
        const Reading& reading;
        BeliefUpdate small, huge;     // of pages, of huge pages
        size_t telling, booking;      // rungs
        double telling_s, booking_s;  // their times
        double forgetting;
        Sums sums;
    };
    void observe_segment(Context& context, Run segment, const Sight* sights,
                         const uint32_t* counts);
    void count_touch(Context& context, PageId page, Sight sight, double weight, double unit);
    void observe_sample(Context& context, Run segment, const Sight* sights);
    void learn_block(size_t block);
    void draw_watched();
    void count_watched(Context& context) const;
    void book(const Context& context, const Situation& situation);
    void note_change(double now_s);
    double raw_far_share(const Reading& reading) const;
    void settle_accounts(const Situation& situation);
    bool busy(double now_s) const { return now_s < busy_until_s_; }
    // What has lasted will last; after a change, half as long as the last time.
    double stay_s(double now_s) const {
        const double least_s = changes_ == 0 ? stay_unknown_s : stay_min_s;
        return std::clamp(std::max(now_s - changed_s_, lasted_s_ / 2), least_s, stay_max_s);
    }

    TierConfig config_;
    Pages pages_;
    std::vector<HintedRun> hints_;
    Schedule schedule_;
    Bank bank_;
    ChangeDetector change_;
    std::vector<Watched> watched_;  // in the cycle that aim() gave last; rising
    uint64_t dice_;

    bool begun_ = false;
    double lasted_s_ = 0;   // between the last two changes
    double changed_s_ = 0;  // when the program last changed its ways, or we began
    double busy_until_s_ = 0;
    double forget_more_ = 0;  // times that all blocks are still to be looked at with a short memory
    Prior prior_ = prior_of_nothing();
    double last_decide_s_ = 0;
    double faded_s_ = 0;
    double total_rate_ = 0;     // touches/s of all pages: the most lately seen
    double unnoticed_s_ = 0;    // the most that could be lost between two bookings, so far
    double resolved_rate_ = 0;  // touches/s of one page up to which the books are right
    double boundary_rate_ = 1;
    uint64_t home_near_ = 0;   // pages whose baseline is near
    uint64_t near_pages_ = 0;  // capacity, as last told
    uint64_t guests_ = 0, exiles_ = 0, near_ = 0, far_ = 0;
    double victim_rate_high_ = 0;
    Situation last_;
    Smooth near_share_;
    uint64_t moved_ = 0;        // pages, since the reading before
    bool dear_ = false;         // runs are, in the cycle under way
    uint64_t full_cycles_ = 0;  // since we began to learn
    uint64_t cycles_ = 0, changes_ = 0, returned_ = 0;
};

void LadderPolicy::track(Run run) {
    pages_.reserve_to(run.end());
    for (PageId page = run.first; page < run.end(); page += block_pages) {
        Block& block = pages_.blocks[page / block_pages];
        block = Block{};
        block.pages = uint16_t(std::min<uint32_t>(block_pages, run.end() - page));
    }
    for (PageId page = run.first; page < run.end(); ++page) {
        pages_.states[page] = PageState{};
    }
    begun_ = false;  // learn again
}

void LadderPolicy::forget(Run run) {
    for (PageId page = run.first; page < run.end(); ++page) {
        PageState& state = pages_.states[page];
        home_near_ -= state.home_near();
        guests_ -= state.guest();
        exiles_ -= state.exile();
        near_ -= state.place() == Place::near;
        far_ -= state.place() == Place::far;
        pages_.states[page] = PageState{};
    }
    for (PageId page = run.first; page < run.end(); page += block_pages) {
        pages_.blocks[page / block_pages] = Block{};
    }
    std::erase_if(hints_, [&](const HintedRun& hinted) {
        return hinted.run.first < run.end() && run.first < hinted.run.end();
    });
}

// The first place of a page is its baseline, but where our guests take the room that it would have
// found near without us.
void LadderPolicy::place(std::span<const PageId> pages, Place where) {
    for (PageId page : pages) {
        PageState& state = pages_.states[page];
        Place before = state.place();
        if (before == where) continue;
        guests_ -= state.guest();
        exiles_ -= state.exile();
        if (where == Place::nowhere) {
            home_near_ -= state.home_near();
            (before == Place::near ? near_ : far_)--;
            state = PageState{};
            continue;
        }
        if (before == Place::nowhere) {
            bool home = where == Place::near || (near_ > home_near_ && home_near_ < near_pages_);
            state.set_home_near(home);
            home_near_ += home;
        } else {
            if (config_.book_against_last) {
                home_near_ += before == Place::near;
                home_near_ -= state.home_near();
                state.set_home_near(before == Place::near);
            }
            (before == Place::near ? near_ : far_)--;
            bank_.spend(last_.move_ns * 1e-9);
            ++moved_;
            state.set_resting(true);
            state.set_credit(0);
        }
        state.set_place(where);
        (where == Place::near ? near_ : far_)++;
        guests_ += state.guest();
        exiles_ += state.exile();
    }
}

Aim LadderPolicy::aim(const Situation& situation) {
    last_ = situation;
    if (!begun_) {
        begun_ = true;
        full_cycles_ = 0;
        schedule_.restart();
        changed_s_ = last_decide_s_ = situation.now_s;
        busy_until_s_ = situation.now_s + config_.busy_s;
    }
    near_pages_ = situation.near_pages;
    // Until all pages were looked at, their average is the best guess at the boundary.
    double boundary_rate = boundary_rate_;
    if (full_cycles_ < 2 && near_ + far_ > 0) {
        boundary_rate = std::max(total_rate_ / double(near_ + far_), 1e-2);
    }
    const bool broke =
        config_.bank && full_cycles_ > 2 && bank_.balance_s() < kept_part * bank_.allowance_s();
    // What looking more closely costs beyond the usual share comes out of what was saved of it; for
    // the first time, out of the allowance.
    const double saved_s =
        config_.cpu_share * situation.program_cpu_s - situation.overhead_cpu_s +
        (config_.busy_cpu_share - config_.cpu_share) * std::min(config_.busy_s, 10.0);
    const bool can_be_busy = busy(situation.now_s) && saved_s > 0;
    const Mood mood = can_be_busy ? Mood::busy : broke ? Mood::poor : Mood::usual;
    dear_ = runs_are_dear(situation.costs);
    std::vector<PageId> also;
    if (dear_) {
        watched_.clear();  // the books are kept by whole blocks
    } else {
        draw_watched();
    }
    for (const Watched& watched : watched_) also.push_back(watched.page);
    return schedule_.next(pages_, also, situation, boundary_rate, mood);
}

void LadderPolicy::count_touch(Context& context, PageId page, Sight sight, double weight,
                               double unit) {
    if (sight > context.booking) return;
    const PageState state = pages_.states[page];
    const BeliefRates& rates = rates_of(pages_.belief(page));
    const double window_s = context.booking_s;
    double stands_for = weight * multiplicity(rates.mean * unit, window_s);
    (state.place() == Place::near ? context.sums.near : context.sums.far) += stands_for;
}

// The books rest on some guests and some exiles, drawn anew for each cycle with chances that are
// fixed before: right on average whatever is believed of them. Rejected: those among the pages that
// are looked at anyway; of few deviations hardly any was seen, and the margin took what was earned.
void LadderPolicy::draw_watched() {
    watched_.clear();
    if (last_.costs.free()) return;  // counts of all pages come in
    const std::array<uint64_t, 2> counts = {guests_, exiles_};
    for (size_t exiles : {0, 1}) {
        if (counts[exiles] == 0) continue;
        const double chance = std::min(1.0, watched_pages / double(counts[exiles]));
        // Of a geometric distribution: how many to pass over until the next one.
        auto gap = [&] {
            if (chance >= 1) return 0.0;
            const double uniform = (double(roll(dice_) >> 11) + 0.5) * 0x1p-53;
            return std::floor(std::log(uniform) / std::log1p(-chance));
        };
        const double chance_huge = std::min(1.0, chance * block_pages);
        double left = gap();
        for (size_t b = 0; b < pages_.blocks.size(); ++b) {
            const Block& block = pages_.blocks[b];
            const PageState* states = &pages_.states[b * block_pages];
            auto deviates = [&](PageState s) { return exiles ? s.exile() : s.guest(); };
            const auto first = PageId(b * block_pages);
            if (block.huge) {
                if (deviates(*states) && double(roll(dice_) >> 11) * 0x1p-53 < chance_huge) {
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
}

// By sight alone: beliefs can be wrong where a page changes its ways, and must not be here.
void LadderPolicy::count_watched(Context& context) const {
    const Reading& reading = context.reading;
    size_t run = 0, at = 0;
    for (const Watched& watched : watched_) {
        while (run < reading.runs.size() && reading.runs[run].end() <= watched.page) {
            at += reading.runs[run++].pages;
        }
        if (run == reading.runs.size()) break;
        if (watched.page < reading.runs[run].first) continue;  // could not be armed
        if (reading.sights[at + watched.page - reading.runs[run].first] != 0) continue;
        const PageState state = pages_.states[watched.page];
        if (state.guest()) context.sums.guests += watched.stands_for;
        if (state.exile()) context.sums.exiles += watched.stands_for;
    }
}

// A few pages of a block, when all of them were touched or none, and that could hardly be by what
// is believed of them: then the whole block has turned, as contiguous hot sets do, and one new
// belief is made for all its pages from what each of the sample says. Of a block that was taken to
// be all alike, any surprise calls for a look at all pages.
void LadderPolicy::observe_sample(Context& context, Run segment, const Sight* sights) {
    size_t index = segment.first / block_pages;
    Block& block = pages_.blocks[index];
    double log_all = 0, log_none = 0, expected = 0;
    uint32_t touched = 0, present = 0;
    for (uint32_t i = 0; i < segment.pages; ++i) {
        if (sights[i] == page_absent) continue;
        ++present;
        touched += sights[i] <= context.telling;
        const double idle =
            std::exp(-rates_of(pages_.belief(segment.first + i)).mean * context.telling_s);
        expected += 1 - idle;
        log_all += std::log(1 - idle);
        log_none += std::log(idle);
    }
    if (present == 0) return;
    const bool turns =
        (touched == present && log_all < turned) || (touched == 0 && log_none < turned);
    if (turns && block.turns < Block::turns_full) {
        ++block.turns;
        Belief belief = belief_about(boundary_rate_, 4);
        for (uint32_t i = 0; i < segment.pages; ++i) {
            if (sights[i] != page_absent) belief = context.small.next(belief, sights[i], dice_);
        }
        pages_.set_belief({PageId(index * block_pages), block.pages},
                          belief_about(rates_of(belief).mean, std::max(spread_of(belief), 2)));
        block.hot = touched > 0;
        return;
    }
    double surprise = std::abs(double(touched) - expected);
    if (surprise > 1.5 + 2 * std::sqrt(std::min(expected, present - expected) + 0.25)) {
        block.uniform = 0;
    }
}

void LadderPolicy::observe_segment(Context& context, Run segment, const Sight* sights,
                                   const uint32_t* counts) {
    size_t index = segment.first / block_pages;
    Block& block = pages_.blocks[index];
    if (block.pages == 0) return;  // forgotten meanwhile
    // Pages that were armed for the books alone are no fair sample of their block.
    const bool fair = !schedule_.added(segment.first);
    double weight =
        fair ? schedule_.stands_for(block.pages, segment.pages) / schedule_.blocks_share() : 0;
    if (counts) {
        for (uint32_t i = 0; i < segment.pages; ++i) {
            PageId page = segment.first + i;
            const PageState state = pages_.states[page];
            if (state.place() == Place::nowhere) continue;
            pages_.states[page].set_belief(belief_counted(
                state.belief(), counts[i], context.booking_s, context.forgetting, dice_));
            (state.place() == Place::near ? context.sums.near : context.sums.far) += counts[i];
            if (state.guest()) context.sums.guests += counts[i];
            if (state.exile()) context.sums.exiles += counts[i];
        }
        block.uniform = 0;
        return;
    }
    if (block.huge) {
        PageId first = PageId(index * block_pages);
        if (sights[0] == page_absent) return;
        count_touch(context, first, sights[0], fair ? 1 / schedule_.blocks_share() : 0,
                    block_pages);
        Belief next = context.huge.next(pages_.belief(first), sights[0], dice_);
        pages_.set_belief({first, block.pages}, next);
        return;
    }
    for (uint32_t i = 0; i < segment.pages; ++i) {
        if (sights[i] == page_absent) continue;
        PageId page = segment.first + i;
        if (pages_.states[page].place() == Place::nowhere) continue;
        count_touch(context, page, sights[i], weight, 1);
        if (dear_ && sights[i] == 0) {
            if (pages_.states[page].guest()) context.sums.guests += weight;
            if (pages_.states[page].exile()) context.sums.exiles += weight;
        }
    }
    if (fair && segment.pages < block.pages) {
        observe_sample(context, segment, sights);
    }
    for (uint32_t i = 0; i < segment.pages; ++i) {
        if (sights[i] == page_absent) continue;
        PageId page = segment.first + i;
        pages_.states[page].set_belief(context.small.next(pages_.belief(page), sights[i], dice_));
    }
    if (schedule_.full()) learn_block(index);
}

// Are all on one side of the boundary, and surely? Then some stand for all from here on. Pages keep
// their own beliefs: one for all would forget the few that are different.
void LadderPolicy::learn_block(size_t index) {
    if (full_cycles_ < learning_cycles) return;  // the boundary is a guess
    Block& block = pages_.blocks[index];
    uint32_t above = 0, below = 0;
    for (uint32_t i = 0; i < block.pages; ++i) {
        const BeliefRates& rates = rates_of(pages_.belief(index * block_pages + i));
        above += rates.high > boundary_rate_;
        below += rates.low < boundary_rate_;
    }
    block.uniform = above < odd_pages || below < odd_pages;
    block.hot = above >= odd_pages;
}

void LadderPolicy::observe(const Reading& reading, const Situation& situation) {
    last_ = situation;
    if (reading.rungs_s.empty() || reading.runs.empty()) return;
    for (Block& block : pages_.blocks) {
        if (!reading.huge.empty() || block.huge) block.huge = 0;
    }
    for (PageId first : reading.huge) {
        if (first / block_pages < pages_.blocks.size()) pages_.blocks[first / block_pages].huge = 1;
    }
    if (schedule_.full() && full_cycles_ == 0 && near_ + far_ > 0) {
        // Pages nothing is known of are guessed to be like the average: the glances tell it.
        Belief guess = belief_about(total_rate_ / double(near_ + far_), 4);
        for (PageState& state : pages_.states) {
            if (state.belief() == belief_unknown()) state.set_belief(guess);
        }
    }
    if (double(roll(dice_) >> 11) * 0x1p-53 * turns_fade_s < situation.now_s - faded_s_) {
        for (Block& block : pages_.blocks) block.turns -= block.turns > 0;
    }
    faded_s_ = situation.now_s;
    // Where cycles are rare, the one that shows a change must already be read with a short memory.
    if (dear_ && reading.counts.empty()) {
        // Our own moves change the share, too: after many the reading says nothing.
        const bool quiet = double(moved_) < quiet_part * double(near_ + far_);
        moved_ = 0;
        const double far_share = raw_far_share(reading);
        if (quiet && far_share >= 0 &&
            change_.see(far_share, whole_weight * schedule_.blocks_share())) {
            note_change(situation.now_s);
        }
    }
    double forgetting = forget_more_ > changed_readings - 1 ? forgetting_changed
                        : forget_more_ > 0                  ? forgetting_after
                                                            : forgetting_usual;
    if (schedule_.full()) forget_more_ = std::max(0.0, forget_more_ - schedule_.blocks_share());
    const size_t last = reading.rungs_s.size() - 1;
    const size_t telling = std::min(schedule_.telling_rung(), last);
    const size_t booking = std::min(schedule_.booking_rung(), last);
    std::vector<double> stretched = reading.rungs_s;
    for (double& at_s : stretched) at_s *= block_pages;  // a huge page takes the touches of 512
    Context context{reading,
                    BeliefUpdate(reading.rungs_s, forgetting, prior_),
                    BeliefUpdate(stretched, forgetting, prior_),
                    telling,
                    booking,
                    reading.rungs_s[telling],
                    reading.rungs_s[booking],
                    forgetting,
                    {}};
    if (!reading.counts.empty()) context.booking_s = reading.rungs_s.back();

    size_t at = 0;
    for (const Run& run : reading.runs) {
        for (PageId page = run.first; page < run.end();) {
            PageId end = std::min(run.end(), (page / block_pages + 1) * block_pages);
            if (end <= pages_.states.size()) {
                observe_segment(context, {page, end - page}, reading.sights.data() + at,
                                reading.counts.empty() ? nullptr : reading.counts.data() + at);
            }
            at += end - page;
            page = end;
        }
    }
    if (reading.counts.empty()) count_watched(context);
    book(context, situation);
    ++cycles_;
    full_cycles_ += schedule_.full();
}

void LadderPolicy::book(const Context& context, const Situation& situation) {
    const Sums& sums = context.sums;
    bool exact = !context.reading.counts.empty();
    double per_s = 1 / context.booking_s;
    double stands_for_s =
        exact ? context.booking_s : schedule_.weight_s() + context.reading.rungs_s.back();
    double touch_s = std::max(situation.loss_ns, 0.0) * 1e-9;
    // One look of length w books a touch as one per w. For what is earned that is never too much;
    // for what is lost, twice that is enough up to 1.59/w touches a second: 2(1 - exp(-x)) >= x.
    const double look_s = exact ? context.booking_s : context.reading.rungs_s.front();
    const double booked_s = touch_s * stands_for_s / look_s;
    bank_.book(sums.guests * booked_s, sums.exiles * booked_s * (exact ? 1 : 2));
    resolved_rate_ = 1.59 / look_s;

    double all = sums.near + sums.far;
    total_rate_ = std::max(0.97 * total_rate_, all * per_s);
    if (all <= 0) return;
    near_share_.add(sums.near / all);
    if (!dear_ && change_.see(sums.far / all)) note_change(situation.now_s);
}

void LadderPolicy::note_change(double now_s) {
    ++changes_;
    lasted_s_ = now_s - changed_s_;
    changed_s_ = now_s;
    busy_until_s_ = now_s + config_.busy_s;
    forget_more_ = changed_readings;
    schedule_.forgive();
}

// Of the pages touched at the booking look, those that are far; -1: none was touched.
double LadderPolicy::raw_far_share(const Reading& reading) const {
    const size_t booking = std::min(schedule_.booking_rung(), reading.rungs_s.size() - 1);
    double near = 0, far = 0;
    size_t at = 0;
    for (const Run& run : reading.runs) {
        for (PageId page = run.first; page < run.end(); ++page, ++at) {
            if (reading.sights[at] > booking || page >= pages_.states.size()) continue;
            near += pages_.states[page].place() == Place::near;
            far += pages_.states[page].place() == Place::far;
        }
    }
    return near + far > 0 ? far / (near + far) : -1;
}

void LadderPolicy::settle_accounts(const Situation& situation) {
    double move_s = situation.move_ns * 1e-9;
    unnoticed_s_ = std::max(unnoticed_s_, total_rate_ * std::max(situation.loss_ns, 0.0) * 1e-9 *
                                              (schedule_.longest_gap_s() + 0.5));
    bank_.set_reserve(move_s * double(guests_ + exiles_));
    bank_.set_unused_budget(config_.cpu_share * situation.program_cpu_s - situation.overhead_cpu_s);
    if (config_.allowance_s >= 0) {
        bank_.set_allowance(config_.allowance_s);
    } else {
        // Filling near and coming back, twice over; what one bad booking may cost; and two seconds
        // to be uncertain about.
        double rule_s = 8 * move_s * double(situation.near_pages) + unnoticed_s_ + 2;
        bank_.set_allowance(std::max(bank_.allowance_s(), rule_s));
    }
}

Plan LadderPolicy::decide(const Situation& situation) {
    last_ = situation;
    near_pages_ = situation.near_pages;
    settle_accounts(situation);
    Terms terms;
    terms.stay_s = stay_s(situation.now_s);
    terms.passed_s = std::max(0.0, situation.now_s - last_decide_s_);
    terms.balance_s = config_.bank ? bank_.balance_s() : 1e9;
    terms.kept_s = kept_part * bank_.allowance_s();
    last_decide_s_ = situation.now_s;
    Choice choice = choose(pages_, hints_, situation, terms, dice_);
    boundary_rate_ = choice.boundary_rate;
    victim_rate_high_ = choice.victim_rate_high;
    guests_ = choice.guests;
    exiles_ = choice.exiles;
    if (forget_more_ == 0) prior_ = prior_among(choice.pages);
    near_ = choice.near;
    far_ = choice.far;
    returned_ += choice.returned;
    return std::move(choice.plan);
}

void LadderPolicy::hint(Run run, Hint hint) {
    std::erase_if(hints_, [&](const HintedRun& hinted) { return hinted.run == run; });
    bool lasting = hint == Hint::pinned_near || hint == Hint::stream;
    if (lasting) hints_.push_back({run, hint});
    PageId end = std::min<PageId>(run.end(), PageId(pages_.states.size()));
    for (PageId page = run.first; page < end; ++page) {
        Block& block = pages_.blocks[page / block_pages];
        if (lasting) block.hinted = 1;
        block.uniform = 0;
        if (hint == Hint::hot) {
            pages_.states[page].set_belief(belief_about(hot_hint_factor * boundary_rate_, 2));
            pages_.states[page].set_credit(PageState::credit_full);
        } else if (hint == Hint::cold) {
            pages_.states[page].set_belief(belief_about(0, 2));
        }
    }
}

TierStatus LadderPolicy::status() const {
    TierStatus status;
    BankStatus& bank = status.bank;
    bank.allowance_s = bank_.allowance_s();
    bank.unnoticed_s = unnoticed_s_;
    bank.allowance_bytes =
        last_.move_ns > 0 ? bank_.allowance_s() / (last_.move_ns * 1e-9) * 4096 : 0;
    bank.earned_s = bank_.earned_s();
    bank.lost_s = bank_.lost_s();
    bank.spent_s = bank_.spent_s();
    bank.margin_s = bank_.margin_s();
    bank.unused_s = bank_.unused_s();
    bank.reserve_s = bank_.reserve_s();
    bank.balance_s = bank_.balance_s();
    bank.guests = guests_;
    bank.exiles = exiles_;
    bank.returned_pages = returned_;
    status.near_pages = near_;
    status.far_pages = far_;
    if (!near_share_.empty()) {
        status.near_share = near_share_.mean();
        status.near_share_low = std::max(0.0, near_share_.mean() - near_share_.half_width());
        status.near_share_high = std::min(1.0, near_share_.mean() + near_share_.half_width());
    }
    bank.resolved_rate = resolved_rate_;
    status.boundary_rate = boundary_rate_;
    status.cycles = cycles_;
    status.changes = changes_;
    for (const Block& block : pages_.blocks) {
        status.blocks += block.pages > 0;
        status.contested_blocks += block.pages > 0 && !block.uniform && !block.huge;
    }
    status.busy = busy(last_.now_s);
    status.memory_bytes = double(pages_.bytes() + sizeof *this);
    return status;
}

Explanation LadderPolicy::explain(PageId page) const {
    Explanation e;
    if (page >= pages_.states.size() || pages_.blocks[page / block_pages].pages == 0) {
        e.verdict = "this page is not tracked";
        return e;
    }
    const PageState state = pages_.states[page];
    const BeliefRates& rates = rates_of(pages_.belief(page));
    e.place = state.place();
    e.baseline = state.home_near() ? Place::near : Place::far;
    e.huge = pages_.blocks[page / block_pages].huge;
    for (const HintedRun& hinted : hints_) {
        if (page >= hinted.run.first && page < hinted.run.end()) e.hint = hinted.hint;
    }
    e.rate_low = rates.low;
    e.rate = rates.mean;
    e.rate_high = rates.high;
    e.stay_s = stay_s(last_.now_s);
    e.admission_rate = admission_rate(last_, e.stay_s);
    e.boundary_rate = boundary_rate_;
    e.victim_rate_high = victim_rate_high_;
    e.credit_share = double(state.credit()) / PageState::credit_full;
    e.bank_balance_s = bank_.balance_s();
    if (e.place == Place::nowhere) {
        e.verdict = "no memory is there, or it is on a node outside the tiers";
    } else if (e.place == Place::near) {
        e.verdict = state.home_near()
                        ? text("near since its birth, and nothing hotter has asked for its place")
                        : text(
                              "near because its %.3g touches/s (at least %.3g) pay for the move "
                              "within %.0f s",
                              e.rate, e.rate_low, e.stay_s);
    } else if (e.hint == Hint::stream) {
        e.verdict = "far because the program says that it streams";
    } else if (last_.loss_ns <= 0) {
        e.verdict = "far because near memory is no faster now";
    } else if (e.rate_low <= e.admission_rate) {
        e.verdict =
            text("far because at least %.3g touches/s are believed, and a move pays from %.3g",
                 e.rate_low, e.admission_rate);
    } else if (state.credit() < PageState::credit_full) {
        e.verdict =
            text("far for now: its touches have earned %.0f %% of a move", 100 * e.credit_share);
    } else if (state.resting()) {
        e.verdict = "far for now: it was moved a moment ago";
    } else if (near_ >= near_pages_ && e.rate_low - e.victim_rate_high <= 2 * e.admission_rate) {
        e.verdict = text(
            "far because near memory is full, and its %.3g touches/s do not clearly beat the %.3g "
            "of "
            "the coldest page there",
            e.rate_low, e.victim_rate_high);
    } else if (e.bank_balance_s <= 0) {
        e.verdict =
            text("far because the bank has no balance for another move (%.3g s)", e.bank_balance_s);
    } else {
        e.verdict = "far for now: it comes near with one of the next decisions";
    }
    return e;
}

std::vector<float> LadderPolicy::rates(Run run) const {
    std::vector<float> out(run.pages, 0);
    for (uint32_t i = 0; i < run.pages; ++i) {
        size_t page = size_t(run.first) + i;
        if (page < pages_.states.size() && pages_.states[page].place() != Place::nowhere) {
            out[i] = rates_of(pages_.belief(page)).mean;
        }
    }
    return out;
}

std::vector<TierPolicy::Step> LadderPolicy::benefit() const {
    std::array<uint64_t, belief_count> pages{};
    for (size_t page = 0; page < pages_.states.size(); ++page) {
        if (pages_.states[page].place() != Place::nowhere) ++pages[pages_.belief(page)];
    }
    std::vector<Step> steps;
    for (Belief belief : beliefs_by_mean()) {
        if (pages[belief] > 0) steps.push_back({pages[belief], rates_of(belief).mean});
    }
    return steps;
}

}  // namespace

std::unique_ptr<TierPolicy> make_tier_policy(const TierConfig& config) {
    return std::make_unique<LadderPolicy>(config);
}

}  // namespace libpool::tier
