// SPDX-License-Identifier: Apache-2.0
#include "poold/decide.h"

#include <optional>

namespace poold {

namespace {

Order order(const Wish& wish, const Device& device, const std::string& what) {
    return Order{wish.key, device.folder(),
                 text("%llu %llu %s", static_cast<unsigned long long>(wish.key.dpa),
                      static_cast<unsigned long long>(wish.key.len), what.c_str())};
}

Order plug(const Wish& wish, const Device& device) {
    return order(wish, device, std::string("plugged ") + name_of(wish.use));
}

std::optional<Action> keep_plugged(const Wish& wish, const Device& device, const Extent& extent,
                                   const Blocks* blocks) {
    if (extent.use && *extent.use != wish.use) {
        return Say{wish.key,
                   text("grant %s wants it as %s and it is in use as %s: release the grant "
                        "that put it there first",
                        wish.grant.c_str(), name_of(wish.use), name_of(*extent.use))};
    }
    // The driver still means to unplug it: the release was called off.
    if (extent.want == "unplugged") return plug(wish, device);
    if (blocks && blocks->problem.empty() && !blocks->offline.empty()) {
        return Refill{wish.key, *blocks};
    }
    return std::nullopt;
}

std::optional<Action> unplug(const Wish& wish, const Device& device, const Extent& extent,
                             const Blocks* blocks) {
    Order go = order(wish, device, "unplugged");
    if (extent.use == Use::dax) return CloseDax{go, extent.dax};
    if (!blocks) return std::nullopt;  // not looked at yet
    if (!blocks->problem.empty()) return Say{wish.key, blocks->problem};
    if (!blocks->online.empty()) {
        return Empty{wish.key, wish.grant, extent.node.value_or(-1), *blocks};
    }
    return go;
}

std::optional<Action> decide_one(const Wish& wish, const Device& device, const Extent& extent,
                                 const Blocks* blocks) {
    switch (extent.state) {
        case ExtentState::accepted:
            if (wish.want == Want::plugged) return plug(wish, device);
            // Also when nothing was ordered yet: the driver may plug by itself after its delay.
            if (extent.want != "unplugged") return order(wish, device, "unplugged");
            return std::nullopt;
        case ExtentState::plugged:
            return wish.want == Want::plugged ? keep_plugged(wish, device, extent, blocks)
                                              : unplug(wish, device, extent, blocks);
        case ExtentState::pending:
        case ExtentState::plugging:
        case ExtentState::unplugging:
        case ExtentState::releasing:
        case ExtentState::stuck:
            return std::nullopt;
    }
    return std::nullopt;
}

}  // namespace

std::vector<Action> decide(const Desired& desired, const std::vector<Device>& devices,
                           const BlocksByKey& blocks) {
    // A serial that two functions claim names neither of them.
    std::map<Key, std::pair<const Device*, const Extent*>> seen;
    std::map<uint64_t, int> serials;
    for (const Device& device : devices) {
        if (!device.ours() || device.state != "ready") continue;
        ++serials[device.serial];
        for (const Extent& extent : device.extents) {
            seen[Key{device.serial, extent.dpa, extent.len}] = {&device, &extent};
        }
    }
    std::vector<Action> actions;
    for (const Wish& wish : desired.wishes) {
        auto found = seen.find(wish.key);
        if (found == seen.end() || serials[wish.key.serial] != 1) continue;
        auto known = blocks.find(wish.key);
        auto action = decide_one(wish, *found->second.first, *found->second.second,
                                 known == blocks.end() ? nullptr : &known->second);
        if (action) actions.push_back(std::move(*action));
    }
    return actions;
}

const Key& key_of(const Action& action) {
    if (auto* close = std::get_if<CloseDax>(&action)) return close->order.key;
    if (auto* order = std::get_if<Order>(&action)) return order->key;
    if (auto* empty = std::get_if<Empty>(&action)) return empty->key;
    if (auto* refill = std::get_if<Refill>(&action)) return refill->key;
    return std::get<Say>(action).key;
}

}  // namespace poold
