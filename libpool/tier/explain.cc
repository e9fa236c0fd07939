// SPDX-License-Identifier: Apache-2.0
#include "tier/explain.h"

#include "error.h"

namespace libpool::tier {

Explanation explain_page(const Pages& pages, const std::vector<HintedRun>& hints, PageId page,
                         const Circumstances& now) {
    Explanation e;
    if (page >= pages.states.size() || pages.blocks[page / block_pages].pages == 0) {
        e.verdict = "this page is not tracked";
        return e;
    }
    const PageState state = pages.states[page];
    const BeliefRates& rates = rates_of(pages.belief(page));
    e.place = state.place();
    e.baseline = state.home_near() ? Place::near : Place::far;
    e.huge = pages.blocks[page / block_pages].huge;
    for (const HintedRun& hinted : hints) {
        if (page >= hinted.run.first && page < hinted.run.end()) e.hint = hinted.hint;
    }
    e.rate_low = rates.low;
    e.rate = rates.mean;
    e.rate_high = rates.high;
    e.stay_s = now.stay_s;
    e.admission_rate = admission_rate(now.situation, now.stay_s);
    e.boundary_rate = now.boundary_rate;
    e.victim_rate_high = now.victim_rate_high;
    e.credit_share = double(state.credit()) / PageState::credit_full;
    e.bank_balance_s = now.bank_balance_s;
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
    } else if (now.situation.loss_ns <= 0) {
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
    } else if (now.near >= now.near_pages &&
               e.rate_low - e.victim_rate_high <= 2 * e.admission_rate) {
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

}  // namespace libpool::tier
