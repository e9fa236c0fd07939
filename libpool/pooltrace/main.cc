// SPDX-License-Identifier: Apache-2.0
#include <cstdio>
#include <new>
#include <string_view>

#include "pooltrace/commands.h"
#include "tier/baselines.h"
#include "tier/printable.h"

namespace libpool::tier::trace {
namespace {

struct Command {
    std::string_view name, what;
    Result<int> (*run)(Words);
};

constexpr Command commands[] = {
    {"gen", "KIND [--out FILE] …  write a trace from a seed", command_gen},
    {"run", "(--trace FILE | --gen KIND) --policy A[,B…] --near PAGES …  run policies over it",
     command_run},
    {"bound", "(--trace FILE | --gen KIND) --near PAGES …  what no placement can beat",
     command_bound},
    {"matrix", "[--trace FILE…] [--gen KIND…] …  policies × workloads × near sizes",
     command_matrix},
    {"harm", "--seeds A..B [--planted] …  does our policy keep its bound against adversaries?",
     command_harm},
    {"speed", "…  how fast simulator and decisions are; 1 where ours is ten times too slow",
     command_speed},
};

int usage(FILE* to) {
    std::fputs("pooltrace: tiering policies over traces of page accesses\n\n", to);
    for (const Command& command : commands)
        std::fprintf(to, "  pooltrace %-7s %s\n", command.name.data(), command.what.data());
    std::fputs("\nOptions of a command: pooltrace COMMAND --help\n\nkinds of generated traces:\n",
               to);
    for (const KindInfo& kind : kinds())
        std::fprintf(to, "  %-10s %s\n", kind.name.data(), kind.what.data());
    std::fputs("\npolicies:", to);
    for (std::string_view name : policy_names()) std::fprintf(to, " %s", name.data());
    std::fputs("\n", to);
    return to == stdout ? 0 : 2;
}

int wrong(const std::string& sentence) {
    std::fprintf(stderr, "pooltrace: %s\n", on_terminal(sentence).c_str());
    return 2;
}

int main_with(int argc, char** argv) {
    if (argc < 2) return wrong("Say a command; pooltrace --help names them.");
    std::string_view name = argv[1];
    if (name == "--help" || name == "-h" || name == "help") return usage(stdout);
    for (const Command& command : commands) {
        if (command.name != name) continue;
        auto code = command.run(Words(argv + 2, size_t(argc - 2)));
        if (code) return *code;
        return wrong(code.error().sentence);
    }
    return wrong("There is no command \"" + printable(name, 40) +
                 "\"; pooltrace --help names them.");
}

}  // namespace
}  // namespace libpool::tier::trace

int main(int argc, char** argv) {
    try {
        return libpool::tier::trace::main_with(argc, argv);
    } catch (const std::bad_alloc&) {
        return libpool::tier::trace::wrong("There is not enough memory for this.");
    }
}
