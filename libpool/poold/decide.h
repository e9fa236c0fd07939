// SPDX-License-Identifier: Apache-2.0
// The one place where the agent decides: (wishes, what is seen) → what to do now. Pure, and
// level-triggered: it knows no history, so a restart of the agent or of fmd changes nothing.
//
// Rules that everything else may rely on:
//  - only an extent that a wish names exactly (serial, DPA, length) is ever touched;
//  - `unplugged` comes out only where a wish says unplugged;
//  - an extent the driver is busy with, or calls stuck, is left to the driver.
#pragma once

#include <map>
#include <string>
#include <variant>
#include <vector>

#include "poold/desired.h"
#include "poold/host.h"

namespace poold {

// How the memory blocks of a plugged `ram` extent stand.
struct Blocks {
    uint64_t hpa = 0;  // where the extent starts
    uint64_t len = 0;
    uint64_t block_bytes = 0;      // the memory block
    std::vector<uint64_t> online;  // numbers N of /sys/devices/system/memory/memoryN
    std::vector<uint64_t> offline;
    std::string problem;  // why this is not known: nothing is done then
    friend bool operator==(const Blocks&, const Blocks&) = default;
};
using BlocksByKey = std::map<Key, Blocks>;

// Order the driver to plug or unplug: one line into its `want` file.
struct Order {
    Key key;
    std::string folder;  // the device's dcd folder
    std::string line;
    friend bool operator==(const Order&, const Order&) = default;
};

// Take the memory blocks of a `ram` extent offline, so that unplugging finds nothing in use.
struct Empty {
    Key key;
    std::string grant;
    int node = -1;
    Blocks blocks;
    friend bool operator==(const Empty&, const Empty&) = default;
};

// The release was called off: bring blocks that were taken offline back.
struct Refill {
    Key key;
    Blocks blocks;
    friend bool operator==(const Refill&, const Refill&) = default;
};

// A `dax` extent is to go: it may be ordered unplugged once nobody has it open.
struct CloseDax {
    Order order;
    std::string dax;
    friend bool operator==(const CloseDax&, const CloseDax&) = default;
};

// Nothing can be done, and this is why.
struct Say {
    Key key;
    std::string sentence;
    friend bool operator==(const Say&, const Say&) = default;
};

using Action = std::variant<Order, Empty, Refill, CloseDax, Say>;

// One action for a wish at most, in the order of the wishes.
std::vector<Action> decide(const Desired& desired, const std::vector<Device>& devices,
                           const BlocksByKey& blocks);

const Key& key_of(const Action& action);

}  // namespace poold
