// SPDX-License-Identifier: Apache-2.0
// Which memory of a program that knows nothing of us is tracked, and what has changed since the
// last time. Pure.
//
// A range always is one or several whole mappings. A border within a mapping would split it when
// the range is registered, and the program's mremap() of the whole would then fail.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "tier/maps.h"
#include "tier/sampler.h"

namespace libpool::run {

using tier::AddressRun;

// Why a mapping is not tracked.
enum class LeftOut : uint8_t {
    file,       // of a file, also a private one
    shared,     // with other processes, or anonymous and shared
    hugetlb,    // userfaultfd has no asynchronous protection there
    no_access,  // PROT_NONE: guards, reserved address space
    read_only,
    special,  // the kernel's: [vvar], [vdso]
    small,    // below the limit
    sparse,   // see is_sparse()
    ours,     // of the tracking itself
    surplus,  // more than range_limit
};
inline constexpr size_t left_out_kinds = 10;
const char* name_of(LeftOut why);

inline constexpr size_t range_limit = 4000;  // the engine takes 4096

struct Selection {
    std::vector<AddressRun> mappings;  // to track: rising, disjoint
    std::array<uint64_t, left_out_kinds> left_out_bytes{};
    std::array<uint64_t, left_out_kinds> left_out_mappings{};
    std::string describe() const;  // "left out: 12 file (30 MiB), 3 small (8 KiB)"
};

// `ours`: memory that is not the program's, whole mappings. `memory_bytes`: of all nodes together.
Selection select(std::span<const tier::Mapping> mappings, std::span<const AddressRun> ours,
                 uint64_t min_bytes, uint64_t memory_bytes);

// What is tracked. After update() the ranges cover exactly the mappings it was given, but for holes
// that the program has made in them since: a range that lost less than half stays as it is, so that
// what is known of the rest is not lost.
class RangeBook {
  public:
    struct Change {
        std::vector<AddressRun> removed, added;  // to be carried out in this order
    };
    Change update(std::span<const AddressRun> mappings);
    // It could not be tracked after all, or no longer.
    void drop(uint64_t start) { ranges_.erase(start); }
    std::vector<AddressRun> ranges() const;

  private:
    std::map<uint64_t, uint64_t> ranges_;  // start → end
};

}  // namespace libpool::run
