// SPDX-License-Identifier: Apache-2.0
// PAGEMAP_SCAN: what the page tables of a process say of a run of pages.
#pragma once

#include <cstdint>
#include <vector>

#include "error.h"
#include "tier/descriptor.h"
#include "tier/sampler.h"
#include "uapi.h"

namespace libpool::tier {

// Pages of equal categories (PAGE_IS_…). Rising, disjoint, inside what was asked for.
struct Region {
    uint64_t start = 0, end = 0;
    uint64_t categories = 0;
};

// pid 0: this process.
Result<Descriptor> open_pagemap(pid_t pid);

// All pages of the run that are present or in swap (a page that moves to another node looks like
// the latter), with those of the asked categories that they have. ESRCH: the process has ended.
Result<void> scan_pages(const Descriptor& pagemap, const AddressRun& run, uint64_t categories,
                        std::vector<Region>& regions);

}  // namespace libpool::tier
