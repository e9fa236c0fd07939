// SPDX-License-Identifier: Apache-2.0
// Ranges of a device's physical address space (DPA) and sets of them.
#pragma once

#include <compare>
#include <string>
#include <vector>

#include "core/ids.h"
#include "core/units.h"

namespace cxlpool {

// [dpa, dpa + length), bytes; absolute DPA of the device.
struct Range {
    Bytes dpa = 0;
    Bytes length = 0;

    Bytes end() const { return dpa + length; }
    bool overlaps(const Range& other) const { return dpa < other.end() && other.dpa < end(); }
    bool contains(const Range& other) const { return dpa <= other.dpa && other.end() <= end(); }
    friend auto operator<=>(const Range&, const Range&) = default;
};

// An extent: a range of a named device. What grants own and devices are asked about.
struct Extent {
    DeviceName device;
    Range range;
    friend auto operator<=>(const Extent&, const Extent&) = default;
};

// A set of bytes as sorted, disjoint ranges that never touch (neighbours are merged), none empty.
class RangeSet {
  public:
    RangeSet() = default;
    explicit RangeSet(Range range) { add(range); }

    void add(Range range);
    void subtract(Range range);
    void add(const RangeSet& other);
    void subtract(const RangeSet& other);

    bool contains(Range range) const;    // every byte of it
    bool intersects(Range range) const;  // at least one byte
    RangeSet within(Range range) const;  // the part inside
    Bytes bytes() const;
    bool empty() const { return ranges_.empty(); }
    const std::vector<Range>& ranges() const { return ranges_; }

    friend bool operator==(const RangeSet&, const RangeSet&) = default;

  private:
    std::vector<Range> ranges_;
};

std::string describe(const Range& range);    // "[0-256M]"
std::string describe(const Extent& extent);  // "mem0[0-256M]"
std::string describe(const RangeSet& set);   // "[0-4M] [8M-16M]" or "nothing"

}  // namespace cxlpool
