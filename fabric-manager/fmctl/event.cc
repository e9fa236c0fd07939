// SPDX-License-Identifier: Apache-2.0
// fmctl event …
#include <fmt/format.h>
#include <unistd.h>

#include <charconv>
#include <cstdio>

#include "fmctl/command.h"
#include "fmctl/render.h"

namespace cxlpool::fmctl {
namespace {

constexpr std::uint64_t most_events = 10'000;

Result<std::uint64_t> parse_limit(const std::string& text) {
    std::uint64_t value = 0;
    const char* last = text.data() + text.size();
    const auto [end, problem] = std::from_chars(text.data(), last, value);
    if (problem == std::errc() && end == last && value >= 1 && value <= most_events) return value;
    return fail(Code::invalid,
                fmt::format("--limit {} is not a number from 1 to {}", text, most_events));
}

}  // namespace

int event_list(Command& command) {
    const auto limit = parse_limit(command.args.value("--limit").value_or("100"));
    if (!limit) return say_usage(limit.error().message);
    const bool follow = command.args.has("--follow");
    std::uint64_t seen = 0;
    if (follow) command.client.wait_while_read(STDOUT_FILENO);
    for (int wait_s = 0;; wait_s = poll_s) {
        const auto text = command.client.get(
            fmt::format("/v1/events?after={}&wait={}&limit={}", seen, wait_s, *limit), wait_s);
        if (!text) return follow && nobody_reads() ? end_unread() : say(text.error());
        const auto events = wire::decode_events(*text);
        if (!events) return say(events.error());
        if (command.json() && !follow) {
            print_json(*text);
            return exit_ok;
        }
        for (const wire::EventView& event : *events) {
            // Following in JSON: one object a line, so that each can be read when it comes.
            print(command.json() ? wire::encode_line(event) + "\n" : event_line(event));
            seen = event.seq;
        }
        std::fflush(stdout);
        if (!follow) return exit_ok;
        if (std::ferror(stdout)) return exit_refused;
    }
}

}  // namespace cxlpool::fmctl
