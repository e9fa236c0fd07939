// SPDX-License-Identifier: Apache-2.0
#include "pooltrace/bound.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>

namespace libpool::tier::trace {

namespace {

constexpr uint32_t lane_pages = 256;  // solved side by side: their state stays in the first cache

// All pages' two-state problems under given prices, a lane of them at a time.
class Relaxation {
  public:
    Relaxation(const Trace& trace, const BoundProblem& problem)
        : trace_(trace),
          problem_(problem),
          home_(first_places(trace, problem.near_pages)),
          birth_(trace.pages, 0),
          switched_(trace.epochs() * lane_pages),
          near_(lane_pages) {
        for (PageId page = 0; page < trace.pages; ++page)
            if (home_[page] == Place::nowhere) birth_[page] = birth_of(page);
    }

    const std::vector<Place>& homes() const { return home_; }

    // The sum of minima, and how many pages each epoch has near in them. With `visit`, where each
    // page is: (epoch, page) for near ones.
    double solve(const std::vector<double>& prices, std::vector<double>& used,
                 const std::function<void(size_t, PageId)>& visit = nullptr) {
        used.assign(trace_.epochs(), 0);
        double sum = 0;
        for (PageId first = 0; first < trace_.pages; first += lane_pages) {
            uint32_t lane = std::min(lane_pages, trace_.pages - first);
            sum += forward(first, lane, prices);
            backward(first, lane, used, visit);
        }
        return sum;
    }

  private:
    uint32_t birth_of(PageId page) const {
        uint32_t e = 0;
        while (e < trace_.epochs() && trace_.epoch(e)[page] == 0) ++e;
        return e;
    }

    // near: the least cost of being near now; gap: what being far costs more. A switch bounds the
    // gap by the cost of a move on both sides; which side it hit is what the way back needs.
    double forward(PageId first, uint32_t lane, const std::vector<double>& prices) {
        const double move = problem_.move_ns, loss = problem_.loss_ns;
        bool all_born = true;
        for (uint32_t i = 0; i < lane; ++i) {
            Place home = home_[first + i];
            near_cost_[i] = home == Place::far ? move : 0;
            gap_[i] = home == Place::near ? move : home == Place::far ? -move : 0;
            all_born = all_born && home != Place::nowhere;
        }
        for (size_t e = 0; e < trace_.epochs(); ++e) {
            const uint32_t* counts = trace_.epoch(e).data() + first;
            const uint32_t* birth = birth_.data() + first;
            int8_t* switched = switched_.data() + e * lane_pages;
            const double price = prices[e];
            auto one = [&](uint32_t i, double rent) {
                double gap = gap_[i];
                switched[i] = int8_t(int(gap > move) - int(gap < -move));
                near_cost_[i] += std::min(0.0, gap + move) + rent;
                gap_[i] = std::min(std::max(gap, -move), move) + counts[i] * loss - rent;
            };
            if (all_born) {
                for (uint32_t i = 0; i < lane; ++i) one(i, price);
            } else {
                for (uint32_t i = 0; i < lane; ++i) one(i, birth[i] <= e ? price : 0);
            }
        }
        double sum = 0;
        for (uint32_t i = 0; i < lane; ++i) {
            sum += near_cost_[i] + std::min(0.0, gap_[i]);
            near_[i] = gap_[i] > 0;
        }
        return sum;
    }

    void backward(PageId first, uint32_t lane, std::vector<double>& used,
                  const std::function<void(size_t, PageId)>& visit) {
        for (size_t e = trace_.epochs(); e-- > 0;) {
            uint32_t near = 0;
            for (uint32_t i = 0; i < lane; ++i) near += near_[i] & uint32_t(birth_[first + i] <= e);
            used[e] += near;
            if (visit)
                for (uint32_t i = 0; i < lane; ++i)
                    if (near_[i] && birth_[first + i] <= e) visit(e, first + i);
            const int8_t* switched = switched_.data() + e * lane_pages;
            for (uint32_t i = 0; i < lane; ++i)
                near_[i] = switched[i] == 0 ? near_[i] : uint8_t(switched[i] > 0);
        }
    }

    const Trace& trace_;
    const BoundProblem& problem_;
    std::vector<Place> home_;
    std::vector<uint32_t> birth_;
    std::vector<int8_t> switched_;  // on the way into an epoch: +1 all come from near, -1 from far
    std::vector<uint8_t> near_;
    double near_cost_[lane_pages] = {}, gap_[lane_pages] = {};
};

// What a plan that keeps to the limit costs. In each epoch the pages that the relaxation wants near
// get in as long as there is room, those that were near already first, then by accesses.
double plan_cost(const Trace& trace, const BoundProblem& problem, Relaxation& relaxation,
                 const std::vector<double>& prices) {
    std::vector<std::vector<PageId>> wanted(trace.epochs());
    std::vector<double> used;
    relaxation.solve(prices, used, [&](size_t e, PageId page) { wanted[e].push_back(page); });
    std::vector<uint8_t> near(trace.pages, 0), born(trace.pages, 0);
    for (PageId page = 0; page < trace.pages; ++page) {
        born[page] = relaxation.homes()[page] != Place::nowhere;
        near[page] = relaxation.homes()[page] == Place::near;
    }
    std::vector<uint8_t> next(trace.pages);
    uint64_t moves = 0, near_accesses = 0;
    for (size_t e = 0; e < trace.epochs(); ++e) {
        std::span<const uint32_t> counts = trace.epoch(e);
        std::vector<PageId>& pages = wanted[e];
        if (pages.size() > problem.near_pages) {
            auto rank = [&](PageId page) {
                return double(counts[page]) * problem.loss_ns +
                       (near[page] ? 2 * problem.move_ns : 0);
            };
            std::ranges::nth_element(pages, pages.begin() + ptrdiff_t(problem.near_pages),
                                     std::greater{}, rank);
            pages.resize(problem.near_pages);
        }
        std::ranges::fill(next, 0);
        for (PageId page : pages) next[page] = 1;
        // Nothing goes far for nothing: who is not pushed out stays.
        uint64_t room = problem.near_pages - pages.size();
        for (PageId page = 0; page < trace.pages && room > 0; ++page) {
            if (!near[page] || next[page]) continue;
            next[page] = 1;
            --room;
        }
        for (PageId page = 0; page < trace.pages; ++page) {
            moves += born[page] && next[page] != near[page];
            born[page] |= counts[page] != 0;
            near_accesses += next[page] ? counts[page] : 0;
        }
        std::swap(near, next);
    }
    return double(trace.accesses() - near_accesses) * problem.loss_ns +
           double(moves) * problem.move_ns;
}

// The price at which just enough pages want to be near, judged by what each saved of late.
std::vector<double> first_prices(const Trace& trace, const BoundProblem& problem) {
    constexpr float weight = 0.125;
    std::vector<double> prices(trace.epochs(), 0);
    if (problem.near_pages >= trace.pages) return prices;
    std::vector<float> mean(trace.pages, 0), sorted;
    for (size_t e = trace.epochs(); e-- > 0;) {  // what comes matters, not what was
        std::span<const uint32_t> counts = trace.epoch(e);
        float w = e + 1 == trace.epochs() ? 1 : weight;
        for (PageId page = 0; page < trace.pages; ++page)
            mean[page] += w * (float(counts[page]) - mean[page]);
        sorted = mean;
        std::ranges::nth_element(sorted, sorted.begin() + ptrdiff_t(problem.near_pages),
                                 std::greater{});
        prices[e] = sorted[problem.near_pages] * problem.loss_ns;
    }
    return prices;
}

}  // namespace

std::vector<Place> first_places(const Trace& trace, uint64_t near_pages) {
    std::vector<Place> places(trace.pages, Place::nowhere);
    if (trace.epochs() == 0) return places;
    uint64_t room = near_pages;
    for (PageId page = 0; page < trace.pages; ++page) {
        if (trace.epoch(0)[page] == 0) continue;
        bool near = room > 0 && (trace.home.empty() || trace.home[page] != Place::far);
        places[page] = near ? Place::near : Place::far;
        room -= near;
    }
    return places;
}

double dual_value(const Trace& trace, const BoundProblem& problem,
                  const std::vector<double>& prices_ns) {
    std::vector<double> used;
    double rent = std::accumulate(prices_ns.begin(), prices_ns.end(), 0.0);
    return Relaxation(trace, problem).solve(prices_ns, used) - double(problem.near_pages) * rent;
}

Bound lower_bound(const Trace& trace, const BoundProblem& problem, const BoundOptions& options) {
    constexpr uint32_t plan_every = 10, patience = 8;
    Relaxation relaxation(trace, problem);
    Bound best;
    std::vector<double> prices = first_prices(trace, problem), used, direction(trace.epochs(), 0);
    best.prices_ns.assign(trace.epochs(), 0);
    best.plan_ns = plan_cost(trace, problem, relaxation, best.prices_ns);
    best.cost_ns = 0;  // D(0)
    double relax = 1;
    uint32_t stale = 0;
    for (; best.iterations < options.iterations; ++best.iterations) {
        double value =
            relaxation.solve(prices, used) -
            double(problem.near_pages) * std::accumulate(prices.begin(), prices.end(), 0.0);
        if (value > best.cost_ns) {
            stale = value > best.cost_ns * (1 + 1e-5) ? 0 : stale + 1;
            best.cost_ns = value;
            best.prices_ns = prices;
        } else {
            ++stale;
        }
        if (best.iterations % plan_every == 0)
            best.plan_ns =
                std::min(best.plan_ns, plan_cost(trace, problem, relaxation, best.prices_ns));
        if (best.plan_ns - best.cost_ns <= options.tolerance * best.plan_ns) break;
        if (stale >= patience) {
            relax /= 2;
            stale = 0;
            prices = best.prices_ns;
            std::ranges::fill(direction, 0);
            if (relax < 1e-4) break;
            continue;
        }
        double norm = 0;
        for (size_t e = 0; e < prices.size(); ++e) {
            double excess = used[e] - double(problem.near_pages);
            if (prices[e] == 0 && excess < 0) excess = 0;  // a price cannot fall below 0
            direction[e] = 0.7 * direction[e] + excess;
            norm += direction[e] * direction[e];
        }
        if (norm == 0) break;  // every epoch's room is used or free: the optimum
        double step = relax * (best.plan_ns - value) / norm;
        for (size_t e = 0; e < prices.size(); ++e)
            prices[e] = std::max(0.0, prices[e] + step * direction[e]);
    }
    double all = problem.loss_ns * double(trace.accesses());
    best.near_share = all > 0 ? 1 - best.cost_ns / all : 1;
    return best;
}

}  // namespace libpool::tier::trace
