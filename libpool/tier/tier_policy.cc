// SPDX-License-Identifier: Apache-2.0
#include "tier/tier_policy.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "tier/books.h"
#include "tier/change.h"
#include "tier/choose.h"
#include "tier/explain.h"
#include "tier/growth.h"
#include "tier/lesson.h"
#include "tier/places.h"
#include "tier/progress.h"
#include "tier/schedule.h"
#include "tier/split.h"
#include "tier/steadiness.h"
#include "tier/surprise.h"

namespace libpool::tier {

namespace {

constexpr int looks_after_change = 3;  // at everything
// Blocks whose beliefs one reading contradicts, from which on the program is taken to have changed.
constexpr uint32_t outdated_blocks = 3;
constexpr double outdated_part = 0.15, outdated_pause_s = 3;
// With near room for such a part of memory more may fit than is hot.
constexpr uint64_t roomy_part = 4;
// Where runs are dear: of one whole cycle or two the luckiest are not the hottest. (With much room
// nearly all that is chosen is right, and waiting costs more.)
constexpr double wary_wholes = 2.2;
constexpr double learning_cycles = 3;  // full ones, before blocks may be judged as a whole
constexpr double learnt_cycles = 1.5;  // full ones, before anything can be a surprise
// More than such a part of what fits near that is moved, or waits, is worth another decision.
constexpr uint64_t again_part = 16;
constexpr double again_s = 1;
constexpr double scouts_decide_s = 15;  // between decisions on scouts alone
// A block may turn thrice, and once more each so many seconds: what streams in rounds turns for
// ever, and its average is what counts.
constexpr double turns_fade_s = 60;
// Weight of the newest reading in the near share.
constexpr double share_step = 0.2;
constexpr double hot_hint_factor = 4;
// Part of the allowance that is not spent on new deviations.
constexpr double kept_part = 0.15;

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

class LadderPolicy final : public TierPolicy {
  public:
    explicit LadderPolicy(const TierConfig& config)
        : config_(config),
          places_(config.book_against_last),
          schedule_(config.cpu_share, config.busy_cpu_share, config.seed),
          books_(config.delta),
          steadiness_(config.busy_s),
          dice_(config.seed * 0xd1342543de82ef95ull | 1) {}

    void track(Run run) override;
    void forget(Run run) override;
    void place(std::span<const PageId> pages, Place where) override;
    Aim aim(const Situation& situation) override;
    void observe(const Reading& reading, const Situation& situation) override;
    Plan decide(const Situation& situation) override;
    void hint(Run run, Hint hint) override;
    void set_cpu_share(double share) override {
        config_.set_budget(share);
        schedule_.set_shares(config_.cpu_share, config_.busy_cpu_share);
    }
    TierStatus status() const override;
    Explanation explain(PageId page) const override;
    Contradicted contradicted(const Reading& reading) const override;
    std::vector<float> rates(Run run) const override;
    std::vector<Step> benefit() const override;

  private:
    void note_change(double now_s);
    void learn_anew(double now_s);
    void split(const Situation& situation, Plan& plan);
    void believe_hot(Run run);
    void learn(const Reading& reading, const Situation& situation);
    // What looking more closely costs beyond the usual share comes out of what was saved of it; for
    // the first time, out of the allowance.
    double saved_cpu_s(const Situation& situation) const {
        return config_.cpu_share * situation.program_cpu_s -
               (situation.overhead_cpu_s - introduction_s_) +
               (config_.busy_cpu_share - config_.cpu_share) * std::min(config_.busy_s, 10.0);
    }
    bool roomy() const { return near_pages_ >= places_.counts().all() / roomy_part; }

    TierConfig config_;
    Places places_;
    std::vector<HintedRun> hints_;
    std::vector<Run> hot_later_;  // hinted before anybody knows what is hot here
    Schedule schedule_;
    Books books_;
    ChangeDetector change_;
    Surprise surprise_;
    Steadiness steadiness_;
    Splits splits_;
    uint64_t dice_;

    bool begun_ = false;
    Prior prior_ = prior_of_nothing();
    double last_decide_s_ = 0;
    double faded_s_ = 0;
    double total_rate_ = 0;  // touches/s of all pages: the most lately seen
    double looking_s_ = 0;   // how long the last cycle took
    double boundary_rate_ = 1;
    bool boundary_known_ = false;
    double again_s_ = again_s;  // until the next decision without a reading
    double resolved_rate_ = 0;  // touches/s of one page up to which the books are right
    uint64_t near_pages_ = 0;   // capacity, as last told
    Growth growth_;
    double victim_rate_high_ = 0;
    Situation last_;
    Smooth near_share_;
    bool scouted_ = false;         // since the last decision there was no more than a scout
    bool dear_ = false;            // runs are, in the cycle under way
    double full_cycles_ = 0;       // since we began to learn; parts of all count as such
    bool introducing_ = true;      // the cycle under way is one of the first
    double introduction_s_ = 0;    // of CPU, that the first cycles took
    double aimed_overhead_s_ = 0;  // CPU, until the cycle under way was aimed
    uint64_t cycles_ = 0, returned_ = 0;
};

void LadderPolicy::track(Run run) {
    places_.track(run);
    // Learn again. Where that is dear, it is seen as pages come into being.
    if (!dear_) begun_ = false;
}

void LadderPolicy::forget(Run run) {
    places_.forget(run);
    splits_.forget(run);
    const auto overlaps = [&](const Run& other) {
        return other.first < run.end() && run.first < other.end();
    };
    std::erase_if(hints_, [&](const HintedRun& hinted) { return overlaps(hinted.run); });
    std::erase_if(hot_later_, overlaps);
}

void LadderPolicy::place(std::span<const PageId> pages, Place where) {
    const uint64_t moved = places_.put(pages, where, near_pages_);
    books_.spend(moved, last_.move_ns);
}

Aim LadderPolicy::aim(const Situation& situation) {
    last_ = situation;
    if (!begun_) {
        begun_ = true;
        full_cycles_ = 0;
        schedule_.restart();
        // Where runs are dear, the first cycles do not know yet how far the program gets in them.
        steadiness_.begin(situation.now_s, runs_are_dear(situation.costs, dear_));
        last_decide_s_ = situation.now_s;
    }
    near_pages_ = situation.near_pages;
    // Until all pages were looked at, their average is the best guess at the boundary.
    double boundary_rate = boundary_rate_;
    if (full_cycles_ < 2 && places_.counts().all() > 0) {
        boundary_rate = std::max(total_rate_ / double(places_.counts().all()), 1e-2);
    }
    const bool broke = config_.bank && full_cycles_ > 2 &&
                       books_.bank().balance_s() < kept_part * books_.bank().allowance_s();
    dear_ = runs_are_dear(situation.costs, dear_);
    // Nothing is known without the first cycles, so they come whatever they cost; also of what has
    // come into being since.
    if (dear_ && introducing_) introduction_s_ += situation.overhead_cpu_s - aimed_overhead_s_;
    aimed_overhead_s_ = situation.overhead_cpu_s;
    introducing_ = schedule_.introducing();
    if (dear_) {
        const uint64_t resident =
            situation.resident_pages > 0 ? situation.resident_pages : places_.counts().all();
        const Growth::Now now = growth_.see(situation.now_s, resident, near_pages_);
        if (now == Growth::Now::growing) return {Growth::apart_s, {}, {}};
        if (now != Growth::Now::steady) {
            introducing_ = true;
            growth_.looked();
            schedule_.look_at_all(now == Growth::Now::ended ? looks_after_change : 1);
            // What comes now is something else than taking memory was.
            if (now == Growth::Now::ended) steadiness_.learn_anew(situation.now_s);
        }
    }
    const double saved_s = saved_cpu_s(situation);
    const bool can_be_busy = steadiness_.busy(situation.now_s) && saved_s > 0;
    const bool owing = dear_ && saved_s < 0;
    const Mood mood = can_be_busy ? Mood::busy
                      : owing     ? Mood::owing
                      : broke     ? Mood::poor
                                  : Mood::usual;
    std::vector<PageId> also;
    if (dear_ || situation.costs.free()) {
        books_.draw_none();  // everything is looked at, or whole blocks are
    } else {
        also = books_.draw(places_, dice_);
    }
    return schedule_.next(places_.pages(), also, situation, boundary_rate, mood, dear_);
}

void LadderPolicy::observe(const Reading& seen, const Situation& situation) {
    last_ = situation;
    if (seen.rungs_s.empty() || seen.runs.empty()) return;
    schedule_.looked(seen.rungs_s.size());
    if (!dear_ || !seen.counts.empty()) return learn(seen, situation);
    const auto all = double(std::max<uint64_t>(places_.counts().all(), 1));
    schedule_.learn_pace(seen, std::min(1.0, double(near_pages_) / all));
    Reading reading = seen;
    reading.rungs_s =
        program_times(places_.pages(), seen, situation.costs.fault_ns,
                      schedule_.scouting() ? slowest_fault_of_part : slowest_fault_of_all);
    learn(reading, situation);
}

// Its looks are at times of the program's usual way.
void LadderPolicy::learn(const Reading& reading, const Situation& situation) {
    Pages& pages = places_.pages();
    for (Block& block : pages.blocks) {
        if (!reading.huge.empty() || block.huge) block.huge = 0;
    }
    for (PageId first : reading.huge) {
        if (first / block_pages < pages.blocks.size()) pages.blocks[first / block_pages].huge = 1;
    }
    if (schedule_.full() && full_cycles_ == 0 && places_.counts().all() > 0) {
        // Pages nothing is known of are guessed to be like the average: the glances tell it.
        Belief guess = belief_about(total_rate_ / double(places_.counts().all()), 4);
        for (PageState& state : pages.states) {
            if (state.belief() == belief_unknown()) state.set_belief(guess);
        }
    }
    if (double(roll(dice_) >> 11) * 0x1p-53 * turns_fade_s < situation.now_s - faded_s_) {
        for (Block& block : pages.blocks) block.turns -= block.turns > 0;
    }
    faded_s_ = situation.now_s;
    // Where cycles are rare, the one that shows a change must already be read with a short memory.
    if (dear_ && !introducing_ && reading.counts.empty() && full_cycles_ > learnt_cycles &&
        !steadiness_.learning() &&
        surprise_.see(places_.pages(), reading, schedule_.telling_rung(), roomy())) {
        note_change(situation.now_s);
    }
    again_s_ = again_s / 2;
    scouted_ = dear_ && schedule_.scouting() && !steadiness_.learning() && reading.counts.empty();
    const double full_part = schedule_.full() ? schedule_.blocks_share() : 0;
    const Background background{steadiness_.forgetting(full_part), boundary_rate_, dear_,
                                full_cycles_ >= learning_cycles, prior_};
    splits_.see(pages, reading);
    Lesson lesson(pages, schedule_, reading, background, dice_);
    Sums sums = lesson.learn();
    const bool exact = !reading.counts.empty();
    if (!exact) books_.count(pages, reading, sums.deviants);
    books_.book(sums.deviants, situation,
                exact ? lesson.booking_s() : schedule_.weight_s() + reading.rungs_s.back());
    if (!exact) resolved_rate_ = TouchValue(reading.rungs_s).resolved_rate();
    books_.see_rate(sums.touches_per_s);
    looking_s_ = reading.rungs_s.back();
    ++cycles_;
    full_cycles_ += full_part;

    const bool all_over = sums.outdated >= outdated_blocks &&
                          double(sums.outdated) >= outdated_part * double(sums.blocks);
    steadiness_.allow_alarms(situation.now_s);
    if (!dear_ && all_over && full_cycles_ > learning_cycles && steadiness_.may_alarm() &&
        steadiness_.since_change_s(situation.now_s) > outdated_pause_s) {
        steadiness_.alarm();
        note_change(situation.now_s);
    }

    const double all = sums.near + sums.far;
    total_rate_ = std::max(0.97 * total_rate_, all / lesson.booking_s());
    if (all <= 0) return;
    near_share_.add(sums.near / all);
    if (!dear_ && change_.see(sums.far / all)) note_change(situation.now_s);
}

void LadderPolicy::note_change(double now_s) {
    steadiness_.change(now_s);
    // Without looking again all would stay as it was, so some changes may cost what there is not.
    if (dear_ && saved_cpu_s(last_) <= 0) {
        if (!steadiness_.may_alarm()) return;
        steadiness_.alarm();
    }
    schedule_.forgive();
    schedule_.look_at_all(looks_after_change);
}

// Parts of huge pages can be told apart now: all are to be looked at, though nothing has changed.
void LadderPolicy::learn_anew(double now_s) {
    steadiness_.learn_anew(now_s);
    schedule_.learn_anew();
    schedule_.look_at_all(looks_after_change);
}

// After the pages that move were chosen: what is split now has yet to be looked at.
void LadderPolicy::split(const Situation& situation, Plan& plan) {
    const PlaceCounts& counts = places_.counts();
    SplitTerms terms;
    terms.now_s = situation.now_s;
    terms.near_share = double(near_pages_) / double(std::max<uint64_t>(counts.all(), 1));
    terms.loss_ns = situation.loss_ns;
    terms.split_ns = situation.split_ns;
    terms.stay_s = steadiness_.stay_s(situation.now_s);
    terms.most_s =
        config_.bank ? books_.bank().balance_s() - kept_part * books_.bank().allowance_s() : 1e9;
    terms.can_split = situation.can_split;
    terms.all_looked_at = full_cycles_ >= 1;
    plan.split = splits_.choose(places_.pages(), terms, dice_);
    if (splits_.wants_look()) {
        schedule_.forgive();
        schedule_.look_at_all(1);
    }
    plan.huge_again = splits_.given_up();
    if (plan.split.empty()) return;
    books_.spend(plan.split.size(), situation.split_ns);
    if (splits_.finished()) {
        learn_anew(situation.now_s);
    } else if (!splits_.wants_look()) {
        plan.again_s = again_s_ = again_s;  // the others
    }
}

Plan LadderPolicy::decide(const Situation& situation) {
    last_ = situation;
    near_pages_ = situation.near_pages;
    // Once the program is known a scout alone changes little, and where it is dear to look it is
    // dear to think.
    const bool scouted = std::exchange(scouted_, false);
    if (scouted && !steadiness_.busy(situation.now_s) &&
        situation.now_s < last_decide_s_ + scouts_decide_s) {
        return {};
    }
    const double longest_gap_s = schedule_.longest_gap_s() + looking_s_;
    const double introduction_s =
        introduction_s_ +
        (dear_ && introducing_ ? situation.overhead_cpu_s - aimed_overhead_s_ : 0);
    books_.settle(config_, situation, places_.counts(), longest_gap_s, introduction_s);
    Terms terms;
    terms.stay_s = steadiness_.stay_s(situation.now_s);
    terms.wary = full_cycles_ <= (!dear_ ? learning_cycles : roomy() ? 0 : wary_wholes);
    terms.passed_s = std::max(0.0, situation.now_s - last_decide_s_);
    terms.balance_s = config_.bank ? books_.bank().balance_s() : 1e9;
    terms.rare = dear_;
    // Twice where pauses are exponential: one booking can then be as far off as what it books.
    terms.risk_s = config_.bank ? (dear_ ? 1 : 2) * books_.risk_s(situation, longest_gap_s) : 0;
    terms.kept_s = kept_part * books_.bank().allowance_s();
    last_decide_s_ = situation.now_s;
    Choice choice = choose(places_.pages(), hints_, situation, terms, dice_);
    boundary_rate_ = choice.boundary_rate;
    boundary_known_ = boundary_known_ || full_cycles_ >= 1;
    if (boundary_known_) {
        for (const Run& run : std::exchange(hot_later_, {})) believe_hot(run);
    }
    victim_rate_high_ = choice.victim_rate_high;
    places_.recount(choice.near, choice.far, choice.guests, choice.exiles);
    if (!steadiness_.learning()) prior_ = prior_among(choice.pages);
    returned_ += choice.returned;
    // Where readings are rare, what moved many will go on with what it could not do at once; what
    // waits for its credit is asked about less and less often.
    const uint64_t many = near_pages_ / again_part;
    if (choice.plan.promote.size() > many) {
        choice.plan.again_s = again_s_ = again_s;
    } else if (choice.waiting > many) {
        choice.plan.again_s = again_s_ *= 2;
    }
    split(situation, choice.plan);
    return std::move(choice.plan);
}

void LadderPolicy::hint(Run run, Hint hint) {
    std::erase_if(hints_, [&](const HintedRun& hinted) { return hinted.run == run; });
    std::erase(hot_later_, run);
    bool lasting = hint == Hint::pinned_near || hint == Hint::stream;
    if (lasting) hints_.push_back({run, hint});
    Pages& pages = places_.pages();
    PageId end = std::min<PageId>(run.end(), PageId(pages.states.size()));
    for (PageId page = run.first; page < end; ++page) {
        Block& block = pages.blocks[page / block_pages];
        if (lasting) block.hinted = 1;
        block.uniform = 0;
        if (hint == Hint::cold) pages.states[page].set_belief(belief_about(0, 2));
    }
    if (hint != Hint::hot) return;
    if (boundary_known_) {
        believe_hot(run);
    } else {
        hot_later_.push_back(run);
    }
}

void LadderPolicy::believe_hot(Run run) {
    Pages& pages = places_.pages();
    const PageId end = std::min<PageId>(run.end(), PageId(pages.states.size()));
    for (PageId page = run.first; page < end; ++page) {
        pages.states[page].set_belief(belief_about(hot_hint_factor * boundary_rate_, 2));
        pages.states[page].set_credit(PageState::credit_full);
    }
}

TierStatus LadderPolicy::status() const {
    TierStatus status;
    BankStatus& bank = status.bank;
    bank.allowance_s = books_.bank().allowance_s();
    bank.unnoticed_s = books_.unnoticed_s();
    bank.allowance_bytes =
        last_.move_ns > 0 ? books_.bank().allowance_s() / (last_.move_ns * 1e-9) * 4096 : 0;
    bank.earned_s = books_.bank().earned_s();
    bank.lost_s = books_.bank().lost_s();
    bank.spent_s = books_.bank().spent_s();
    bank.margin_s = books_.bank().margin_s();
    bank.unused_s = books_.bank().unused_s();
    bank.reserve_s = books_.bank().reserve_s();
    bank.balance_s = books_.bank().balance_s();
    bank.guests = places_.counts().guests;
    bank.exiles = places_.counts().exiles;
    bank.returned_pages = returned_;
    status.near_pages = places_.counts().near;
    status.far_pages = places_.counts().far;
    if (!near_share_.empty()) {
        status.near_share = near_share_.mean();
        status.near_share_low = std::max(0.0, near_share_.mean() - near_share_.half_width());
        status.near_share_high = std::min(1.0, near_share_.mean() + near_share_.half_width());
    }
    bank.resolved_rate = resolved_rate_;
    status.touches_per_s = books_.rate();
    status.boundary_rate = boundary_rate_;
    status.cycles = cycles_;
    status.changes = steadiness_.changes();
    for (const Block& block : places_.pages().blocks) {
        status.blocks += block.pages > 0;
        status.contested_blocks += block.pages > 0 && !block.uniform && !block.huge;
    }
    status.busy = steadiness_.busy(last_.now_s);
    status.split = splits_.status(places_.pages());
    status.memory_bytes = double(places_.pages().bytes() + sizeof *this);
    return status;
}

Explanation LadderPolicy::explain(PageId page) const {
    Circumstances now;
    now.situation = last_;
    now.stay_s = steadiness_.stay_s(last_.now_s);
    now.boundary_rate = boundary_rate_;
    now.victim_rate_high = victim_rate_high_;
    now.bank_balance_s = books_.bank().balance_s();
    now.near = places_.counts().near;
    now.near_pages = near_pages_;
    return explain_page(places_.pages(), hints_, page, now);
}

TierPolicy::Contradicted LadderPolicy::contradicted(const Reading& reading) const {
    Contradicted pages;
    size_t at = 0;
    for (const Run& run : reading.runs) {
        for (PageId page = run.first; page < run.end(); ++page, ++at) {
            const bool present = reading.sights[at] != page_absent;
            const bool placed = places_.pages().states[page].place() != Place::nowhere;
            if (present && !placed) pages.newborn.push_back(page);
            if (!present && placed) pages.gone.push_back(page);
        }
    }
    return pages;
}

std::vector<float> LadderPolicy::rates(Run run) const {
    const Pages& pages = places_.pages();
    std::vector<float> out(run.pages, 0);
    for (uint32_t i = 0; i < run.pages; ++i) {
        size_t page = size_t(run.first) + i;
        if (page < pages.states.size() && pages.states[page].place() != Place::nowhere) {
            out[i] = rates_of(pages.belief(page)).mean;
        }
    }
    return out;
}

std::vector<TierPolicy::Step> LadderPolicy::benefit() const {
    const Pages& all = places_.pages();
    std::array<uint64_t, belief_count> pages{};
    for (size_t page = 0; page < all.states.size(); ++page) {
        if (all.states[page].place() != Place::nowhere) ++pages[all.belief(page)];
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
