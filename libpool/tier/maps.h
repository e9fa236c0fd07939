// SPDX-License-Identifier: Apache-2.0
// What a process has mapped, out of the text of /proc/PID/maps.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "error.h"

namespace libpool::tier {

struct Mapping {
    uint64_t start = 0, end = 0;  // bytes, page-aligned
    bool readable = false, writable = false, executable = false, shared = false;
    uint64_t inode = 0;  // 0: no file behind it
    std::string name;    // path, "[heap]", "[anon:…]" or nothing
    uint64_t bytes() const { return end - start; }
};

// One line, without its newline. False: not a line of such a file (nothing is believed of it).
bool parse_mapping(std::string_view line, Mapping& mapping);

// The whole text. Lines that are none, or that do not rise, are left out.
std::vector<Mapping> parse_mappings(std::string_view text);

// pid 0: this process. ESRCH when the process has ended.
Result<std::vector<Mapping>> read_mappings(pid_t pid);

// Memory that is the program's own and nobody else's: private, of no file, readable and writable.
// Kernel objects that look like it ("[vvar]") are not.
bool is_private_memory(const Mapping& mapping);

// Of all nodes, as many as there are now; UINT64_MAX when that is not known.
uint64_t machine_bytes();

// Address space that was reserved rather than memory: more than four times as large as all there
// is (what is smaller may be filled, with some swap). Books of it would be of pages that never are.
bool is_sparse(const Mapping& mapping, uint64_t all_bytes);

}  // namespace libpool::tier
