// SPDX-License-Identifier: Apache-2.0
#include "poold/vacate.h"

#include <algorithm>
#include <map>
#include <set>

#include "kernel.h"
#include "mover.h"
#include "tier/control_client.h"
#include "uapi.h"

namespace poold {

using namespace libpool::tier;
using libpool::page_bytes;

namespace {

// Of the order, within which pages of one process go together: some calls' worth.
constexpr size_t stretch_units = 4 * libpool::move_batch;

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

struct Scene {
    std::vector<pid_t> pids;
    std::vector<DrainUnit> units;
    std::set<int> near, far;
    double worth_rate = 0;  // near is worth what the hottest boundary says
};

void add_process(libpool::Kernel& kernel, pid_t speaker, const libpool::Site& range, Scene& scene) {
    auto said = ask_status(speaker, 1);
    if (!said || said->state != TieringState::tiered) return;
    // Only root's word on another process's pages counts.
    if (said->target != speaker && process_facts(speaker).uid != 0) return;
    auto pages = libpool::find_pages(kernel, said->target, range);
    if (!pages || pages->empty()) return;
    auto rates = ask_rates(speaker);
    if (!rates) return;
    auto units = drain_units(*pages, [&](uint64_t address) { return rates->of(address); });
    for (DrainUnit& unit : units) unit.owner = static_cast<uint32_t>(scene.pids.size());
    scene.units.insert(scene.units.end(), units.begin(), units.end());
    scene.pids.push_back(said->target);
    scene.near.insert(said->near_nodes.begin(), said->near_nodes.end());
    scene.far.insert(said->far_nodes.begin(), said->far_nodes.end());
    scene.worth_rate = std::max(scene.worth_rate, said->policy.boundary_rate);
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
    Scene scene;
    for (pid_t pid : tiered_processes().value_or(std::vector<pid_t>{})) {
        if (!go_on()) return {};
        add_process(*kernel, pid, range, scene);
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
