// SPDX-License-Identifier: Apache-2.0
// A certified lower bound on what any placement must cost: accesses to far pages × loss + moves ×
// their cost, with at most so many pages near at any time.
//
// Near memory is rented instead of limited: with a price λ ≥ 0 for a page near during epoch t,
// pages no longer compete, and each is a two-state problem (near or far) solved exactly by dynamic
// programming. The sum of these minima less what the whole near memory would be rented for,
// D(λ) = Σ minima - K·Σ λ, is at most the true optimum for every λ (weak duality), so any prices
// certify; we climb to good ones by subgradients. With one price an epoch it also bounds placements
// that move in the middle of epochs, since within an epoch all rates are constant.
//
// Pages of the first epoch start where first touch puts them, the same for everybody. Pages born
// later start where the optimum likes, for nothing: that can only lower the bound.
#pragma once

#include <cstdint>
#include <vector>

#include "pooltrace/trace.h"

namespace libpool::tier::trace {

struct BoundProblem {
    uint64_t near_pages = 1;
    double loss_ns = 150;
    double move_ns = 2000;
};

struct BoundOptions {
    uint32_t iterations = 300;
    double tolerance = 1e-3;  // enough when bound and plan are as close as that
};

struct Bound {
    double cost_ns = 0;     // no placement costs less
    double plan_ns = 0;     // and this plan, found on the way, costs so much
    double near_share = 0;  // 1 - cost/(loss × accesses): near hits less moves, at best
    std::vector<double> prices_ns;
    uint32_t iterations = 0;
};

// Where first touch puts each page; Place::nowhere for pages not born in the first epoch.
std::vector<Place> first_places(const Trace& trace, uint64_t near_pages);

// D(λ): `prices_ns` has one price ≥ 0 an epoch.
double dual_value(const Trace& trace, const BoundProblem& problem,
                  const std::vector<double>& prices_ns);

Bound lower_bound(const Trace& trace, const BoundProblem& problem,
                  const BoundOptions& options = {});

}  // namespace libpool::tier::trace
