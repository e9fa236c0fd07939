// SPDX-License-Identifier: Apache-2.0
#include "server/request.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace cxlpool {
namespace {

std::vector<std::string> split(std::string_view text, char separator) {
    std::vector<std::string> parts;
    while (!text.empty()) {
        const std::size_t end = std::min(text.find(separator), text.size());
        if (end > 0) parts.emplace_back(text.substr(0, end));
        text.remove_prefix(std::min(end + 1, text.size()));
    }
    return parts;
}

// What came from outside, short enough for a sentence.
std::string shortened(const std::string& text) {
    return text.size() <= 80 ? text : text.substr(0, 80) + "…";
}

}  // namespace

Target split_target(const std::string& target) {
    Target out;
    const std::size_t mark = std::min(target.find('?'), target.size());
    out.path = split(std::string_view(target).substr(0, mark), '/');
    for (const std::string& pair : split(std::string_view(target).substr(mark), '&')) {
        const std::string text = pair.starts_with('?') ? pair.substr(1) : pair;
        if (text.empty()) continue;
        const std::size_t equals = std::min(text.find('='), text.size());
        out.query.emplace_back(text.substr(0, equals),
                               text.substr(std::min(equals + 1, text.size())));
    }
    return out;
}

const std::string* Query::take(const std::string& key) {
    const std::string* found = nullptr;
    for (const auto& [name, value] : query_) {
        if (name != key) continue;
        if (found) report(fmt::format("the parameter {} is there twice", key));
        found = &value;
    }
    taken_ += "&" + key + "&";
    return found;
}

std::uint64_t Query::number(const std::string& key, std::uint64_t otherwise, std::uint64_t most) {
    const std::string* text = take(key);
    if (!text) return otherwise;
    std::uint64_t value = 0;
    const char* last = text->data() + text->size();
    const auto [end, problem] = std::from_chars(text->data(), last, value);
    if (problem != std::errc() || end != last) {
        report(fmt::format("the parameter {} is not a whole number of 0 or more", key));
        return otherwise;
    }
    if (value > most) {
        report(fmt::format("the parameter {} is {}; the most is {}", key, value, most));
        return otherwise;
    }
    return value;
}

bool Query::flag(const std::string& key) {
    const std::string* text = take(key);
    if (!text || *text == "0" || *text == "false" || *text == "no") return false;
    if (!text->empty() && *text != "1" && *text != "true" && *text != "yes")
        report(fmt::format("the parameter {} is neither 1 nor 0", key));
    return true;
}

std::string Query::word(const std::string& key, const std::string& otherwise) {
    const std::string* text = take(key);
    return text ? *text : otherwise;
}

Result<void> Query::finish() {
    for (const auto& [name, value] : query_)
        if (!taken_.contains("&" + name + "&"))
            report(fmt::format("{} is not a known parameter of this call", shortened(name)));
    if (!wrong_.empty()) return fail(Code::invalid, wrong_);
    return {};
}

Refusal no_such_call(const Request& request) {
    return {404,
            {Code::not_found, fmt::format("there is no {} {}; see docs/API.md",
                                          shortened(request.method), shortened(request.target))}};
}

Refusal wrong_method(const Request& request, std::string_view allowed) {
    return {405,
            {Code::invalid, fmt::format("{} takes {}, not {}", shortened(request.target), allowed,
                                        shortened(request.method))}};
}

}  // namespace cxlpool
