// SPDX-License-Identifier: Apache-2.0
// How one fmd is set up: its command line (docs/man/fmd.8), checked as far as that goes without
// opening anything.
#pragma once

#include <optional>
#include <string>

#include "core/fabric.h"
#include "core/result.h"
#include "server/log.h"
#include "server/pause.h"

namespace cxlpool {

inline constexpr const char* default_socket = "/run/cxlpool/fmd.sock";
inline constexpr const char* memory_state = ":memory:";  // --state for a journal that dies with fmd

struct Config {
    std::string state;    // file of the journal
    std::string fabric;   // file that describes the fabric; empty: sim's own rack
    std::string backend;  // "sim" or "qmp"
    std::string socket = default_socket;
    std::string group;  // of the socket; empty: fmd's own
    Limits limits;
    LogLevel log_level = LogLevel::info;
    std::optional<PausePoint> pause_at;
    bool check = false;  // validate everything, then exit
};

// What the command line asks for: to run, or only to print something and exit.
struct Invocation {
    std::optional<Config> config;
    std::string text;  // to print: help or version on stdout, a mistake on stderr
    int exit_code = 0;
};

Invocation parse_command_line(int argc, char** argv);

// The group's number, for the socket.
Result<unsigned> group_id(const std::string& group);

}  // namespace cxlpool
