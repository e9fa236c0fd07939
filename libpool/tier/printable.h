// SPDX-License-Identifier: Apache-2.0
// Words from outside (names of programs, paths, what another process says) made fit for a terminal:
// one line, no control or escape characters, nothing that turns the direction of writing round.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace libpool::tier {

// Well-formed UTF-8 stays as it is; every other byte, control characters and bidirectional marks
// become \xNN, a backslash becomes two. Cut behind limit_bytes of input, with "…" in its place.
std::string printable(std::string_view words, size_t limit_bytes = 200);

// A whole sentence, whose words from outside may have been made printable before: what could do
// harm is written as above, backslashes stay as they are, nothing is cut.
std::string on_terminal(std::string_view sentence);

// 402653184 → "384 MiB", 1536 → "1.5 KiB".
std::string describe_bytes(uint64_t bytes);

}  // namespace libpool::tier
