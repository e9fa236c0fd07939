// SPDX-License-Identifier: Apache-2.0
// For test programs in guests: named checks that print a line per claim and end the program at the
// first that does not hold.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

inline void must(bool holds, const std::string& what) {
    if (!holds) {
        std::printf("FAILED  %s\n", what.c_str());
        std::fflush(stdout);
        std::_Exit(1);
    }
}

struct Check {
    const char* name;
    void (*run)();
};

// Those named on the command line, else all.
template <size_t N>
int run_checks(const Check (&checks)[N], int argc, char** argv) {
    for (int i = 1; i < argc; ++i) {
        bool known = false;
        for (const Check& check : checks) known |= !std::strcmp(argv[i], check.name);
        if (!known) return std::fprintf(stderr, "there is no check %s\n", argv[i]), 2;
    }
    for (const Check& check : checks) {
        bool wanted = argc == 1;
        for (int i = 1; i < argc; ++i) wanted |= !std::strcmp(argv[i], check.name);
        if (!wanted) continue;
        check.run();
        std::printf("ok      %s\n", check.name);
        std::fflush(stdout);
    }
    return 0;
}
