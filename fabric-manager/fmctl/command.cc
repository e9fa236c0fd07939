// SPDX-License-Identifier: Apache-2.0
#include "fmctl/command.h"

#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <csignal>
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

void say_meanwhile(const std::string& sentence) {
    fmt::print(stderr, "fmctl: {}\n", printable(sentence));
}

bool nobody_reads() {
    pollfd output{.fd = STDOUT_FILENO, .events = 0, .revents = 0};
    return ::poll(&output, 1, 0) > 0;
}

int end_unread() {
    std::raise(SIGPIPE);
    return exit_fabric;  // whoever started fmctl has SIGPIPE ignored
}

int say_usage(const std::string& sentence) {
    fmt::print(stderr, "fmctl: {}\n", printable(sentence));
    return exit_usage;
}

}  // namespace cxlpool::fmctl
