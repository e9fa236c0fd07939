// SPDX-License-Identifier: Apache-2.0
#include "tier/settings.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <limits>

#include "tier/printable.h"

namespace libpool::tier {

namespace {

constexpr int node_limit = 1024;
constexpr const char* sampler_names[] = {"auto", "rwp", "wp", "damon"};  // by SamplerWish

std::string quoted(std::string_view word) { return "\"" + printable(word, 60) + "\""; }

Result<uint64_t> parse_number(std::string_view word, uint64_t low, uint64_t high) {
    uint64_t value = 0;
    auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
    if (error != std::errc() || end != word.data() + word.size() || word.empty()) {
        return fail(EINVAL, "%s is not a whole number", quoted(word).c_str());
    }
    if (value < low || value > high) {
        return fail(EINVAL, "%s is not within %llu and %llu", quoted(word).c_str(),
                    static_cast<unsigned long long>(low), static_cast<unsigned long long>(high));
    }
    return value;
}

Result<bool> parse_switch(std::string_view word) {
    if (word == "1") return true;
    if (word == "0") return false;
    return fail(EINVAL, "%s is neither 0 nor 1", quoted(word).c_str());
}

// Digits, at most one point: no signs, exponents, "inf" or "nan".
Result<double> parse_percent(std::string_view word) {
    std::string_view digits = word.ends_with('%') ? word.substr(0, word.size() - 1) : word;
    double value = 0;
    auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value,
                                        std::chars_format::fixed);
    bool plain = !digits.empty() && digits.find_first_not_of("0123456789.") == digits.npos;
    if (!plain || error != std::errc() || end != digits.data() + digits.size()) {
        return fail(EINVAL, "%s is not a percentage", quoted(word).c_str());
    }
    if (value < 0.01 || value > 50) {
        return fail(EINVAL, "%s is not within 0.01 and 50 (percent)", quoted(word).c_str());
    }
    return value / 100;
}

Result<std::vector<int>> parse_nodes(std::string_view word) {
    std::vector<int> nodes;
    std::string_view rest = word;
    while (true) {
        std::string_view piece = rest.substr(0, rest.find(','));
        size_t dash = piece.find('-');
        auto first = parse_number(piece.substr(0, dash), 0, node_limit - 1);
        auto last =
            dash == piece.npos ? first : parse_number(piece.substr(dash + 1), 0, node_limit - 1);
        if (!first || !last || *last < *first) {
            return fail(EINVAL, "%s is not a list of nodes such as 0,2-3", quoted(word).c_str());
        }
        for (uint64_t node = *first; node <= *last; ++node) nodes.push_back(static_cast<int>(node));
        if (nodes.size() > node_limit) break;  // some are there twice
        if (piece.size() == rest.size()) break;
        rest.remove_prefix(piece.size() + 1);
    }
    std::sort(nodes.begin(), nodes.end());
    if (auto twice = std::adjacent_find(nodes.begin(), nodes.end()); twice != nodes.end()) {
        return fail(EINVAL, "%s has node %d twice", quoted(word).c_str(), *twice);
    }
    return nodes;
}

Result<std::string> parse_name(std::string_view word) {
    constexpr std::string_view taken =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-";
    if (word.empty() || word.size() > 63 || word.find_first_not_of(taken) != word.npos) {
        return fail(EINVAL, "%s is no name: 1 to 63 of A-Z a-z 0-9 _ . -", quoted(word).c_str());
    }
    return std::string(word);
}

template <typename T>
Result<T> parse_choice(std::string_view word,
                       std::initializer_list<std::pair<std::string_view, T>> choices) {
    std::string all;
    for (const auto& [name, value] : choices) {
        if (name == word) return value;
        all += (all.empty() ? "" : ", ") + std::string(name);
    }
    return fail(EINVAL, "%s is none of %s", quoted(word).c_str(), all.c_str());
}

Result<SamplerWish> parse_sampler(std::string_view word) {
    return parse_choice<SamplerWish>(word, {{"auto", SamplerWish::automatic},
                                            {"rwp", SamplerWish::rwp},
                                            {"wp", SamplerWish::wp},
                                            {"damon", SamplerWish::damon}});
}

Result<Say> parse_say(std::string_view word) {
    return parse_choice<Say>(word,
                             {{"none", Say::none}, {"trouble", Say::trouble}, {"all", Say::all}});
}

template <typename T, typename U>
Result<void> put(T& into, Result<U> value) {
    if (!value) return std::unexpected(std::move(value.error()));
    into = static_cast<T>(std::move(*value));
    return {};
}

Result<uint64_t> parse_limit(std::string_view word) {
    if (word == "none") return UINT64_MAX;
    return parse_bytes(word);
}

Result<uint64_t> parse_min_range(std::string_view word) {
    auto bytes = parse_bytes(word);
    if (bytes && *bytes < 4096) {
        return fail(EINVAL, "%s is less than one page (4K)", quoted(word).c_str());
    }
    return bytes;
}

Result<uint64_t> parse_mbps(std::string_view word) {
    auto mebibytes = parse_number(word, 0, 1 << 20);
    if (mebibytes) *mebibytes <<= 20;
    return mebibytes;
}

struct Setting {
    std::string_view name;
    Result<void> (*take)(Settings&, std::string_view);
};

constexpr Setting all_settings[] = {
    {"on", [](Settings& s, std::string_view v) { return put(s.on, parse_switch(v)); }},
    {"near_limit",
     [](Settings& s, std::string_view v) { return put(s.near_limit_bytes, parse_limit(v)); }},
    {"cpu", [](Settings& s, std::string_view v) { return put(s.cpu_share, parse_percent(v)); }},
    {"mbps",
     [](Settings& s, std::string_view v) { return put(s.move_limit_bytes_per_s, parse_mbps(v)); }},
    {"near_nodes",
     [](Settings& s, std::string_view v) { return put(s.near_nodes, parse_nodes(v)); }},
    {"far_nodes", [](Settings& s, std::string_view v) { return put(s.far_nodes, parse_nodes(v)); }},
    {"require", [](Settings& s, std::string_view v) { return put(s.require, parse_switch(v)); }},
    {"seed",
     [](Settings& s, std::string_view v) {
         return put(s.seed, parse_number(v, 0, std::numeric_limits<uint64_t>::max()));
     }},
    {"sampler", [](Settings& s, std::string_view v) { return put(s.sampler, parse_sampler(v)); }},
    {"tenant", [](Settings& s, std::string_view v) { return put(s.tenant, parse_name(v)); }},
    {"min_range",
     [](Settings& s, std::string_view v) { return put(s.min_range_bytes, parse_min_range(v)); }},
    {"loss_ns",
     [](Settings& s, std::string_view v) { return put(s.loss_ns, parse_number(v, 0, 1000000)); }},
    {"wait", [](Settings& s, std::string_view v) { return put(s.wait, parse_switch(v)); }},
    {"hand_over",
     [](Settings& s, std::string_view v) { return put(s.hand_over, parse_switch(v)); }},
    {"say", [](Settings& s, std::string_view v) { return put(s.say, parse_say(v)); }},
};

const Setting* find_setting(std::string_view name) {
    auto found = std::find_if(std::begin(all_settings), std::end(all_settings),
                              [&](const Setting& one) { return one.name == name; });
    return found == std::end(all_settings) ? nullptr : found;
}

std::string did_you_mean(std::string_view name, const char* prefix) {
    std::vector<std::string_view> names;
    for (const Setting& setting : all_settings) names.push_back(setting.name);
    std::string near = nearest_word(name, names);
    return near.empty() ? "" : ", did you mean " + std::string(prefix) + near + "?";
}

std::string upper(std::string_view word) {
    std::string out(word);
    for (char& c : out) c = c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
    return out;
}

std::string_view trimmed(std::string_view word) {
    constexpr std::string_view space = " \t\r";
    size_t first = word.find_first_not_of(space);
    if (first == word.npos) return {};
    return word.substr(first, word.find_last_not_of(space) - first + 1);
}

Result<void> apply_line(Settings& settings, std::string_view line) {
    line = trimmed(line.substr(0, line.find('#')));
    if (line.empty()) return {};
    size_t equals = line.find('=');
    if (equals == line.npos) {
        return fail(EINVAL, "%s is not of the form name = value", quoted(line).c_str());
    }
    return apply_setting(settings, trimmed(line.substr(0, equals)),
                         trimmed(line.substr(equals + 1)));
}

Result<std::string> read_settings_file(const std::string& path) {
    int file = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file < 0) {
        return fail(errno, "%s cannot be read: %s", printable(path).c_str(),
                    errno_text(errno).c_str());
    }
    std::string content(settings_file_limit_bytes + 1, '\0');
    size_t size = 0;
    ssize_t got = 1;
    while (got > 0 && size < content.size()) {
        got = read(file, content.data() + size, content.size() - size);
        if (got > 0) size += static_cast<size_t>(got);
    }
    int code = got < 0 ? errno : 0;
    close(file);
    if (code) {
        return fail(code, "%s cannot be read: %s", printable(path).c_str(),
                    errno_text(code).c_str());
    }
    if (size > settings_file_limit_bytes) {
        return fail(EFBIG, "%s is larger than 64 KiB", printable(path).c_str());
    }
    content.resize(size);
    return content;
}

std::string node_list(const std::vector<int>& nodes) {
    std::string out;
    for (int node : nodes) out += (out.empty() ? "" : ",") + std::to_string(node);
    return out;
}

constexpr std::string_view prefix = "POOLTIER_";
// Of other parts of the project: no settings.
constexpr std::string_view not_ours[] = {"POOLTIER_CONFIG", "POOLTIER_LIBRARY"};

Result<void> apply_variable(Settings& settings, std::string_view variable, std::string_view value) {
    std::string name = "on";
    if (variable != "POOLTIER") {
        name.clear();
        for (char c : variable.substr(prefix.size())) {
            if (c >= 'a' && c <= 'z') c = '?';  // POOLTIER_cpu is not POOLTIER_CPU
            name += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
        }
        if (name == "on" || !find_setting(name)) {
            // The prefix, which all have, makes no two of them alike.
            std::vector<std::string_view> names;
            for (const Setting& setting : all_settings) {
                if (setting.name != "on") names.push_back(setting.name);
            }
            std::string near = upper(nearest_word(name, names));
            return fail(EINVAL, "%s is no setting%s", printable(variable, 60).c_str(),
                        near.empty() ? "" : (", did you mean POOLTIER_" + near + "?").c_str());
        }
    }
    auto done = apply_setting(settings, name, value);
    if (done) return {};
    return fail(done.error().code, "%s: %s", std::string(variable).c_str(),
                done.error().sentence.substr(name.size() + 2).c_str());
}

}  // namespace

std::string nearest_word(std::string_view word, const std::vector<std::string_view>& candidates) {
    if (word.size() > 40) return "";
    std::string best;
    size_t least = std::max<size_t>(2, word.size() / 4) + 1;
    for (std::string_view candidate : candidates) {
        std::vector<size_t> row(candidate.size() + 1);
        for (size_t j = 0; j < row.size(); ++j) row[j] = j;
        for (size_t i = 1; i <= word.size(); ++i) {
            size_t diagonal = row[0];
            row[0] = i;
            for (size_t j = 1; j < row.size(); ++j) {
                size_t above = row[j];
                row[j] = std::min(
                    {row[j] + 1, row[j - 1] + 1, diagonal + (word[i - 1] != candidate[j - 1])});
                diagonal = above;
            }
        }
        if (row.back() < least) {
            least = row.back();
            best = candidate;
        }
    }
    return best;
}

Result<uint64_t> parse_bytes(std::string_view word) {
    constexpr std::string_view units = "KMGT";
    std::string_view digits = word;
    unsigned shift = 0;
    if (!word.empty()) {
        if (size_t unit = units.find(word.back()); unit != units.npos) {
            shift = static_cast<unsigned>(10 * (unit + 1));
            digits.remove_suffix(1);
        }
    }
    auto value = parse_number(digits, 0, std::numeric_limits<uint64_t>::max());
    if (!value) return fail(EINVAL, "%s is not a size such as 256M", quoted(word).c_str());
    if (*value > (std::numeric_limits<uint64_t>::max() >> shift)) {
        return fail(EINVAL, "%s is more than 16 EiB", quoted(word).c_str());
    }
    return *value << shift;
}

Result<void> apply_setting(Settings& settings, std::string_view name, std::string_view value) {
    const Setting* setting = find_setting(name);
    if (!setting) {
        return fail(EINVAL, "%s is no setting%s", quoted(name).c_str(),
                    did_you_mean(name, "").c_str());
    }
    auto done = setting->take(settings, value);
    if (done) return {};
    return fail(done.error().code, "%s: %s", std::string(name).c_str(),
                done.error().sentence.c_str());
}

Result<void> apply_text(Settings& settings, std::string_view lines, const std::string& name) {
    Settings changed = settings;
    if (lines.size() > settings_file_limit_bytes) {
        return fail(EFBIG, "%s is larger than 64 KiB", printable(name).c_str());
    }
    for (size_t line_number = 1; !lines.empty(); ++line_number) {
        std::string_view line = lines.substr(0, lines.find('\n'));
        lines.remove_prefix(std::min(line.size() + 1, lines.size()));
        if (auto done = apply_line(changed, line); !done) {
            return fail(done.error().code, "%s:%zu: %s", printable(name).c_str(), line_number,
                        done.error().sentence.c_str());
        }
    }
    settings = std::move(changed);
    return {};
}

Result<void> check_settings(const Settings& settings) {
    for (int node : settings.near_nodes) {
        if (std::binary_search(settings.far_nodes.begin(), settings.far_nodes.end(), node)) {
            return fail(EINVAL, "node %d is both near and far", node);
        }
    }
    bool other = settings.sampler != SamplerWish::rwp && settings.sampler != SamplerWish::automatic;
    if (settings.hand_over && other) {
        return fail(EINVAL, "hand_over works with the sampler rwp alone, not with %s",
                    sampler_names[static_cast<size_t>(settings.sampler)]);
    }
    return {};
}

Result<Settings> settings_from_environment(const char* const* environment) {
    Settings settings;
    std::vector<std::string_view> ours;
    for (; environment && *environment; ++environment) {
        std::string_view entry(*environment);
        std::string_view variable = entry.substr(0, entry.find('='));
        if (variable.size() == entry.size()) continue;  // no "=": nobody's variable
        if (variable == "POOLTIER" || variable.starts_with(prefix)) ours.push_back(entry);
    }
    for (std::string_view entry : ours) {
        if (!entry.starts_with("POOLTIER_CONFIG=")) continue;
        std::string path(entry.substr(sizeof("POOLTIER_CONFIG=") - 1));
        auto content = read_settings_file(path);
        if (!content) return std::unexpected(content.error());
        if (auto done = apply_text(settings, *content, path); !done) {
            return std::unexpected(done.error());
        }
    }
    for (std::string_view entry : ours) {
        std::string_view variable = entry.substr(0, entry.find('='));
        if (std::find(std::begin(not_ours), std::end(not_ours), variable) != std::end(not_ours)) {
            continue;
        }
        auto done = apply_variable(settings, variable, entry.substr(variable.size() + 1));
        if (!done) return std::unexpected(done.error());
    }
    if (auto done = check_settings(settings); !done) return std::unexpected(done.error());
    return settings;
}

std::vector<std::string> environment_of(const Settings& settings) {
    const Settings plain;
    std::vector<std::string> out{settings.on ? "POOLTIER=1" : "POOLTIER=0"};
    auto say = [&](const char* name, const std::string& value) {
        out.push_back("POOLTIER_" + std::string(name) + "=" + value);
    };
    if (settings.near_limit_bytes != plain.near_limit_bytes) {
        say("NEAR_LIMIT", std::to_string(settings.near_limit_bytes));
    }
    if (settings.cpu_share != plain.cpu_share) {
        char digits[64];
        auto end = std::to_chars(digits, digits + sizeof digits, settings.cpu_share * 100,
                                 std::chars_format::fixed)
                       .ptr;
        say("CPU", std::string(digits, end));
    }
    if (settings.move_limit_bytes_per_s != plain.move_limit_bytes_per_s) {
        say("MBPS", std::to_string(settings.move_limit_bytes_per_s >> 20));
    }
    if (!settings.near_nodes.empty()) say("NEAR_NODES", node_list(settings.near_nodes));
    if (!settings.far_nodes.empty()) say("FAR_NODES", node_list(settings.far_nodes));
    if (settings.require) say("REQUIRE", "1");
    if (settings.seed != plain.seed) say("SEED", std::to_string(settings.seed));
    if (settings.sampler != plain.sampler) {
        say("SAMPLER", sampler_names[static_cast<size_t>(settings.sampler)]);
    }
    if (!settings.tenant.empty()) say("TENANT", settings.tenant);
    if (settings.min_range_bytes != plain.min_range_bytes) {
        say("MIN_RANGE", std::to_string(settings.min_range_bytes));
    }
    if (settings.loss_ns != plain.loss_ns) say("LOSS_NS", text("%.0f", settings.loss_ns));
    if (settings.wait) say("WAIT", "1");
    if (settings.hand_over) say("HAND_OVER", "1");
    constexpr const char* says[] = {"none", "trouble", "all"};
    if (settings.say != plain.say) say("SAY", says[static_cast<size_t>(settings.say)]);
    return out;
}

}  // namespace libpool::tier
