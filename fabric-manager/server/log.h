// SPDX-License-Identifier: Apache-2.0
// What fmd tells its operator: one line a message on stderr, where journald or a file takes it.
//   fmd: warning: h1: no report for 12 s
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace cxlpool {

enum class LogLevel {
    error,    // fmd cannot go on, or something was lost
    warning,  // somebody should look
    info,     // what happened: one line an event of the pool
    debug,    // each request, command and completion
};

// One sink a process, set once by main before anything is logged.
void set_log_level(LogLevel level);
bool logs(LogLevel level);
void log(LogLevel level, std::string_view text);

std::optional<LogLevel> parse_log_level(std::string_view text);

// Text from outside made safe for a terminal and a log: control characters and bytes that are not
// UTF-8 become \xNN.
std::string printable(std::string_view text);

}  // namespace cxlpool
