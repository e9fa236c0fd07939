// SPDX-License-Identifier: Apache-2.0
// The command line of poold.
#pragma once

#include <string>
#include <vector>

#include "poold/http.h"
#include "poold/tiers.h"
#include "poold/tree.h"

namespace poold {

enum class Verb { run, once, show, check, tiers, tiers_once, version, help };

struct Options {
    Verb verb = Verb::run;
    bool json = false;
    Address server;  // of run and once
    TiersOptions tiers;
    std::string root;  // a recorded tree instead of this machine
};

inline constexpr const char* default_server = "unix:/run/fmd/host.sock";

Result<Options> parse_options(const std::vector<std::string>& words);

// The candidate that a misspelt word most likely means, or "".
std::string nearest(const std::string& word, const std::vector<std::string>& candidates);

const char* usage_text();

}  // namespace poold
