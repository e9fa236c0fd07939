// SPDX-License-Identifier: Apache-2.0
#include "core/extents.h"

#include <fmt/format.h>

#include <algorithm>

namespace cxlpool {

void RangeSet::add(Range range) {
    if (range.length == 0) return;
    CXLPOOL_CHECK(range.end() > range.dpa);
    // Everything that overlaps or touches the new range becomes one with it.
    auto first = std::ranges::lower_bound(ranges_, range.dpa, {}, &Range::end);
    auto last = first;
    Bytes start = range.dpa, end = range.end();
    for (; last != ranges_.end() && last->dpa <= range.end(); ++last) {
        start = std::min(start, last->dpa);
        end = std::max(end, last->end());
    }
    const auto at = ranges_.erase(first, last);
    ranges_.insert(at, Range{start, end - start});
}

void RangeSet::subtract(Range range) {
    if (range.length == 0) return;
    std::vector<Range> left;
    for (const Range& own : ranges_) {
        if (!own.overlaps(range)) {
            left.push_back(own);
            continue;
        }
        if (own.dpa < range.dpa) left.push_back({own.dpa, range.dpa - own.dpa});
        if (range.end() < own.end()) left.push_back({range.end(), own.end() - range.end()});
    }
    ranges_ = std::move(left);
}

void RangeSet::add(const RangeSet& other) {
    for (const Range& range : other.ranges_) add(range);
}

void RangeSet::subtract(const RangeSet& other) {
    for (const Range& range : other.ranges_) subtract(range);
}

bool RangeSet::contains(Range range) const {
    if (range.length == 0) return true;
    const auto own = std::ranges::upper_bound(ranges_, range.dpa, {}, &Range::end);
    return own != ranges_.end() && own->contains(range);
}

bool RangeSet::intersects(Range range) const {
    return range.length != 0 &&
           std::ranges::any_of(ranges_, [&](const Range& own) { return own.overlaps(range); });
}

RangeSet RangeSet::within(Range range) const {
    RangeSet inside;
    for (const Range& own : ranges_) {
        const Bytes start = std::max(own.dpa, range.dpa), end = std::min(own.end(), range.end());
        if (start < end) inside.add(Range{start, end - start});
    }
    return inside;
}

Bytes RangeSet::bytes() const {
    Bytes sum = 0;
    for (const Range& range : ranges_) sum += range.length;
    return sum;
}

std::string describe(const Range& range) {
    return fmt::format("[{}-{}]", short_size(range.dpa), short_size(range.end()));
}

std::string describe(const Extent& extent) { return extent.device.text + describe(extent.range); }

std::string describe(const RangeSet& set) {
    std::string text;
    for (const Range& range : set.ranges()) text += (text.empty() ? "" : " ") + describe(range);
    return text.empty() ? "nothing" : text;
}

}  // namespace cxlpool
