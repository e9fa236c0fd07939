// SPDX-License-Identifier: Apache-2.0
// The answer of GET /v1/desired: the whole list of what this host must have plugged or unplugged.
// It is taken whole or not at all: an answer with one thing that cannot be understood is refused,
// and the list before it stays in force.
#pragma once

#include <string>
#include <vector>

#include "poold/host.h"

namespace poold {

enum class Want { plugged, unplugged };

struct Wish {
    Key key;
    std::string grant;
    Use use = Use::ram;
    Want want = Want::plugged;
    friend bool operator==(const Wish&, const Wish&) = default;
};

struct Desired {
    uint64_t rev = 0;
    std::vector<Wish> wishes;
    friend bool operator==(const Desired&, const Desired&) = default;
};

inline constexpr size_t wish_limit = 65536;

Result<Desired> parse_desired(const std::string& body);

}  // namespace poold
