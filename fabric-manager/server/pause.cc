// SPDX-License-Identifier: Apache-2.0
#include "server/pause.h"

#include <fmt/format.h>

#include <array>
#include <csignal>

#include "server/log.h"

namespace cxlpool {
namespace {

using enum PausePoint;
constexpr std::array<std::pair<PausePoint, std::string_view>, 3> names{
    {{after_record, "after-record"},
     {after_command, "after-command"},
     {after_reply, "after-reply"}}};

}  // namespace

std::optional<PausePoint> parse_pause_point(std::string_view text) {
    for (const auto& [point, name] : names)
        if (name == text) return point;
    return std::nullopt;
}

std::string_view name_of(PausePoint point) { return names[static_cast<std::size_t>(point)].second; }

void Pause::reached(PausePoint point) {
    if (at_ != point) return;
    at_.reset();
    log(LogLevel::error, fmt::format("paused at {}", name_of(point)));
    std::raise(SIGSTOP);
}

}  // namespace cxlpool
