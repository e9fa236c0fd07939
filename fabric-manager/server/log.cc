// SPDX-License-Identifier: Apache-2.0
#include "server/log.h"

#include <unistd.h>

#include <array>
#include <string>

namespace cxlpool {
namespace {

LogLevel loudest = LogLevel::info;

struct LevelWord {
    LogLevel level;
    std::string_view word;
    std::string_view prefix;
};
constexpr std::array<LevelWord, 4> words{{{LogLevel::error, "error", "error: "},
                                          {LogLevel::warning, "warning", "warning: "},
                                          {LogLevel::info, "info", ""},
                                          {LogLevel::debug, "debug", "debug: "}}};

}  // namespace

void set_log_level(LogLevel level) { loudest = level; }

bool logs(LogLevel level) { return level <= loudest; }

void log(LogLevel level, std::string_view text) {
    if (!logs(level)) return;
    std::string line = "fmd: ";
    line += words[static_cast<std::size_t>(level)].prefix;
    line += printable(text);
    line += '\n';
    // One write a line, so that lines of several processes do not mix. A log that cannot be written
    // is nothing to stop a fabric manager for.
    [[maybe_unused]] const auto written = ::write(STDERR_FILENO, line.data(), line.size());
}

std::optional<LogLevel> parse_log_level(std::string_view text) {
    for (const LevelWord& entry : words)
        if (entry.word == text) return entry.level;
    return std::nullopt;
}

}  // namespace cxlpool
