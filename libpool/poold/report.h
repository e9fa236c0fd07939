// SPDX-License-Identifier: Apache-2.0
// The body of POST /v1/report, and what the agent itself has to say about an extent it works on.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "poold/host.h"

namespace poold {

inline constexpr const char* poold_version = "0.1.0";
inline constexpr size_t holder_limit = 16;  // the largest ones are named

struct Holder {
    int pid = 0;
    std::string comm;
    uint64_t bytes = 0;
    friend bool operator==(const Holder&, const Holder&) = default;
};

// Who keeps an extent busy, as last looked at.
struct Held {
    uint64_t used = 0;            // bytes of the extent in use
    std::vector<Holder> holders;  // largest first
    uint64_t kernel = 0;          // of `used`, not mapped by any process
    friend bool operator==(const Held&, const Held&) = default;
};

// The agent's own word on one extent; goes into the report beside the driver's.
struct Note {
    std::string error;         // one sentence, or empty
    std::optional<Held> held;  // only while it is being emptied
    friend bool operator==(const Note&, const Note&) = default;
};
using Notes = std::map<Key, Note>;

std::string report_json(const Seen& seen, const Notes& notes, uint64_t seq);

}  // namespace poold
