// SPDX-License-Identifier: Apache-2.0
// Planted bugs: one for each invariant, put between the manager and the rack by the run, to show
// that the checker of that invariant sees it. A checker that its plant cannot make fail checks
// nothing.
#pragma once

#include <array>
#include <optional>
#include <string_view>

namespace cxlpool::fmsim {

enum class Plant {
    none,
    two_hosts,        // 1: every offer goes to a second host, too
    no_scrub,         // 2: scrubs erase nothing and say they did
    touch_foreign,    // 3: foreign extents are asked back
    short_grant,      // 4: the journal gets a smaller extent than was granted
    early_command,    // 5: commands are started before their records are durable
    torn_replay,      // 6: a restart leaves out a record
    believed_repeat,  // 7: a repeated completion arrives as if it were the first of another command
    early_reply,      // 8: replies are sent before their records are durable
    blind_device,     // 9: every device says "none" to every question
    deaf_manager,     // 10: from the first grant on no report of a host arrives
    never_plugged,    // 11: hosts say "plugged" and are never told to plug
    own_clock,        // 12: something reads the machine's clock
};

struct PlantInfo {
    Plant plant;
    std::string_view name;
    int invariant;
};

inline constexpr std::array<PlantInfo, 12> kPlants = {{
    {Plant::two_hosts, "two_hosts", 1},
    {Plant::no_scrub, "no_scrub", 2},
    {Plant::touch_foreign, "touch_foreign", 3},
    {Plant::short_grant, "short_grant", 4},
    {Plant::early_command, "early_command", 5},
    {Plant::torn_replay, "torn_replay", 6},
    {Plant::believed_repeat, "believed_repeat", 7},
    {Plant::early_reply, "early_reply", 8},
    {Plant::blind_device, "blind_device", 9},
    {Plant::deaf_manager, "deaf_manager", 10},
    {Plant::never_plugged, "never_plugged", 11},
    {Plant::own_clock, "own_clock", 12},
}};

inline std::optional<PlantInfo> find_plant(std::string_view name) {
    for (const PlantInfo& info : kPlants) {
        if (info.name == name) return info;
    }
    return std::nullopt;
}

}  // namespace cxlpool::fmsim
