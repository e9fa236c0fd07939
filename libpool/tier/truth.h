// SPDX-License-Identifier: Apache-2.0
// The counter array that says exactly how often each page of a workload was accessed: a file, or
// the memory of a PCI device (ivshmem) into which an emulator's plugin counts. Little-endian,
// mapped shared. Only the writer adds; nobody resets: a reader takes differences, so there is
// nothing to synchronise. Below truth_counts_offset the writer may keep more than this.
#pragma once

#include <cstdint>

namespace libpool::tier {

struct TruthHeader {
    char magic[8];           // truth_magic
    uint64_t pages;          // length of the array
    uint64_t first_address;  // of page 0, in the workload; 0: none announced (yet)
};

inline constexpr char truth_magic[] = "pooltru1";
inline constexpr uint64_t truth_counts_offset = 4096;  // then u32 counts[pages], wrapping

}  // namespace libpool::tier
