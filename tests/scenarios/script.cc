// SPDX-License-Identifier: Apache-2.0
#include "script.h"

#include <fmt/format.h>

#include <algorithm>
#include <sstream>

namespace cxlpool::scenario {

std::vector<std::string> split(const std::string& text, char by) {
    std::vector<std::string> parts;
    std::istringstream in(text);
    for (std::string part; std::getline(in, part, by);) {
        if (!part.empty() || by == '\n') parts.push_back(part);
    }
    return parts;
}

Result<Script> parse_script(const std::string& text) {
    enum class In { between, commands, expected } in = In::between;
    Script script;
    std::vector<std::string> before;
    std::size_t number = 0;
    for (const std::string& line : split(text, '\n')) {
        ++number;
        if (in == In::expected) {
            if (line.empty()) {
                in = In::between;
                before.push_back(line);
            } else {
                script.blocks.back().expected.push_back(line);
            }
        } else if (line == "----") {
            if (in != In::commands)
                return fail(Code::invalid, fmt::format("line {}: ---- without a command", number));
            in = In::expected;
        } else if (in == In::between && (line.empty() || line.starts_with("#"))) {
            before.push_back(line);
        } else {
            if (in == In::between) {
                script.blocks.push_back({std::exchange(before, {}), {}, {}, number});
                in = In::commands;
            }
            script.blocks.back().commands.push_back(line);
        }
    }
    if (in == In::commands)
        return fail(Code::invalid, fmt::format("line {}: commands without ----", number));
    script.after = std::move(before);
    return script;
}

std::string print_script(const Script& script) {
    std::string text;
    const auto lines = [&](const std::vector<std::string>& all) {
        for (const std::string& line : all) text += line + "\n";
    };
    for (const Block& block : script.blocks) {
        lines(block.before);
        lines(block.commands);
        text += "----\n";
        lines(block.expected);
        // The empty line that ends it is the first line before the next block.
    }
    lines(script.after);
    return text;
}

}  // namespace cxlpool::scenario
