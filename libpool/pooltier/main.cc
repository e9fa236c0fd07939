// SPDX-License-Identifier: Apache-2.0
// pooltier: memory tiering of programs. The table of all it can do, and how it ends.
#include <cstdio>
#include <new>

#include "pooltier/table.h"
#include "pooltier/verbs.h"

namespace {

using namespace pooltier;

int carry_out(const std::vector<std::string>& words) {
    auto args = parse_args(all_verbs(), words);
    if (!args) {
        bool runs = !words.empty() && words.front() == "run";
        return say(runs ? exit_run_refused : exit_usage, args.error().sentence);
    }
    if (args->version) {
        print("pooltier " CXLPOOL_VERSION "\n");
        return exit_done;
    }
    if (args->help) {
        print(args->verb ? help(*args->verb) : help(all_verbs()));
        return exit_done;
    }
    return args->verb->run(*args);
}

}  // namespace

int main(int argc, char** argv) {
    int code = exit_refused;
    try {
        code = carry_out({argv + (argc > 0), argv + argc});
    } catch (const std::bad_alloc&) {
        bool runs = argc > 1 && std::string_view(argv[1]) == "run";
        code = say(runs ? exit_run_refused : exit_refused, "there is not enough memory for this");
    }
    // Output that could not be written is not success.
    if (std::fflush(stdout) != 0 || std::ferror(stdout)) {
        return say(code ? code : exit_answer, "the output could not be written");
    }
    return code;
}
