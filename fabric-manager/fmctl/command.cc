// SPDX-License-Identifier: Apache-2.0
#include "fmctl/command.h"

#include <fmt/format.h>

#include <cstdio>

#include "core/describe.h"
#include "server/log.h"
#include "server/wire.h"

namespace cxlpool::fmctl {

void print(const std::string& text) { std::fwrite(text.data(), 1, text.size(), stdout); }

void print_json(const std::string& text) { print(wire::pretty(text) + "\n"); }

int say(const Error& error) {
    std::fflush(stdout);
    fmt::print(stderr, "fmctl: {}\n", printable(error.message));
    return exit_code(error.code);
}

int say_usage(const std::string& sentence) {
    fmt::print(stderr, "fmctl: {}\n", printable(sentence));
    return exit_usage;
}

}  // namespace cxlpool::fmctl
