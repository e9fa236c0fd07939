// SPDX-License-Identifier: Apache-2.0
// One run of fmctl: what a verb has in its hands, and how it ends. One file per noun carries verbs
// out.
#pragma once

#include <string>

#include "core/result.h"
#include "fmctl/args.h"
#include "fmctl/client.h"

namespace cxlpool::fmctl {

inline constexpr int poll_s = 30;  // how long one question for news may wait at fmd

inline constexpr int exit_ok = 0;
inline constexpr int exit_refused = 1;
inline constexpr int exit_usage = 2;
inline constexpr int exit_fabric = 3;
inline constexpr int exit_timeout = 4;
inline constexpr int exit_interrupted = 130;

void say_meanwhile(const std::string& sentence);  // to stderr; it goes on

class Command {
  public:
    Command(Args the_args, std::string socket)
        : args(std::move(the_args)), client(std::move(socket), say_meanwhile) {}

    Args args;
    Client client;

    bool json() const { return args.has("--json"); }
    bool dry_run() const { return args.has("--dry-run"); }
};

void print(const std::string& text);         // to stdout
int say(const Error& error);                 // to stderr; the exit code of its kind
int say_usage(const std::string& sentence);  // to stderr; 2
// Ends as a write to a pipe that nobody reads any more would end it: by SIGPIPE.
int end_unread();
bool nobody_reads();                       // standard output: a pipe or terminal that was left
void print_json(const std::string& text);  // what fmd said, indented

// Asks, decodes, and prints as JSON or as `render` says.
template <class T, class Render>
int show(Command& command, const std::string& target, Result<T> (*decode)(std::string_view),
         Render render) {
    const auto text = command.client.get(target);
    if (!text) return say(text.error());
    if (command.json()) {
        print_json(*text);
        return exit_ok;
    }
    const auto value = decode(*text);
    if (!value)
        return say(
            {Code::fabric, "fmd said what fmctl does not understand: " + value.error().message});
    print(render(*value));
    return exit_ok;
}

// The verbs of each noun.
int fabric_show(Command& command);
int host_list(Command& command);
int host_show(Command& command);
int host_fence(Command& command);
int grant_create(Command& command);
int grant_list(Command& command);
int grant_show(Command& command);
int grant_release(Command& command);
int event_list(Command& command);
int doctor(Command& command);

}  // namespace cxlpool::fmctl
