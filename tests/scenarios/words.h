// SPDX-License-Identifier: Apache-2.0
// Reading the words of a scenario's command line.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "core/command.h"
#include "core/extents.h"
#include "core/intent.h"
#include "core/result.h"

namespace cxlpool::scenario {

struct Words {
    std::string verb;
    std::vector<std::string> plain;                         // in order
    std::map<std::string, std::string> named;               // key=value
    std::string rest_after(std::size_t plain_words) const;  // joined with blanks

    std::string at(std::size_t index) const { return index < plain.size() ? plain[index] : ""; }
    bool has(const std::string& word) const;
};

Words read_words(const std::string& line);
Result<Millis> read_time(const std::string& text);    // "100", "35s", "2m"
Result<Extent> read_extent(const std::string& text);  // "mem0[0-256M]"
Result<Intent> read_intent(const Words& words,
                           std::size_t from);            // "create h1,h2 256M dax NAME [dry]"
Result<Result<Answer>> read_answer(const Words& words);  // "3 ok", "3 none", "3 fail SENTENCE"

}  // namespace cxlpool::scenario
