// SPDX-License-Identifier: Apache-2.0
// A scenario file: comment lines that tell the story, then blocks of
//   command …
//   ----
//   what it must print
//   (empty line)
// Expected output never contains an empty line. Read, compared and rewritten here; carried out by
// the stage.
#pragma once

#include <string>
#include <vector>

#include "core/result.h"

namespace cxlpool::scenario {

struct Block {
    std::vector<std::string> before;  // comments and empty lines
    std::vector<std::string> commands;
    std::vector<std::string> expected;
    std::size_t line = 0;  // of the first command
};

struct Script {
    std::vector<Block> blocks;
    std::vector<std::string> after;  // comments at the end
};

Result<Script> parse_script(const std::string& text);
std::string print_script(const Script& script);
std::vector<std::string> split(const std::string& text, char by);

}  // namespace cxlpool::scenario
