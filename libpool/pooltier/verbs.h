// SPDX-License-Identifier: Apache-2.0
// What each verb of pooltier does, and how it ends. Results go to standard output, sentences to
// standard error.
#pragma once

#include "pooltier/args.h"

namespace pooltier {

enum Exit {
    exit_done = 0,
    exit_refused = 1,  // no such process, not tiered, no permission, nothing to tier
    exit_usage = 2,
    exit_answer = 3,  // a process did not answer, or with nonsense; output could not be written
    // of `run`, as with env(1) and timeout(1)
    exit_run_refused = 125,
    exit_cannot_execute = 126,
    exit_not_found = 127,
};

int status(const Args& args);
int top(const Args& args);
int run(const Args& args);
int explain(const Args& args);
int set(const Args& args);
int record(const Args& args);
int attach(const Args& args);
int replay(const Args& args);  // also what-if

void print(const std::string& words);
// One line on standard error, made printable; returns `code`.
int say(int code, const std::string& sentence);
// What an error of asking a process ends with.
int exit_of(const Error& error);
int say(const Error& error);
int say_usage(const Error& error);

}  // namespace pooltier
