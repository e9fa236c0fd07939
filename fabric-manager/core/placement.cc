// SPDX-License-Identifier: Apache-2.0
#include "core/placement.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

namespace cxlpool {
namespace {

// A free gap, cut down to whole units that start on the unit's alignment.
struct Gap {
    DeviceName device;
    Range range;
    bool clean = false;
};

// DPA alignment of one device for this request: pieces start where dpa % unit == offset, and are
// both whole DC blocks and whole units.
std::optional<Range> aligned(Range gap, Bytes unit, Bytes offset) {
    const Bytes misplaced = (gap.dpa % unit + unit - offset % unit) % unit;
    const Bytes skip = misplaced == 0 ? 0 : unit - misplaced;
    if (skip >= gap.length) return std::nullopt;
    const Bytes length = (gap.length - skip) / unit * unit;
    if (length == 0) return std::nullopt;
    return Range{gap.dpa + skip, length};
}

std::vector<Gap> gaps_of(const Pool& pool, const PlaceRequest& request, bool clean_only) {
    std::vector<Gap> gaps;
    for (const DeviceName& device : request.devices) {
        const auto offset = request.offset.find(device);
        RangeSet space = pool.free(device);
        if (const auto foreign = request.avoid.find(device); foreign != request.avoid.end())
            space.subtract(foreign->second);
        if (clean_only) {
            RangeSet dirty = space;
            dirty.subtract(pool.devices.at(device).clean);
            space.subtract(dirty);
        }
        for (const Range& free : space.ranges())
            if (const auto whole = aligned(free, request.unit,
                                           offset == request.offset.end() ? 0 : offset->second))
                gaps.push_back({device, *whole, clean_only});
    }
    return gaps;
}

// ram takes the low end of a gap and dax the high end: each use grows from its own side of the
// device.
Range cut(const Gap& gap, Bytes size, Use use) {
    return use == Use::ram ? Range{gap.range.dpa, size} : Range{gap.range.end() - size, size};
}

// Among gaps that hold the whole, the smallest; of equals the one nearest to the use's own end.
std::optional<Extent> best_fit(const std::vector<Gap>& gaps, Bytes size, Use use) {
    const Gap* best = nullptr;
    for (const Gap& gap : gaps) {
        if (gap.range.length < size) continue;
        const bool nearer = best && gap.range.length == best->range.length &&
                            gap.device == best->device && use == Use::dax &&
                            gap.range.dpa > best->range.dpa;
        if (!best || gap.range.length < best->range.length || nearer) best = &gap;
    }
    if (!best) return std::nullopt;
    return Extent{best->device, cut(*best, size, use)};
}

// The fewest pieces: largest gaps first, and the last piece by best fit so that large gaps stay
// whole.
std::optional<std::vector<Extent>> pieces(std::vector<Gap> gaps, const PlaceRequest& request) {
    std::ranges::stable_sort(gaps, std::ranges::greater{},
                             [](const Gap& gap) { return gap.range.length; });
    std::vector<Extent> extents;
    std::map<DeviceName, std::size_t> count;
    Bytes left = request.size;
    while (left > 0) {
        std::erase_if(gaps,
                      [&](const Gap& gap) { return count[gap.device] >= request.most_extents; });
        if (gaps.empty()) return std::nullopt;
        if (const auto last = best_fit(gaps, left, request.use)) {
            extents.push_back(*last);
            break;
        }
        const Gap largest = gaps.front();
        gaps.erase(gaps.begin());
        extents.push_back({largest.device, largest.range});
        ++count[largest.device];
        left -= largest.range.length;
    }
    std::ranges::sort(extents);
    return extents;
}

std::string where_free(const Pool& pool, const PlaceRequest& request,
                       const std::vector<Gap>& gaps) {
    std::string text;
    for (const DeviceName& device : request.devices) {
        Bytes usable = 0, largest = 0;
        for (const Gap& gap : gaps) {
            if (gap.device != device) continue;
            usable += gap.range.length;
            largest = std::max(largest, gap.range.length);
        }
        const Bytes free = pool.free(device).bytes();
        text +=
            fmt::format("{}{} on {}", text.empty() ? "" : ", ", describe_size(usable), device.text);
        const auto foreign = request.avoid.find(device);
        if (foreign != request.avoid.end() && !foreign->second.empty())
            text += fmt::format(" ({} more is in a host's reach without a grant)",
                                describe_size(foreign->second.bytes()));
        else if (usable != free)
            text += fmt::format(" ({} free, not all in whole pieces of {})", describe_size(free),
                                describe_size(request.unit));
        else if (largest != usable)
            text += fmt::format(" (largest piece {})", describe_size(largest));
    }
    return text;
}

}  // namespace

Result<std::vector<Extent>> place(const Pool& pool, const PlaceRequest& request) {
    CXLPOOL_CHECK(request.unit > 0 && request.size > 0 && request.size % request.unit == 0);
    const std::vector<Gap> clean = gaps_of(pool, request, true);
    const std::vector<Gap> all = gaps_of(pool, request, false);
    if (const auto extent = best_fit(clean, request.size, request.use))
        return std::vector<Extent>{*extent};
    if (const auto extent = best_fit(all, request.size, request.use))
        return std::vector<Extent>{*extent};
    if (auto extents = pieces(all, request)) return *extents;
    Bytes usable = 0;
    for (const Gap& gap : all) usable += gap.range.length;
    if (usable >= request.size)
        return fail(Code::no_space,
                    fmt::format("{} would need more than {} extents on one device: the free space "
                                "is too fragmented ({}); release a grant or ask for less",
                                describe_size(request.size), request.most_extents,
                                where_free(pool, request, all)));
    return fail(Code::no_space,
                fmt::format("{} is more than what is free: {}", describe_size(request.size),
                            where_free(pool, request, all)));
}

}  // namespace cxlpool
