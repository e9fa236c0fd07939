// SPDX-License-Identifier: Apache-2.0
#include "tier/presence.h"

#include <algorithm>

#include "uapi.h"

namespace libpool::tier {

Result<std::vector<Sight>> Presence::arm(std::span<const AddressRun> runs) {
    std::vector<Sight> sights;
    for (const AddressRun& run : runs) {
        size_t first = sights.size();
        sights.resize(first + run.pages, page_absent);
        auto scanned = scan_pages(pagemap_, run, PAGE_IS_PFNZERO, regions_);
        if (!scanned && scanned.error().code == ESRCH) continue;
        if (!scanned) return std::unexpected(scanned.error());
        for (const Region& region : regions_) {
            if (!(region.categories & PAGE_IS_PRESENT) || region.categories & PAGE_IS_PFNZERO) {
                continue;
            }
            auto at = sights.begin() + long(first + (region.start - run.start) / page_bytes);
            std::fill_n(at, (region.end - region.start) / page_bytes, not_touched);
        }
    }
    return sights;
}

Result<void> Presence::look(std::span<const AddressRun> runs, std::vector<Sight>& sights,
                            std::vector<uint64_t>& huge) {
    constexpr uint64_t huge_mask = block_pages * page_bytes - 1;
    size_t first = 0;
    for (const AddressRun& run : runs) {
        auto scanned = scan_pages(pagemap_, run, PAGE_IS_HUGE, regions_);
        if (!scanned && scanned.error().code != ESRCH) return scanned;
        auto vanish = [&](uint64_t start, uint64_t end) {
            auto begin = sights.begin() + long(first);
            std::replace(begin + long((start - run.start) / page_bytes),
                         begin + long((end - run.start) / page_bytes), not_touched, page_absent);
        };
        uint64_t at = run.start;
        for (const Region& region : regions_) {
            vanish(at, region.start);
            at = region.end;
            if (!(region.categories & PAGE_IS_HUGE)) continue;
            for (uint64_t block = region.start & ~huge_mask; block < region.end;
                 block += huge_mask + 1) {
                if (huge.empty() || huge.back() != block) huge.push_back(block);
            }
        }
        vanish(at, run.end());
        first += run.pages;
    }
    return {};
}

}  // namespace libpool::tier
