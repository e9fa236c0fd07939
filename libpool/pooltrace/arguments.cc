// SPDX-License-Identifier: Apache-2.0
#include "pooltrace/arguments.h"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstdlib>

namespace libpool::tier::trace {

namespace {

std::string shown(std::string_view word) {
    std::string out;
    for (char c : word.substr(0, 60)) out += c >= ' ' && c <= '~' ? c : '?';
    return out;
}

template <typename T>
bool whole_number(std::string_view word, T& out) {
    auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), out);
    return error == std::errc{} && end == word.data() + word.size();
}

template <typename T>
Result<void> set_integer(const std::string& name, std::string_view word, T* into, T low, T high) {
    T value = 0;
    if (!whole_number(word, value) || value < low || value > high) {
        return fail(EINVAL, "%s must be a whole number from %llu to %llu, not \"%s\".",
                    name.c_str(), static_cast<unsigned long long>(low),
                    static_cast<unsigned long long>(high), shown(word).c_str());
    }
    *into = value;
    return {};
}

}  // namespace

void Arguments::add(std::string name, std::string value, std::string help,
                    std::function<Result<void>(std::string_view)> set) {
    options_.push_back({std::move(name), std::move(value), std::move(help), std::move(set)});
}

void Arguments::number(std::string name, std::string help, double* into, double low, double high) {
    add(name, "X", std::move(help), [=](std::string_view word) -> Result<void> {
        double value = 0;
        if (!whole_number(word, value) || !(value >= low && value <= high)) {
            return fail(EINVAL, "%s must be a number from %g to %g, not \"%s\".", name.c_str(), low,
                        high, shown(word).c_str());
        }
        *into = value;
        return {};
    });
}

void Arguments::integer(std::string name, std::string help, uint32_t* into, uint32_t low,
                        uint32_t high) {
    add(name, "N", std::move(help),
        [=](std::string_view word) { return set_integer(name, word, into, low, high); });
}

void Arguments::integer(std::string name, std::string help, uint64_t* into, uint64_t low,
                        uint64_t high) {
    add(name, "N", std::move(help),
        [=](std::string_view word) { return set_integer(name, word, into, low, high); });
}

void Arguments::word(std::string name, std::string help, std::string* into) {
    add(std::move(name), "WORD", std::move(help), [=](std::string_view word) -> Result<void> {
        *into = word;
        return {};
    });
}

void Arguments::list(std::string name, std::string help, std::vector<std::string>* into) {
    add(name, "A[,B…]", std::move(help), [=](std::string_view word) -> Result<void> {
        while (true) {
            size_t comma = word.find(',');
            if (comma == 0 || word.empty())
                return fail(EINVAL, "%s has an empty entry.", name.c_str());
            into->emplace_back(word.substr(0, comma));
            if (comma == std::string_view::npos) return {};
            word.remove_prefix(comma + 1);
        }
    });
}

void Arguments::flag(std::string name, std::string help, bool* into) {
    add(std::move(name), "", std::move(help), [=](std::string_view) -> Result<void> {
        *into = true;
        return {};
    });
}

void Arguments::range(std::string name, std::string help, uint64_t* first, uint64_t* last) {
    add(name, "A..B", std::move(help), [=](std::string_view word) -> Result<void> {
        size_t dots = word.find("..");
        if (dots == std::string_view::npos || !whole_number(word.substr(0, dots), *first) ||
            !whole_number(word.substr(dots + 2), *last) || *first > *last || *last == UINT64_MAX)
            return fail(EINVAL, "%s must be A..B with A at most B, not \"%s\".", name.c_str(),
                        shown(word).c_str());
        return {};
    });
}

Result<void> Arguments::parse(std::span<char* const> words) const {
    for (size_t i = 0; i < words.size(); ++i) {
        std::string_view word = words[i];
        if (word == "--help") {
            std::fputs(help().c_str(), stdout);
            std::exit(0);
        }
        auto option = std::ranges::find(options_, word, &Option::name);
        if (option == options_.end()) {
            if (rest_ && !word.starts_with("-")) {
                rest_->emplace_back(word);
                continue;
            }
            return fail(EINVAL, "There is no option \"%s\" here.", shown(word).c_str());
        }
        bool wants = !option->value.empty();
        if (wants && i + 1 == words.size())
            return fail(EINVAL, "%s wants a value.", option->name.c_str());
        if (auto set = option->set(wants ? words[++i] : ""); !set) return set;
    }
    return {};
}

std::string Arguments::help() const {
    std::string out;
    for (const Option& option : options_)
        out +=
            text("  %-26s %s\n", (option.name + " " + option.value).c_str(), option.help.c_str());
    return out;
}

}  // namespace libpool::tier::trace
