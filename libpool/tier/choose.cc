// SPDX-License-Identifier: Apache-2.0
#include "tier/choose.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

namespace libpool::tier {

namespace {

// A newcomer's lower bound beats its victim's upper bound by this: beliefs of pages that are
// equally hot differ by chance, and the luckiest of thousands by much.
constexpr double rest_min_s = 1, rest_part = 0.1;  // of the expected stay: of a page that was moved
constexpr double swap_ratio = 1.25;
// A deviation that pays for itself so soon may be bought from a balance that is nearly used up, up
// to a part of what is left: what was lost can then be earned back. Without, a bank that had lost
// most of its allowance forbade help for as long as the program ran.
constexpr double swift_s = 5, swift_part = 0.5;

// Ski rental with a prediction (Purohit, Svitkina, Kumar: Improving online algorithms via ML
// predictions, 2018): a page that pays for its move so many times within the expected stay need
// earn only a part of it before. If that is wrong it costs more, and the bank bounds it.
constexpr double sure_times = 4, trusted_part = 0.125;

// Classes that are counted apart. Movable: rested; a newcomer has also earned its move.
enum Class : uint8_t { guest, local, exile, outsider, still_near, still_far, nothing };
constexpr size_t class_count = nothing;

using Counts = std::array<std::array<uint64_t, belief_count>, class_count>;

// What holds pages back in this choice.
enum class Respect { all, credit, none };  // rest and credit; credit alone; neither

Class class_of(PageState state, Respect respect) {
    bool rested = respect != Respect::all || !state.resting();
    bool earned = respect == Respect::none || state.credit() == PageState::credit_full;
    switch (state.place()) {
        case Place::near:
            return !rested ? still_near : state.home_near() ? local : guest;
        case Place::far:
            return !rested || !earned ? still_far : state.home_near() ? exile : outsider;
        case Place::nowhere:
            break;
    }
    return nothing;
}

// Pages that are counted and moved as one: a page, or all of a huge one. Until a visit says that it
// has seen enough.
template <typename Pages, typename Visit>
void each_unit(Pages& pages, const std::vector<HintedRun>& hints, Visit visit) {
    for (size_t b = 0; b < pages.blocks.size(); ++b) {
        const Block& block = pages.blocks[b];
        uint32_t step = block.huge ? block_pages : 1;
        for (uint32_t i = 0; i < block.pages; i += step) {
            auto page = PageId(b * block_pages + i);
            if (pages.states[page].place() == Place::nowhere) continue;
            Hint hint = Hint::none;
            if (block.hinted) {
                for (const HintedRun& hinted : hints) {
                    if (page >= hinted.run.first && page < hinted.run.end()) hint = hinted.hint;
                }
            }
            if (!visit(page, std::min<uint32_t>(step, block.pages - i), hint)) return;
        }
    }
}

// What streams never comes near, and leaves first.
Belief believed(const Pages& pages, PageId page, Hint hint) {
    return hint == Hint::stream ? belief_about(0, 0) : pages.belief(page);
}

// A class of pages, one belief of theirs.
struct Kind {
    Class of;
    Belief belief;
};

// What a newcomer's lower bound has to beat. Sending away what the baseline has near takes more
// than a guess.
double beaten_of(Kind kind) {
    const BeliefRates& rates = rates_of(kind.belief);
    return kind.of == local ? rates.ceiling : rates.high;
}

// In which those move that may. By what they are compared by: else one that may not go would
// stand before many that may.
struct Orders {
    std::vector<Kind> newcomers, victims;  // hottest first, coldest first
    std::vector<Kind> exiles, guests;      // of them
};

const Orders& orders() {
    static const Orders made = [] {
        auto kinds = [](std::initializer_list<Class> classes) {
            std::vector<Kind> all;
            for (Class of : classes) {
                for (size_t i = 0; i < belief_count; ++i) all.push_back({of, Belief(i)});
            }
            return all;
        };
        Orders o{kinds({exile, outsider}), kinds({guest, local}), kinds({exile}), kinds({guest})};
        auto hotter = [](Kind a, Kind b) {
            return rates_of(a.belief).low > rates_of(b.belief).low;
        };
        auto colder = [](Kind a, Kind b) { return beaten_of(a) < beaten_of(b); };
        std::ranges::stable_sort(o.newcomers, hotter);
        std::ranges::stable_sort(o.exiles, hotter);
        std::ranges::stable_sort(o.victims, colder);
        std::ranges::stable_sort(o.guests, colder);
        return o;
    }();
    return made;
}

// How many pages of each class and belief are to move, and where in the plan their list begins.
struct Quota {
    Counts take{};
    Counts at{};
};

// Walks one direction of moves in order of merit.
class Queue {
  public:
    Queue(const Counts& counts, const std::vector<Kind>& order) : counts_(counts), order_(order) {
        settle();
    }
    bool empty() const { return step_ == order_.size(); }
    Kind kind() const { return order_[step_]; }
    const BeliefRates& rates() const { return rates_of(kind().belief); }
    uint64_t left() const { return counts_[kind().of][kind().belief] - taken_; }
    void take(uint64_t pages, Quota& quota) {
        auto& mine = quota.take[kind().of][kind().belief];
        if (mine == 0) quota.at[kind().of][kind().belief] = total_;
        mine += pages;
        total_ += pages;
        taken_ += pages;
        if (left() == 0) skip();
    }
    void skip() {
        ++step_;
        taken_ = 0;
        settle();
    }
    uint64_t taken() const { return taken_; }  // of the kind at hand
    uint64_t total() const { return total_; }
    // Touches/s of the next pages, at least: of those that have more than `least`.
    double next_rates(uint64_t pages, double least) const {
        double sum = 0;
        uint64_t taken = taken_;
        for (size_t step = step_; step < order_.size() && pages > 0; ++step, taken = 0) {
            const uint64_t more =
                std::min(counts_[order_[step].of][order_[step].belief] - taken, pages);
            const double low = rates_of(order_[step].belief).low;
            if (more > 0 && low <= least) break;
            sum += double(more) * low;
            pages -= more;
        }
        return sum;
    }

  private:
    void settle() {
        while (!empty() && counts_[kind().of][kind().belief] == 0) ++step_;
    }
    const Counts& counts_;
    const std::vector<Kind>& order_;
    size_t step_ = 0;
    uint64_t taken_ = 0;
    uint64_t total_ = 0;
};

// Chances (of 65536, and whole steps above) by which a page of each belief gains credit.
std::array<uint32_t, belief_count> credit_steps(const Situation& situation, const Terms& terms) {
    std::array<uint32_t, belief_count> steps{};
    const double sure = sure_times * admission_rate(situation, terms.stay_s);
    for (size_t i = 0; i < belief_count; ++i) {
        const BeliefRates& rates = rates_of(Belief(i));
        const double trust = rates.low > sure ? 1 / trusted_part : 1;
        double earned = trust * rates.mean * terms.passed_s * situation.loss_ns;
        double part = earned / std::max(situation.move_ns, 1.0) * PageState::credit_full;
        steps[i] = uint32_t(std::clamp(part, 0.0, double(PageState::credit_full)) * 65536);
    }
    return steps;
}

// wakes: chance (of 65536) that a page that was moved may be moved again.
void age(PageState& state, uint32_t wakes, const std::array<uint32_t, belief_count>& steps,
         uint64_t& dice) {
    if (state.resting() && (roll(dice) & 0xffff) < wakes) state.set_resting(false);
    if (state.place() != Place::far || state.credit() == PageState::credit_full) return;
    uint32_t step = steps[state.belief()];
    if (step == 0) return;
    unsigned credit = state.credit() + (step >> 16);
    if ((roll(dice) & 0xffff) < (step & 0xffff)) ++credit;
    state.set_credit(std::min(credit, PageState::credit_full));
}

// Half way, in octaves, from the last page that fits to the first that does not: between a hot set
// that fits and cold pages any rate parts them, and a high one is told sooner.
double marginal_rate(const Counts& counts, uint64_t capacity) {
    uint64_t pages = 0;
    double inside = 0;
    for (Belief belief : beliefs_by_mean()) {
        uint64_t more = 0;
        for (const auto& of_class : counts) more += of_class[belief];
        pages += more;
        const double rate = rates_of(belief).mean;
        if (pages > capacity)
            return inside > 0 && pages - more == capacity ? std::sqrt(inside * rate) : rate;
        if (more > 0) inside = rate;
    }
    return 0;
}

// What the baseline has near is no victim.
void stay(Counts& counts, Counts& huge) {
    for (Counts* all : {&counts, &huge}) {
        for (size_t belief = 0; belief < belief_count; ++belief) {
            (*all)[still_near][belief] += std::exchange((*all)[local][belief], 0);
        }
    }
}

constexpr PageId no_page = UINT32_MAX;

// Uses the quota up. By reference: it is 112 KiB, of a stack that is made small.
void collect(const Pages& pages, const std::vector<HintedRun>& hints, Respect respect, Quota& quota,
             Plan& plan) {
    uint64_t left = plan.demote.size() + plan.promote.size();
    if (left == 0) return;
    each_unit(pages, hints, [&](PageId page, uint32_t unit, Hint hint) {
        if (hint == Hint::pinned_near) return true;
        Class kind = class_of(pages.states[page], respect);
        if (kind > outsider) return true;
        Belief belief = believed(pages, page, hint);
        if (quota.take[kind][belief] < unit) return true;
        quota.take[kind][belief] -= unit;
        auto& list = kind == guest || kind == local ? plan.demote : plan.promote;
        for (uint32_t i = 0; i < unit; ++i) list[quota.at[kind][belief]++] = page + i;
        left -= unit;
        return left > 0;
    });
    std::erase(plan.demote, no_page);  // quotas that only a part of a huge page would have filled
    std::erase(plan.promote, no_page);
}

// Quotas that only a part of a huge page would have filled stay empty, so what comes and what goes
// need not match any more. Drops from the end of both lists until the plan fits the room and the
// cap, and nothing leaves for nobody. must_go: pages over capacity.
void fit(const Pages& pages, uint64_t room, uint64_t must_go, uint64_t move_pages, Plan& plan) {
    auto last_unit = [&](const std::vector<PageId>& list) -> uint64_t {
        const Block& block = pages.blocks[list.back() / block_pages];
        return std::min<uint64_t>(block.huge ? block.pages : 1, list.size());
    };
    auto drop = [&](std::vector<PageId>& list) { list.resize(list.size() - last_unit(list)); };
    while (plan.promote.size() > room + plan.demote.size()) drop(plan.promote);
    for (;;) {
        while (!plan.demote.empty()) {
            const uint64_t left = plan.demote.size() - last_unit(plan.demote);
            if (left < must_go || plan.promote.size() > room + left) break;
            drop(plan.demote);
        }
        if (plan.promote.size() + plan.demote.size() <= move_pages) return;
        drop(plan.promote.empty() ? plan.demote : plan.promote);
    }
}

// Back to the baseline: the hottest exiles come home, in the place of the coldest guests.
uint64_t give_back(const Counts& counts, const Situation& situation, uint64_t room, uint64_t most,
                   Quota& quota, Plan& plan) {
    Queue back(counts, orders().exiles);
    Queue out(counts, orders().guests);
    uint64_t far_room = situation.far_room_pages;
    while (back.total() < most && !back.empty()) {
        if (room == 0) {
            if (out.empty() || far_room == 0) break;
            uint64_t pages_now = std::min({out.left(), far_room, most - back.total()});
            out.take(pages_now, quota);
            room += pages_now;
            far_room -= pages_now;
            continue;
        }
        uint64_t pages_now = std::min({back.left(), room, most - back.total()});
        back.take(pages_now, quota);
        room -= pages_now;
    }
    plan.demote.assign(out.total(), no_page);
    plan.promote.assign(back.total(), no_page);
    return back.total();
}

}  // namespace

double admission_rate(const Situation& situation, double stay_s) {
    if (situation.loss_ns <= 0) return 1e30;
    return situation.move_ns / (situation.loss_ns * stay_s);
}

Choice choose(Pages& pages, const std::vector<HintedRun>& hints, const Situation& situation,
              const Terms& terms, uint64_t& dice) {
    Choice choice;
    const uint64_t capacity = situation.near_pages;
    auto steps = credit_steps(situation, terms);
    const double rest_s = std::max(rest_min_s, rest_part * terms.stay_s);
    const auto wakes = uint32_t(std::min(terms.passed_s / rest_s, 1.0) * 65536);
    std::vector<PageId> pinned;  // far, and told to be near
    // Being over capacity is no matter of taste, and a deviation that cannot be paid for neither.
    Respect respect = terms.balance_s < 0 ? Respect::none : Respect::all;
    Counts counts{}, huge{};
    auto count = [&](PageId page, uint32_t unit, Hint hint) {
        Class kind = class_of(pages.states[page], respect);
        if (hint == Hint::pinned_near)
            kind = kind == exile || kind == outsider ? still_far : still_near;
        counts[kind][believed(pages, page, hint)] += unit;
        if (unit == block_pages) huge[kind][believed(pages, page, hint)] += unit;
        return true;
    };
    each_unit(pages, hints, [&](PageId page, uint32_t unit, Hint hint) {
        PageState& state = pages.states[page];
        age(state, wakes, steps, dice);
        count(page, unit, hint);
        (state.place() == Place::near ? choice.near : choice.far) += unit;
        choice.guests += state.guest() ? unit : 0;
        choice.exiles += state.exile() ? unit : 0;
        if (hint == Hint::pinned_near && state.place() == Place::far) {
            for (uint32_t i = 0; i < unit; ++i) pinned.push_back(page + i);
        }
        return true;
    });
    if (respect == Respect::all && choice.near > capacity) {
        respect = Respect::credit;
        counts = huge = {};
        each_unit(pages, hints, count);
    }
    const uint64_t too_many = choice.near > capacity ? choice.near - capacity : 0;
    // When some had to give up their places to fit at all, nobody else comes.
    const bool blind = situation.writes_only && too_many > choice.guests;
    if (situation.writes_only && !blind) stay(counts, huge);
    for (size_t belief = 0; belief < belief_count; ++belief) {
        for (const auto& of_class : counts) choice.pages[belief] += of_class[belief];
        choice.near_rate +=
            double(counts[guest][belief] + counts[local][belief] + counts[still_near][belief]) *
            rates_of(Belief(belief)).mean;
    }
    const double admission = admission_rate(situation, terms.stay_s);
    choice.boundary_rate = marginal_rate(counts, capacity);
    if (situation.loss_ns > 0) choice.boundary_rate = std::max(choice.boundary_rate, admission);

    for (size_t belief = 0; belief < belief_count; ++belief) {
        const double low = rates_of(Belief(belief)).low;
        if (low > admission && low > choice.boundary_rate)
            choice.waiting += counts[still_far][belief];
    }

    Quota quota;
    uint64_t room =
        choice.near < capacity ? std::min(capacity - choice.near, situation.near_room_pages) : 0;
    const uint64_t all_room = room;
    if (terms.balance_s < 0) {
        uint64_t most = std::max<uint64_t>((choice.exiles + choice.guests) / 4, 256);
        choice.returned = give_back(counts, situation, room, std::min(most, situation.move_pages),
                                    quota, choice.plan);
        collect(pages, hints, respect, quota, choice.plan);
        fit(pages, all_room, 0, situation.move_pages, choice.plan);
        return choice;
    }

    Queue victims(counts, orders().victims);
    Queue newcomers(counts, orders().newcomers);
    uint64_t far_room = situation.far_room_pages;
    uint64_t left = situation.move_pages;  // moves that may be planned
    auto demote = [&](uint64_t wanted) {
        wanted = std::min({wanted, victims.left(), far_room, left});
        victims.take(wanted, quota);
        far_room -= wanted;
        left -= wanted;
        return wanted;
    };
    uint64_t over = choice.near > capacity ? choice.near - capacity : 0;
    pinned.resize(std::min<uint64_t>(pinned.size(), std::min(capacity, left)));
    uint64_t for_pinned = pinned.size() > room ? pinned.size() - room : 0;
    room -= std::min<uint64_t>(room, pinned.size());
    while (over + for_pinned > 0 && !victims.empty() && far_room > 0 && left > 0) {
        uint64_t went = demote(over + for_pinned);
        uint64_t from_over = std::min(over, went);
        over -= from_over;
        for_pinned -= went - from_over;
    }
    pinned.resize(pinned.size() - std::min<uint64_t>(for_pinned, pinned.size()));
    left -= std::min<uint64_t>(left, pinned.size());

    // What one page's move costs the bank now: the move, and the reserve for its way back; nothing
    // that a return does not give back.
    const double move_s = situation.move_ns * 1e-9;
    auto price_s = [&](Class kind) {
        return kind == guest || kind == exile ? 0
               : kind == local                ? 2 * move_s + terms.risk_s
                                              : 2 * move_s;
    };
    const double usual_s = terms.balance_s - terms.kept_s;
    const double swift_most_s = std::max(usual_s, swift_part * terms.balance_s);
    const double gain_s = std::max(situation.loss_ns, 0.0) * 1e-9 * swift_s;  // of a touch/s
    double spent_s = 0;
    auto lowest_of = [&](const Queue& come, const Queue& go) {
        return terms.wary && go.kind().of == local ? come.rates().floor : come.rates().low;
    };
    auto is_huge = [&](Kind kind) { return huge[kind.of][kind.belief] > 0; };
    auto gained = [&] {
        return terms.rare ? newcomers.rates().mean - victims.rates().mean
                          : lowest_of(newcomers, victims) - beaten_of(victims.kind());
    };
    // Surely hotter, and surely by as much as two moves cost; where readings are rare, probably by
    // that much, since being sure would take too long.
    auto beats = [&] {
        return lowest_of(newcomers, victims) >= swap_ratio * beaten_of(victims.kind()) &&
               gained() > 2 * admission;
    };
    while (!newcomers.empty() && left > 0 && over == 0 && !blind) {
        const double low = newcomers.rates().low;
        if (low <= admission) break;
        const double newcomer_s = price_s(newcomers.kind().of);
        auto affordable = [&](double each_s, double rate) {
            if (each_s <= 0) return UINT64_MAX;
            const double most_s = rate * gain_s > each_s ? swift_most_s : usual_s;
            return uint64_t(std::clamp((most_s - spent_s) / each_s, 0.0, 1e9));
        };
        if (room > 0) {
            uint64_t wanted = std::min({room, newcomers.left(), affordable(newcomer_s, low), left});
            if (is_huge(newcomers.kind()) && wanted < newcomers.left()) {
                // It comes as a whole, or leaves the room to others.
                if (wanted >= block_pages) {
                    wanted -= wanted % block_pages;
                } else if (victims.empty() || !beats()) {
                    newcomers.skip();
                    continue;
                }
            }
            if (wanted == 0) break;
            newcomers.take(wanted, quota);
            room -= wanted;
            left -= wanted;
            spent_s += double(wanted) * newcomer_s;
            continue;
        }
        if (victims.empty() || far_room == 0 || left < 2) break;
        // A huge page that has got a part of its room gets the rest from whoever is colder.
        const bool begun = is_huge(newcomers.kind()) && newcomers.taken() % block_pages != 0;
        if (!beats() && !(begun && gained() > 0)) break;
        const double by = gained();
        const Kind victim = victims.kind();
        if (is_huge(victim) && newcomers.left() < block_pages) {
            // It goes as a whole, for newcomers that are hot enough together.
            const uint64_t whole = std::min<uint64_t>(block_pages, victims.left());
            const double come = newcomers.next_rates(whole, admission);
            const double whole_s = double(whole) * (newcomer_s + price_s(victim.of));
            if (come < double(whole) * (swap_ratio * beaten_of(victim) + 2 * admission) ||
                left < 2 * whole || far_room < whole || spent_s + whole_s > usual_s) {
                break;
            }
            spent_s += double(whole) * price_s(victim.of);
            room += demote(whole);
            continue;
        }
        const double both_s = newcomer_s + price_s(victims.kind().of);
        uint64_t swaps = std::min({affordable(both_s, by), newcomers.left(), left / 2});
        swaps = std::min({swaps, victims.left(), far_room});
        if (swaps == 0) break;
        spent_s += double(swaps) * both_s;
        newcomers.take(swaps, quota);
        left -= swaps;
        demote(swaps);
    }
    if (!victims.empty()) choice.victim_rate_high = beaten_of(victims.kind());
    choice.plan.demote.assign(victims.total(), no_page);
    choice.plan.promote.assign(newcomers.total(), no_page);
    collect(pages, hints, respect, quota, choice.plan);
    choice.plan.promote.insert(choice.plan.promote.begin(), pinned.begin(), pinned.end());
    fit(pages, all_room, choice.near > capacity ? choice.near - capacity : 0, situation.move_pages,
        choice.plan);
    return choice;
}

}  // namespace libpool::tier
