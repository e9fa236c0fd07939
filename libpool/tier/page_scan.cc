// SPDX-License-Identifier: Apache-2.0
#include "tier/page_scan.h"

#include <fcntl.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <array>

namespace libpool::tier {

Result<Descriptor> open_pagemap(pid_t pid) {
    std::string path = pid ? text("/proc/%d/pagemap", int(pid)) : "/proc/thread-self/pagemap";
    Descriptor file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!file) return fail(errno, "%s: %s", path.c_str(), errno_text(errno).c_str());
    file.lift();
    return file;
}

Result<void> scan_pages(const Descriptor& pagemap, const AddressRun& run, uint64_t categories,
                        std::vector<Region>& regions) {
    regions.clear();
    std::array<page_region, scan_vector_limit> found;
    uint64_t at = run.start;
    while (at < run.end()) {
        pm_scan_arg arg{};
        arg.size = sizeof arg;
        arg.start = at;
        arg.end = run.end();
        arg.vec = reinterpret_cast<uint64_t>(found.data());
        arg.vec_len = found.size();
        arg.category_anyof_mask = PAGE_IS_PRESENT | PAGE_IS_SWAPPED;
        arg.return_mask = PAGE_IS_PRESENT | PAGE_IS_SWAPPED | categories;
        long count = ioctl(pagemap.get(), PAGEMAP_SCAN, &arg);
        if (count < 0) {
            if (errno == EINTR) continue;
            return fail(errno, "PAGEMAP_SCAN of %llu pages at 0x%llx: %s",
                        static_cast<unsigned long long>(run.pages),
                        static_cast<unsigned long long>(run.start), errno_text(errno).c_str());
        }
        for (long i = 0; i < count; ++i) {
            uint64_t start = std::max<uint64_t>(found[i].start, at);
            uint64_t end = std::min<uint64_t>(found[i].end, run.end());
            if (start < end) regions.push_back({start, end, found[i].categories});
        }
        if (arg.walk_end <= at) {
            return fail(EIO, "PAGEMAP_SCAN made no progress at 0x%llx",
                        static_cast<unsigned long long>(at));
        }
        at = arg.walk_end;
    }
    return {};
}

}  // namespace libpool::tier
