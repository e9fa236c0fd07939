// SPDX-License-Identifier: Apache-2.0
// The command line of fmctl: `fmctl [options] NOUN VERB [NAME] [options]`, checked against a table
// of verbs (main.cc). Pure. Every mistake is one sentence; a misspelt word is answered with the
// nearest one.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"

namespace cxlpool::fmctl {

enum class Takes {
    nothing,      // --json
    value,        // --size 256M or --size=256M
    values,       // the same, any number of times
    maybe_value,  // --wait or --wait=60; never the next word
};

struct Option {
    std::string_view name;  // "--size"
    Takes takes = Takes::nothing;
    std::string_view value;  // "SIZE", for help
    std::string_view help;
};

class Command;
using Run = int (*)(Command&);

struct Verb {
    std::string_view noun;      // "grant"
    std::string_view verb;      // "create"; empty: the noun alone is the command
    std::string_view argument;  // "NAME"; empty: takes none
    std::string_view help;
    std::vector<Option> options;  // beside the global ones
    Run run = nullptr;
};

struct Args {
    const Verb* verb = nullptr;
    std::string argument;
    std::multimap<std::string, std::string, std::less<>> options;  // "--size" → "256M"

    bool has(std::string_view option) const { return options.contains(option); }
    std::optional<std::string> value(std::string_view option) const;
    std::vector<std::string> values(std::string_view option) const;
};

Result<Args> parse_args(const std::vector<Verb>& verbs, const std::vector<Option>& global,
                        const std::vector<std::string>& words);

// The word that `typed` was most likely meant to be; nothing when none is near.
std::optional<std::string> nearest(std::string_view typed,
                                   const std::vector<std::string_view>& words);

// Help for the whole table, or for one verb.
std::string help(const std::vector<Verb>& verbs, const std::vector<Option>& global);
std::string help(const Verb& verb, const std::vector<Option>& global);

}  // namespace cxlpool::fmctl
