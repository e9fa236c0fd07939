// SPDX-License-Identifier: Apache-2.0
// The command line of pooltier: `pooltier VERB [ARGUMENTS] [options] [-- COMMAND]`, checked against
// a table of verbs (main.cc). Pure. Every mistake is one sentence; a misspelt word is answered with
// the nearest one.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "error.h"

namespace pooltier {

using libpool::Error;
using libpool::fail;
using libpool::Result;
using libpool::text;

struct Option {
    std::string_view name;   // "--near-limit"
    std::string_view value;  // "SIZE"; empty: takes none
    std::string_view help;
};

struct Args;
using Run = int (*)(const Args&);

struct Verb {
    std::string_view name;                    // "explain"
    std::vector<std::string_view> arguments;  // "PID"; in brackets: may be missing
    std::string_view help;
    std::vector<Option> options;
    Run run = nullptr;
    bool command = false;  // a command follows: everything from "--" or from the first plain word
};

struct Args {
    const Verb* verb = nullptr;
    std::vector<std::string> arguments;
    std::map<std::string, std::string, std::less<>> options;  // "--seconds" → "10"
    std::vector<std::string> command;
    bool help = false, version = false;

    bool has(std::string_view option) const { return options.contains(option); }
    std::optional<std::string> value(std::string_view option) const;
};

Result<Args> parse_args(const std::vector<Verb>& verbs, const std::vector<std::string>& words);

std::string help(const std::vector<Verb>& verbs);
std::string help(const Verb& verb);

// Whole numbers of the command line; `what` is what the sentence calls it.
Result<uint64_t> number(std::string_view word, const char* what, uint64_t low, uint64_t high);
// Decimal or 0x…: an address.
Result<uint64_t> address(std::string_view word);

}  // namespace pooltier
