// SPDX-License-Identifier: Apache-2.0
#include "core/units.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>

namespace cxlpool {
namespace {

struct Unit {
    std::string_view suffix;  // upper case
    Bytes factor;
};
constexpr std::array<Unit, 14> units{{{"", 1},
                                      {"B", 1},
                                      {"K", KiB},
                                      {"KB", KiB},
                                      {"KIB", KiB},
                                      {"M", MiB},
                                      {"MB", MiB},
                                      {"MIB", MiB},
                                      {"G", GiB},
                                      {"GB", GiB},
                                      {"GIB", GiB},
                                      {"T", TiB},
                                      {"TB", TiB},
                                      {"TIB", TiB}}};

std::string upper(std::string_view text) {
    std::string out(text);
    std::ranges::transform(out, out.begin(), [](unsigned char c) { return std::toupper(c); });
    return out;
}

// Printable and short: what the user typed comes back in a sentence.
std::string quoted(std::string_view text) {
    std::string out = "\"";
    for (unsigned char c : text.substr(0, 80)) {
        if (c == '"' || c == '\\')
            out += fmt::format("\\{}", static_cast<char>(c));
        else if (c < 0x20 || c >= 0x7f)
            out += fmt::format("\\x{:02x}", c);
        else
            out += static_cast<char>(c);
    }
    return out + (text.size() > 80 ? "…\"" : "\"");
}

}  // namespace

Result<Bytes> parse_size(std::string_view text) {
    const auto wrong = [&](std::string_view why) {
        return fail(Code::invalid, fmt::format("{} is not a size: {}", quoted(text), why));
    };
    if (text.empty()) return wrong("it is empty; write for example 256M");
    if (text.front() == '-') return wrong("it is negative");
    Bytes number = 0;
    const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (problem == std::errc::result_out_of_range) return wrong("it is larger than 16 EiB");
    if (problem != std::errc()) return wrong("it must begin with a whole number, as in 256M");
    const std::string_view rest(end, static_cast<std::size_t>(text.data() + text.size() - end));
    if (rest.starts_with('.') || rest.starts_with(','))
        return wrong("fractions are not taken; use a smaller unit, as in 1536M for 1.5G");
    const auto unit = std::ranges::find(units, upper(rest), &Unit::suffix);
    if (unit == units.end()) return wrong("the unit must be K, M, G or T (powers of 1024)");
    Bytes bytes = 0;
    if (__builtin_mul_overflow(number, unit->factor, &bytes))
        return wrong("it is larger than 16 EiB");
    return bytes;
}

std::string describe_size(Bytes bytes) {
    constexpr std::array<Unit, 4> large{{{"TiB", TiB}, {"GiB", GiB}, {"MiB", MiB}, {"KiB", KiB}}};
    for (const Unit& unit : large) {
        if (bytes < unit.factor) continue;
        if (bytes % unit.factor == 0) return fmt::format("{} {}", bytes / unit.factor, unit.suffix);
        // One digit behind the point is for people only where it is exact; else the next smaller
        // unit.
        if ((bytes * 10 / unit.factor * unit.factor / 10) == bytes && bytes < (Bytes{1} << 60))
            return fmt::format("{:.1f} {}",
                               static_cast<double>(bytes) / static_cast<double>(unit.factor),
                               unit.suffix);
    }
    return fmt::format("{} B", bytes);
}

std::string short_size(Bytes bytes) {
    constexpr std::array<Unit, 4> large{{{"T", TiB}, {"G", GiB}, {"M", MiB}, {"K", KiB}}};
    for (const Unit& unit : large)
        if (bytes != 0 && bytes % unit.factor == 0)
            return fmt::format("{}{}", bytes / unit.factor, unit.suffix);
    return fmt::format("{}", bytes);
}

Result<std::string> parse_name(std::string_view what, std::string_view text) {
    const bool charset = std::ranges::all_of(text, [](unsigned char c) {
        return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
    });
    if (text.empty() || text.size() > 63 || !charset)
        return fail(Code::invalid,
                    fmt::format("{} is not a name for a {}: take 1 to 63 of a-z, 0-9 and \"-\"",
                                quoted(text), what));
    return std::string(text);
}

}  // namespace cxlpool
