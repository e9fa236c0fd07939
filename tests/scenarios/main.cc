// SPDX-License-Identifier: Apache-2.0
// scenario [--rewrite] FILE…: plays each file; exit code 1 when one prints something else than it
// says.
#include <fmt/format.h>

#include <fstream>
#include <sstream>

#include "script.h"
#include "stage.h"

namespace cxlpool::scenario {
namespace {

void print_lines(const char* sign, const std::vector<std::string>& lines) {
    for (const std::string& line : lines) fmt::print("  {} {}\n", sign, line);
}

// True when the file says what happens (after a rewrite it always does).
bool play(const std::string& path, bool rewrite) {
    std::ifstream in(path);
    std::ostringstream text;
    text << in.rdbuf();
    auto script = parse_script(text.str());
    if (!in || !script) {
        fmt::print("{}: {}\n", path, script ? "cannot be read" : script.error().message);
        return false;
    }
    Stage stage;
    bool good = true;
    for (Block& block : script->blocks) {
        std::vector<std::string> said;
        for (const std::string& command : block.commands) {
            auto lines = stage.play(command);
            if (!lines) lines = std::vector<std::string>{"error: " + lines.error().message};
            said.insert(said.end(), lines->begin(), lines->end());
        }
        if (said.empty()) said.push_back("ok");
        if (said == block.expected) continue;
        if (!rewrite) {
            fmt::print("{}:{}: expected\n", path, block.line);
            print_lines("-", block.expected);
            fmt::print("got\n");
            print_lines("+", said);
            good = false;
        }
        block.expected = said;
    }
    if (rewrite) std::ofstream(path) << print_script(*script);
    return good || rewrite;
}

}  // namespace
}  // namespace cxlpool::scenario

int main(int argc, char** argv) {
    bool rewrite = false, good = true;
    int files = 0;
    for (int i = 1; i < argc; ++i) {
        if (std::string_view(argv[i]) == "--rewrite") {
            rewrite = true;
            continue;
        }
        ++files;
        good = cxlpool::scenario::play(argv[i], rewrite) && good;
    }
    if (files == 0) {
        fmt::print(stderr, "usage: scenario [--rewrite] FILE...\n");
        return 2;
    }
    fmt::print("{} scenario file{}: {}\n", files, files == 1 ? "" : "s",
               good ? "as told" : "NOT as told");
    return good ? 0 : 1;
}
