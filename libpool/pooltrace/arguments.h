// SPDX-License-Identifier: Apache-2.0
// Command lines: a table of "--name VALUE" options, each bound to what it sets.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "error.h"

namespace libpool::tier::trace {

class Arguments {
  public:
    // Numbers outside of low…high are refused.
    void number(std::string name, std::string help, double* into, double low, double high);
    void integer(std::string name, std::string help, uint32_t* into, uint32_t low, uint32_t high);
    void integer(std::string name, std::string help, uint64_t* into, uint64_t low, uint64_t high);
    void word(std::string name, std::string help, std::string* into);
    // Separated by commas; may be given several times.
    void list(std::string name, std::string help, std::vector<std::string>* into);
    void flag(std::string name, std::string help, bool* into);
    // "A..B"
    void range(std::string name, std::string help, uint64_t* first, uint64_t* last);

    // Words that are no options are refused unless there is a place for them.
    void rest(std::vector<std::string>* into) { rest_ = into; }

    // With --help among the words: prints the options and ends the program with 0.
    Result<void> parse(std::span<char* const> words) const;

  private:
    struct Option {
        std::string name, value, help;  // value: what it is called in help; empty: a flag
        std::function<Result<void>(std::string_view)> set;
    };
    void add(std::string name, std::string value, std::string help,
             std::function<Result<void>(std::string_view)> set);
    std::string help() const;  // one line an option
    std::vector<Option> options_;
    std::vector<std::string>* rest_ = nullptr;
};

}  // namespace libpool::tier::trace
