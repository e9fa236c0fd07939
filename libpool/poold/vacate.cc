// SPDX-License-Identifier: Apache-2.0
#include "poold/vacate.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>

#include "kernel.h"
#include "mover.h"
#include "poold/at_once.h"
#include "steady.h"
#include "tier/control_client.h"
#include "uapi.h"

namespace poold {

using namespace libpool::tier;
using libpool::page_bytes;

namespace {

// Of the order, within which pages of one process go together: some calls' worth.
constexpr size_t stretch_units = 4 * libpool::move_batch;

// Of one process, and of all: one that is stopped, or many of them, must not keep an extent.
constexpr double status_s = 1, all_statuses_s = 10, all_rates_s = 30;
constexpr size_t rates_at_once = 4;  // each answer may be of megabytes, and fifty times that parsed

void add_batches(const std::vector<DrainUnit>& units, const std::vector<pid_t>& pids, bool near,
                 std::vector<VacateBatch>& batches) {
    for (size_t at = 0; at < units.size(); at += stretch_units) {
        std::map<uint32_t, VacateBatch> small;  // by owner
        for (size_t i = at; i < std::min(at + stretch_units, units.size()); ++i) {
            const DrainUnit& unit = units[i];
            if (unit.pages > 1) {
                batches.push_back({pids[unit.owner], near, {unit}});
                continue;
            }
            VacateBatch& batch = small[unit.owner];
            batch.pid = pids[unit.owner];
            batch.near = near;
            batch.units.push_back(unit);
        }
        for (auto& [owner, batch] : small) batches.push_back(std::move(batch));
    }
}

// Of a tiered process that has pages in the range; who says it speaks for it.
struct Occupant {
    pid_t speaker = 0;
    Snapshot said;
    std::vector<uint64_t> pages;  // addresses
};

struct Scene {
    std::vector<pid_t> pids;
    std::vector<DrainUnit> units;
    std::set<int> near, far;
    double worth_rate = 0;  // near is worth what the hottest boundary says
};

std::vector<Occupant> find_occupants(libpool::Kernel& kernel, const libpool::Site& range,
                                     const std::function<bool()>& go_on) {
    const std::vector<pid_t> pids = by_turns(tiered_processes().value_or(std::vector<pid_t>{}));
    std::vector<std::optional<Snapshot>> said(pids.size());
    const double until_s = libpool::steady_now_s() + all_statuses_s;
    at_once(
        pids.size(), [&] { return libpool::steady_now_s() < until_s && go_on(); },
        [&](size_t i) {
            auto answer = ask_status(pids[i], status_s);
            if (answer && answer->state == TieringState::tiered) said[i] = std::move(*answer);
        });
    std::vector<Occupant> occupants;
    for (size_t i = 0; i < pids.size() && go_on(); ++i) {
        if (!said[i]) continue;
        auto pages = libpool::find_pages(kernel, said[i]->target, range);
        if (!pages || pages->empty()) continue;
        occupants.push_back({pids[i], std::move(*said[i]), std::move(*pages)});
    }
    return occupants;
}

using Rates = std::optional<std::vector<float>>;

// Of each occupant's pages, in their order; nothing: it has not told them.
std::vector<Rates> rates_of(const std::vector<Occupant>& occupants,
                            const std::function<bool()>& go_on) {
    std::vector<Rates> rates(occupants.size());
    const double until_s = libpool::steady_now_s() + all_rates_s;
    const auto in_time = [&] { return libpool::steady_now_s() < until_s && go_on(); };
    at_once(
        occupants.size(), in_time,
        [&](size_t i) {
            auto answer = ask_rates(occupants[i].speaker, occupants[i].pages, in_time);
            if (answer) rates[i] = std::move(*answer);
        },
        rates_at_once);
    return rates;
}

void add_occupant(const Occupant& one, const std::vector<float>& rates, Scene& scene) {
    auto units = drain_units(one.pages, [&](uint64_t address) {
        return rates[size_t(std::ranges::lower_bound(one.pages, address) - one.pages.begin())];
    });
    for (DrainUnit& unit : units) unit.owner = static_cast<uint32_t>(scene.pids.size());
    scene.units.insert(scene.units.end(), units.begin(), units.end());
    scene.pids.push_back(one.said.target);
    scene.near.insert(one.said.near_nodes.begin(), one.said.near_nodes.end());
    scene.far.insert(one.said.far_nodes.begin(), one.said.far_nodes.end());
    scene.worth_rate = std::max(scene.worth_rate, one.said.policy.boundary_rate);
}

// The node with the most room, and that room in pages.
std::pair<int, uint64_t> roomiest(libpool::Kernel& kernel, const std::set<int>& nodes) {
    std::pair<int, uint64_t> best{-1, 0};
    for (int node : nodes) {
        uint64_t pages = kernel.room_bytes(node).value_or(0) / page_bytes;
        if (pages > best.second) best = {node, pages};
    }
    return best;
}

uint64_t room_pages(libpool::Kernel& kernel, const std::set<int>& nodes) {
    uint64_t sum = 0;
    for (int node : nodes) sum += kernel.room_bytes(node).value_or(0) / page_bytes;
    return sum;
}

uint64_t move(libpool::Kernel& kernel, const VacateBatch& batch, const std::set<int>& nodes) {
    auto [target, room] = roomiest(kernel, nodes);
    libpool::KernelMover mover(kernel);
    if (target < 0 || room < batch.units.front().pages) return 0;
    if (batch.units.front().pages > 1) {
        return mover.move_huge(batch.pid, {&batch.units.front().address, 1}, target).moved;
    }
    std::vector<uint64_t> addresses;
    for (const DrainUnit& unit : batch.units) {
        if (addresses.size() < room) addresses.push_back(unit.address);
    }
    return mover.move(batch.pid, addresses, target).moved;
}

}  // namespace

std::vector<VacateBatch> plan_vacating(std::vector<DrainUnit> units, const std::vector<pid_t>& pids,
                                       const DrainRoom& room, double worth_rate) {
    DrainOrder order = order_drain(std::move(units), room, worth_rate);
    std::vector<VacateBatch> batches;
    add_batches(order.near, pids, true, batches);
    add_batches(order.far, pids, false, batches);
    add_batches(order.late_near, pids, true, batches);
    return batches;
}

Vacated vacate(const libpool::Site& range, const std::vector<int>& leaving,
               const std::function<bool()>& go_on) {
    auto kernel = libpool::make_kernel();
    const std::vector<Occupant> occupants = find_occupants(*kernel, range, go_on);
    const std::vector<Rates> rates = rates_of(occupants, go_on);
    if (!go_on()) return {};
    Scene scene;
    for (size_t i = 0; i < occupants.size(); ++i) {
        if (rates[i]) add_occupant(occupants[i], *rates[i], scene);
    }
    for (int node : leaving) scene.near.erase(node), scene.far.erase(node);
    Vacated done{scene.pids.size(), 0, 0};
    for (const DrainUnit& unit : scene.units) done.found_pages += unit.pages;
    DrainRoom room{room_pages(*kernel, scene.near), room_pages(*kernel, scene.far)};
    for (const VacateBatch& batch :
         plan_vacating(std::move(scene.units), scene.pids, room, scene.worth_rate)) {
        if (!go_on()) break;
        done.moved_pages += move(*kernel, batch, batch.near ? scene.near : scene.far);
    }
    return done;
}

}  // namespace poold
