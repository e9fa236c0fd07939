// SPDX-License-Identifier: Apache-2.0
// fmctl fabric …
#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>

#include "fmctl/command.h"
#include "fmctl/render.h"

namespace cxlpool::fmctl {
namespace {

int show_once(Command& command) {
    return show(command, "/v1/fabric", wire::decode_fabric, fabric_text);
}

// Number of the newest event; waits for one after `after`.
Result<std::uint64_t> next_event(Command& command, std::uint64_t after, int wait_s) {
    const auto text = command.client.get(
        fmt::format("/v1/events?after={}&wait={}&limit=1", after, wait_s), wait_s);
    if (!text) return std::unexpected(text.error());
    const auto events = wire::decode_events(*text);
    if (!events) return std::unexpected(events.error());
    return events->empty() ? after : events->back().seq;
}

}  // namespace

int fabric_show(Command& command) {
    if (!command.args.has("--watch")) return show_once(command);
    command.client.wait_while_read(STDOUT_FILENO);
    auto seen = next_event(command, 0, 0);
    for (;;) {
        if (!seen) return nobody_reads() ? end_unread() : say(seen.error());
        if (::isatty(STDOUT_FILENO) && !command.json()) print("\033[H\033[2J");
        if (const int code = show_once(command); code != exit_ok) return code;
        std::fflush(stdout);
        const std::uint64_t before = *seen;
        do {
            seen = next_event(command, before, poll_s);
        } while (seen && *seen == before);
    }
}

}  // namespace cxlpool::fmctl
