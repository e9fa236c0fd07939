// SPDX-License-Identifier: Apache-2.0
#include "fmctl/wait.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstring>

#include "core/describe.h"
#include "server/log.h"
#include "server/wire.h"

namespace cxlpool::fmctl {
namespace {

constexpr int longest_poll_s = 60;  // fmd's limit

// What Ctrl-C says, made before it comes: a signal handler may only write it.
std::array<char, 1024> farewell;
volatile std::sig_atomic_t farewell_bytes = 0;

extern "C" void on_interrupt(int) {
    [[maybe_unused]] const auto written =
        ::write(STDERR_FILENO, farewell.data(), static_cast<std::size_t>(farewell_bytes));
    ::_exit(exit_interrupted);
}

// One line on a terminal, written over and over, and wiped at the end.
class Progress {
  public:
    Progress() : shown_(::isatty(STDERR_FILENO)) {}
    ~Progress() {
        if (shown_) fmt::print(stderr, "\r\033[K");
    }
    bool shown() const { return shown_; }
    void update(const std::string& text) {
        if (shown_) fmt::print(stderr, "\r\033[K{}", printable(text).substr(0, 160));
    }

  private:
    bool shown_;
};

using Clock = std::chrono::steady_clock;

int seconds_between(Clock::time_point from, Clock::time_point to) {
    return static_cast<int>(std::chrono::ceil<std::chrono::seconds>(to - from).count());
}

}  // namespace

void on_interrupt_say(const std::string& sentence) {
    const std::string text = fmt::format("\nfmctl: {}\n", printable(sentence));
    farewell_bytes = 0;  // a handler that runs now says nothing rather than half of two sentences
    const std::size_t bytes = std::min(text.size(), farewell.size());
    std::memcpy(farewell.data(), text.data(), bytes);
    farewell_bytes = static_cast<std::sig_atomic_t>(bytes);
    struct sigaction action {};
    action.sa_handler = on_interrupt;
    ::sigaction(SIGINT, &action, nullptr);
}

Result<int> patience(const Args& args, int when_not_said) {
    const std::string text = args.value("--wait").value_or("");
    if (text.empty()) return when_not_said;
    int seconds = 0;
    const char* last = text.data() + text.size();
    const auto [end, problem] = std::from_chars(text.data(), last, seconds);
    if (problem == std::errc() && end == last && seconds >= 1 && seconds <= most_wait_s)
        return seconds;
    return fail(Code::invalid, fmt::format("--wait={} is not a number of seconds from 1 to {}",
                                           text, most_wait_s));
}

std::string still_pending(const GrantView& grant) {
    std::string out = fmt::format("is still {}", name_of(grant.state));
    if (!grant.waits_for.empty()) out += fmt::format(" and waits for {}", grant.waits_for);
    return out;
}

Result<Waited> wait_for(Command& command, GrantView grant, int seconds,
                        const std::string& after_interrupt) {
    Progress progress;
    const auto start = Clock::now();
    const auto deadline = start + std::chrono::seconds(seconds);
    Waited waited{std::move(grant), "", false};
    for (;;) {
        const std::string& name = waited.grant.name.text;
        on_interrupt_say(
            fmt::format("{} {}; {}", name, still_pending(waited.grant), after_interrupt));
        progress.update(fmt::format("{}  {}  {}  {} s", name, name_of(waited.grant.state),
                                    waited.grant.waits_for, seconds_between(start, Clock::now())));
        const int left = std::max(0, seconds_between(Clock::now(), deadline));
        const int poll = std::min(left, progress.shown() ? 1 : longest_poll_s);
        const auto text = command.client.get(
            fmt::format("/v1/grants/{}/wait?for=settled&timeout={}", name, poll), poll);
        if (!text) return std::unexpected(text.error());
        auto view = wire::decode_grant(*text);
        if (!view) return std::unexpected(view.error());
        // Another grant of that name: the one that was waited for is gone.
        if (view->id != waited.grant.id) {
            waited.grant.state = GrantState::gone;
            waited.settled = true;
            return waited;
        }
        waited = {std::move(*view), *text, wire::settled(view->state)};
        if (waited.settled || Clock::now() >= deadline) return waited;
    }
}

}  // namespace cxlpool::fmctl
