// SPDX-License-Identifier: Apache-2.0
// Sizes, times and names. Sizes are bytes in uint64_t and carry it in their name where the type
// does not say it; text forms are binary (K/M/G/T = 2^10..2^40), as the field writes them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "core/result.h"

namespace cxlpool {

using Bytes = std::uint64_t;
using Millis = std::int64_t;  // milliseconds of fmd's own monotone clock, or a duration of it

inline constexpr Bytes KiB = Bytes{1} << 10;
inline constexpr Bytes MiB = Bytes{1} << 20;
inline constexpr Bytes GiB = Bytes{1} << 30;
inline constexpr Bytes TiB = Bytes{1} << 40;

// "256M", "1.5G" is refused, "4096" is bytes; case-insensitive; KiB/MiB/… accepted. Refuses empty,
// negative, fractional, overflowing and unknown units with a sentence; 0 parses (who calls
// decides).
Result<Bytes> parse_size(std::string_view text);

std::string describe_size(Bytes bytes);  // "256 MiB", "1.5 GiB", "0 B": for people
std::string short_size(Bytes bytes);     // "256M", "1536M", "4097": exact, for ranges

// 1 to 63 of [a-z0-9-]; what is said about it names `what` ("grant", "host").
Result<std::string> parse_name(std::string_view what, std::string_view text);

}  // namespace cxlpool
