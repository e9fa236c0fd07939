// SPDX-License-Identifier: Apache-2.0
#include "tier/printable.h"

#include "error.h"

namespace libpool::tier {

namespace {

struct Decoded {
    uint32_t point = 0;
    size_t bytes = 0;  // 0: not well-formed
};

Decoded decode(std::string_view at) {
    auto byte = [&](size_t index) { return static_cast<unsigned char>(at[index]); };
    if (byte(0) < 0x80) return {byte(0), 1};
    size_t length = byte(0) >= 0xf0 ? 4 : byte(0) >= 0xe0 ? 3 : 2;
    if (byte(0) < 0xc2 || byte(0) > 0xf4 || at.size() < length) return {};
    uint32_t point = byte(0) & (0x7fu >> length);
    for (size_t i = 1; i < length; ++i) {
        if ((byte(i) & 0xc0) != 0x80) return {};
        point = point << 6 | (byte(i) & 0x3f);
    }
    constexpr uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    if (point < least[length] || point > 0x10ffff || (point >= 0xd800 && point < 0xe000)) return {};
    return {point, length};
}

bool harmless(uint32_t point) {
    if (point < 0x20 || (point >= 0x7f && point < 0xa0)) return false;
    bool marks = (point >= 0x200b && point <= 0x200f) || (point >= 0x2028 && point <= 0x202e) ||
                 (point >= 0x2060 && point <= 0x206f) || point == 0x61c || point == 0xfeff;
    return !marks;
}

std::string made_harmless(std::string_view words, size_t limit_bytes, const char* backslash) {
    std::string out;
    size_t at = 0;
    while (at < words.size()) {
        Decoded one = decode(words.substr(at));
        size_t bytes = one.bytes == 0 ? 1 : one.bytes;
        if (at + bytes > limit_bytes) return out + "…";
        if (one.bytes == 0 || !harmless(one.point)) {
            for (size_t i = 0; i < bytes; ++i) {
                out += text("\\x%02x", static_cast<unsigned char>(words[at + i]));
            }
        } else if (one.point == '\\') {
            out += backslash;
        } else {
            out += words.substr(at, bytes);
        }
        at += bytes;
    }
    return out;
}

}  // namespace

std::string printable(std::string_view words, size_t limit_bytes) {
    return made_harmless(words, limit_bytes, "\\\\");
}

std::string on_terminal(std::string_view sentence) {
    return made_harmless(sentence, sentence.size(), "\\");
}

std::string describe_bytes(uint64_t bytes) {
    constexpr const char* units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    size_t unit = 0;
    double value = static_cast<double>(bytes);
    while (value >= 1024 && unit + 1 < std::size(units)) {
        value /= 1024;
        ++unit;
    }
    bool whole = value == static_cast<double>(static_cast<uint64_t>(value)) || value >= 100;
    return text(whole ? "%.0f %s" : "%.1f %s", value, units[unit]);
}

}  // namespace libpool::tier
