// SPDX-License-Identifier: Apache-2.0
#include "poold/tenants_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <utility>

#include "poold/fd.h"
#include "poold/tree.h"
#include "tier/printable.h"
#include "tier/settings.h"
#include "tier/tenants.h"

namespace poold {

using libpool::fail;
using libpool::Result;
using libpool::tier::nearest_word;
using libpool::tier::parse_bytes;
using libpool::tier::printable;

namespace {

std::string in_quotes(std::string_view word) { return "\"" + printable(word, 60) + "\""; }

std::vector<std::string_view> split(std::string_view line) {
    constexpr std::string_view space = " \t\r";
    std::vector<std::string_view> words;
    while (true) {
        size_t first = line.find_first_not_of(space);
        if (first == line.npos) return words;
        size_t end = std::min(line.find_first_of(space, first), line.size());
        words.push_back(line.substr(first, end - first));
        line.remove_prefix(end);
    }
}

Result<uint64_t> whole_number(std::string_view word, uint64_t low, uint64_t high) {
    uint64_t value = 0;
    auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
    if (error != std::errc() || end != word.data() + word.size() || value < low || value > high) {
        return fail(EINVAL, "%s is not within %llu and %llu", in_quotes(word).c_str(),
                    static_cast<unsigned long long>(low), static_cast<unsigned long long>(high));
    }
    return value;
}

bool good_name(std::string_view name) {
    return !name.empty() && name.size() <= 63 &&
           std::all_of(name.begin(), name.end(), [](unsigned char c) {
               return std::isalnum(c) || c == '_' || c == '.' || c == '-';
           });
}

Result<void> take_word(TenantRule& rule, std::string_view word, std::string_view value) {
    if (value.empty()) return fail(EINVAL, "%s has no value", in_quotes(word).c_str());
    auto number = [&](auto& into, Result<uint64_t> given) -> Result<void> {
        if (!given) return std::unexpected(given.error());
        into = static_cast<std::decay_t<decltype(into)>>(*given);
        return {};
    };
    if (word == "floor") return number(rule.floor_bytes, parse_bytes(value));
    if (word == "cap") return number(rule.cap_bytes, parse_bytes(value));
    if (word == "weight") {
        return number(rule.weight, whole_number(value, 1, libpool::tier::weight_limit));
    }
    if (word == "pid") return number(rule.pid.emplace(), whole_number(value, 1, 1 << 22));
    if (word == "program" || word == "label") {
        (word == "program" ? rule.program : rule.label) = value;
        return {};
    }
    if (word == "cgroup") {
        if (!value.starts_with("/") || value.find("/../") != value.npos) {
            return fail(EINVAL, "%s is no path below /sys/fs/cgroup", in_quotes(value).c_str());
        }
        while (value.size() > 1 && value.ends_with('/')) value.remove_suffix(1);
        rule.cgroup = value;
        return {};
    }
    std::string near =
        nearest_word(word, {"floor", "cap", "weight", "pid", "program", "label", "cgroup"});
    return fail(EINVAL, "%s is nothing that a tenant has%s", in_quotes(word).c_str(),
                near.empty() ? "" : (", did you mean " + near + "?").c_str());
}

Result<TenantRule> parse_rule(const std::vector<std::string_view>& words) {
    if (words.size() < 2 || !good_name(words[1])) {
        return fail(EINVAL, "a tenant needs a name: 1 to 63 of A-Z a-z 0-9 _ . -");
    }
    TenantRule rule;
    rule.name = words[1];
    std::vector<std::string_view> seen;
    for (size_t i = 2; i < words.size(); ++i) {
        size_t equals = words[i].find('=');
        if (equals == words[i].npos) {
            return fail(EINVAL, "%s is not of the form word=value", in_quotes(words[i]).c_str());
        }
        std::string_view word = words[i].substr(0, equals);
        if (std::find(seen.begin(), seen.end(), word) != seen.end()) {
            return fail(EINVAL, "%s is there twice", in_quotes(word).c_str());
        }
        seen.push_back(word);
        if (auto taken = take_word(rule, word, words[i].substr(equals + 1)); !taken) {
            return std::unexpected(taken.error());
        }
    }
    if (rule.program.empty() && rule.cgroup.empty() && rule.label.empty() && !rule.pid) {
        return fail(EINVAL, "tenant %s says not whom it is about: program, cgroup, pid or label",
                    rule.name.c_str());
    }
    if (rule.floor_bytes > rule.cap_bytes) {
        return fail(EINVAL, "tenant %s has a floor above its cap", rule.name.c_str());
    }
    return rule;
}

Result<void> take_line(TenantsFile& file, std::string_view line) {
    auto words = split(line.substr(0, line.find('#')));
    if (words.empty()) return {};
    if (words[0] == "tenant") {
        auto rule = parse_rule(words);
        if (!rule) return std::unexpected(rule.error());
        for (const TenantRule& other : file.rules) {
            if (other.name == rule->name) {
                return fail(EINVAL, "tenant %s is there twice", rule->name.c_str());
            }
        }
        if (file.rules.size() == tenant_rule_limit) {
            return fail(E2BIG, "there are more than %zu tenants", tenant_rule_limit);
        }
        file.rules.push_back(std::move(*rule));
        return {};
    }
    if (words[0] == "capacity" && words.size() == 3 && words[1] == "=") {
        if (std::exchange(file.capacity_given, true)) {
            return fail(EINVAL, "capacity is there twice");
        }
        if (words[2] == "auto") return {};
        auto bytes = parse_bytes(words[2]);
        if (!bytes) return std::unexpected(bytes.error());
        file.capacity_bytes = *bytes;
        return {};
    }
    return fail(EINVAL, "%s is neither `capacity = SIZE` nor `tenant NAME word=value …`",
                in_quotes(line).c_str());
}

}  // namespace

Result<TenantsFile> parse_tenants(std::string_view lines, const std::string& name) {
    TenantsFile file;
    for (size_t number = 1; !lines.empty(); ++number) {
        std::string_view line = lines.substr(0, lines.find('\n'));
        lines.remove_prefix(std::min(line.size() + 1, lines.size()));
        if (auto taken = take_line(file, line); !taken) {
            return fail(taken.error().code, "%s:%zu: %s", printable(name).c_str(), number,
                        taken.error().sentence.c_str());
        }
    }
    for (const TenantRule& rule : file.rules) {
        if (!file.capacity_bytes || rule.floor_bytes <= *file.capacity_bytes) continue;
        return fail(EINVAL, "%s: tenant %s has a floor of %s, above the capacity of %s",
                    printable(name).c_str(), rule.name.c_str(),
                    describe_bytes(rule.floor_bytes).c_str(),
                    describe_bytes(*file.capacity_bytes).c_str());
    }
    return file;
}

Result<TenantsFile> read_tenants(const std::string& path) {
    const Fd file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
    std::string content(tenants_file_limit_bytes + 1, '\0');
    size_t size = 0;
    ssize_t got = file ? 1 : -1;
    while (got > 0 && size < content.size()) {
        got = read(file.get(), content.data() + size, content.size() - size);
        if (got > 0) size += static_cast<size_t>(got);
    }
    if (got < 0) {
        const int code = errno;
        return fail(code, "%s cannot be read: %s", printable(path).c_str(),
                    libpool::errno_text(code).c_str());
    }
    if (size > tenants_file_limit_bytes) {
        return fail(EFBIG, "%s is larger than 256 KiB", printable(path).c_str());
    }
    content.resize(size);
    return parse_tenants(content, path);
}

}  // namespace poold
