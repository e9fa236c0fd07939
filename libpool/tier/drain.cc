// SPDX-License-Identifier: Apache-2.0
#include "tier/drain.h"

#include <algorithm>

#include "uapi.h"

namespace libpool::tier {

namespace {

constexpr uint64_t block_bytes = huge_pages * page_bytes;
constexpr int idle_passes_limit = 3;  // in a row that moved nothing
constexpr double pass_pause_s = 0.1;  // for what was busy

uint64_t pages_of(const std::vector<DrainUnit>& units) {
    uint64_t pages = 0;
    for (const DrainUnit& unit : units) pages += unit.pages;
    return pages;
}

class Draining {
  public:
    Draining(const DrainTask& task, const DrainWorld& world, const Progress& progress)
        : task_(task), world_(world), progress_(progress) {}

    Result<Evacuation> run() {
        for (int idle = 0; idle < idle_passes_limit;) {
            auto found = world_.find();
            if (!found && found.error().code == ESRCH && moved_ > 0) found = {};  // it has ended
            if (!found) return std::unexpected(found.error());
            there_ = found->size();
            result_.found_pages = std::max(result_.found_pages, moved_ + there_);
            if (found->empty()) break;
            if (result_.stopped || late()) break;
            uint64_t before = moved_;
            reasons_.clear();
            pass(drain_units(*found, world_.rate_of));
            if (result_.stopped || late()) continue;  // only a last look at what is left
            idle = moved_ > before ? 0 : idle + 1;
            if (reasons_.empty()) continue;
            world_.sleep_s(std::min(pass_pause_s, task_.deadline_s - world_.now_s()));
        }
        return account();
    }

  private:
    bool late() const { return world_.now_s() >= task_.deadline_s; }

    uint64_t room_pages(const std::vector<int>& nodes, int* best = nullptr) const {
        uint64_t sum = 0, most = 0;
        for (int node : nodes) {
            auto room = world_.kernel.room_bytes(node);
            uint64_t pages = room ? *room / page_bytes : 0;  // a node that is gone has none
            sum += pages;
            if (pages <= most) continue;
            most = pages;
            if (best) *best = node;
        }
        return best ? most : sum;
    }

    void pass(std::vector<DrainUnit> units) {
        DrainRoom room{room_pages(task_.near_nodes), room_pages(task_.far_nodes)};
        DrainOrder order = order_drain(std::move(units), room, task_.worth_rate);
        move_all(order.near, task_.near_nodes);
        move_all(order.far, task_.far_nodes);
        move_all(order.late_near, task_.near_nodes);
        if (!order.stay.empty()) reasons_[ENOSPC] += pages_of(order.stay);
    }

    // In batches of one call each, the room asked anew before each.
    void move_all(const std::vector<DrainUnit>& units, const std::vector<int>& nodes) {
        size_t at = 0;
        uint64_t left = pages_of(units);
        while (at < units.size() && !result_.stopped) {
            if (late()) {
                reasons_[ETIME] += left;
                return;
            }
            int target = -1;
            uint64_t room = room_pages(nodes, &target);
            if (room < units[at].pages) {
                reasons_[ENOSPC] += left;
                return;
            }
            MoveReport report = units[at].pages > 1 ? move_block(units, at, target)
                                                    : move_smalls(units, at, target, room);
            moved_ += report.moved;
            left -= report.nodes.size();
            for (auto [reason, pages] : report.reasons) {
                if (reason == ENOENT || reason == ESRCH) continue;  // gone, and so not in the way
                reasons_[reason] += pages;
            }
            if (progress_ && !progress_(moved_, result_.found_pages)) result_.stopped = true;
        }
    }

    MoveReport move_block(const std::vector<DrainUnit>& units, size_t& at, int target) {
        uint64_t block = units[at++].address;
        return world_.mover.move_huge(task_.pid, {&block, 1}, target);
    }

    MoveReport move_smalls(const std::vector<DrainUnit>& units, size_t& at, int target,
                           uint64_t room) {
        std::vector<uint64_t> pages;
        while (at < units.size() && units[at].pages == 1 &&
               pages.size() < std::min<uint64_t>(move_batch, room)) {
            pages.push_back(units[at++].address);
        }
        return world_.mover.move(task_.pid, pages, target);
    }

    // What is there in the end is what failed; the last pass says why.
    Evacuation account() {
        result_.failed_pages = there_;
        result_.done_pages = result_.found_pages - there_;
        uint64_t left = there_;
        for (auto [reason, pages] : reasons_) {
            uint64_t said = std::min(left, pages);
            if (said > 0) result_.reasons[reason] = said;
            left -= said;
        }
        if (left > 0) result_.reasons[result_.stopped ? ECANCELED : late() ? ETIME : 0] += left;
        return result_;
    }

    const DrainTask& task_;
    const DrainWorld& world_;
    const Progress& progress_;
    Evacuation result_;
    Reasons reasons_;  // of this pass
    uint64_t moved_ = 0;
    uint64_t there_ = 0;
};

}  // namespace

std::vector<DrainUnit> drain_units(std::span<const uint64_t> addresses,
                                   const std::function<float(uint64_t)>& rate_of) {
    std::vector<DrainUnit> units;
    for (size_t at = 0; at < addresses.size();) {
        const uint64_t first = addresses[at];
        const float rate = rate_of(first);
        size_t length = 1;
        if (first % block_bytes == 0) {
            while (length < huge_pages && at + length < addresses.size() &&
                   addresses[at + length] == first + length * page_bytes &&
                   rate_of(addresses[at + length]) == rate) {
                ++length;
            }
        }
        bool whole = length == huge_pages;
        units.push_back({first, whole ? uint32_t(huge_pages) : 1, rate});
        at += whole ? length : 1;
    }
    return units;
}

DrainOrder order_drain(std::vector<DrainUnit> units, const DrainRoom& room, double worth_rate) {
    std::stable_sort(units.begin(), units.end(),
                     [](const DrainUnit& a, const DrainUnit& b) { return a.rate > b.rate; });
    DrainOrder order;
    uint64_t near = room.near_pages, far = room.far_pages;
    auto take = [](uint64_t& from, const DrainUnit& unit, std::vector<DrainUnit>& to) {
        if (from < unit.pages) return false;
        from -= unit.pages;
        to.push_back(unit);
        return true;
    };
    std::vector<DrainUnit> rest;
    for (const DrainUnit& unit : units) {
        bool worth = unit.rate > 0 && unit.rate >= worth_rate;
        if (worth && take(near, unit, order.near)) continue;
        if (!take(far, unit, order.far)) rest.push_back(unit);
    }
    for (const DrainUnit& unit : rest) {
        if (!take(near, unit, order.late_near)) order.stay.push_back(unit);
    }
    return order;
}

Result<Evacuation> drain(const DrainTask& task, const DrainWorld& world, const Progress& progress) {
    if (task.near_nodes.empty() && task.far_nodes.empty()) {
        return fail(EINVAL, "there is no other node to which pages could go");
    }
    return Draining(task, world, progress).run();
}

}  // namespace libpool::tier
