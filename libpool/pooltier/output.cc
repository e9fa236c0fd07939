// SPDX-License-Identifier: Apache-2.0
// How pooltier speaks.
#include <cstdio>

#include "pooltier/verbs.h"
#include "tier/printable.h"

namespace pooltier {

void print(const std::string& words) { std::fwrite(words.data(), 1, words.size(), stdout); }

int say(int code, const std::string& sentence) {
    std::fprintf(stderr, "pooltier: %s\n", libpool::tier::on_terminal(sentence).c_str());
    return code;
}

int exit_of(const Error& error) {
    return error.code == ETIMEDOUT || error.code == EPROTO ? exit_answer : exit_refused;
}

int say(const Error& error) { return say(exit_of(error), error.sentence); }
int say_usage(const Error& error) { return say(exit_usage, error.sentence); }

}  // namespace pooltier
