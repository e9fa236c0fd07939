// SPDX-License-Identifier: Apache-2.0
#include "evacuate.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <string>

#include "uapi.h"

namespace libpool {

namespace {

constexpr uint64_t frame_mask = (1ull << 55) - 1;  // pagemap entry: bits 0–54 are the frame
constexpr uint64_t present_bit = 1ull << 63;
constexpr size_t ask_batch = 4096;

struct Span {
    uint64_t start;
    uint64_t end;
};

std::string proc_path(pid_t pid, const char* file) {
    return pid == 0 ? text("/proc/self/%s", file) : text("/proc/%d/%s", pid, file);
}

// Mappings with memory that can move. [vsyscall] has none and [vvar] is not ours to move.
Result<std::vector<Span>> read_maps(pid_t pid) {
    std::string path = proc_path(pid, "maps");
    std::ifstream maps(path);
    if (!maps) return fail(ESRCH, "%s cannot be read: has process %d ended?", path.c_str(), pid);
    std::vector<Span> spans;
    std::string line;
    while (std::getline(maps, line)) {
        unsigned long long start = 0, end = 0;
        if (std::sscanf(line.c_str(), "%llx-%llx", &start, &end) != 2) continue;
        if (line.find("[vsyscall]") != std::string::npos) continue;
        if (line.find("[vvar") != std::string::npos) continue;
        spans.push_back({start, end});
    }
    return spans;
}

// The present parts of a mapping, so that a sparse one of terabytes costs nothing.
Result<void> append_present(int pagemap, Span span, std::vector<Span>& present) {
    std::vector<page_region> regions(scan_vector_limit);
    while (span.start < span.end) {
        pm_scan_arg arg{};
        arg.size = sizeof arg;
        arg.start = span.start;
        arg.end = span.end;
        arg.vec = reinterpret_cast<uint64_t>(regions.data());
        arg.vec_len = regions.size();
        arg.category_mask = PAGE_IS_PRESENT;
        arg.return_mask = PAGE_IS_PRESENT;
        long found = ioctl(pagemap, PAGEMAP_SCAN, &arg);
        if (found < 0 && errno == EINTR) continue;
        if (found < 0 && errno == ENOTTY) {
            return fail(EOPNOTSUPP, "this kernel has no PAGEMAP_SCAN: it needs Linux 6.7");
        }
        if (found < 0) return fail(errno, "PAGEMAP_SCAN: %s", errno_text(errno).c_str());
        for (long i = 0; i < found; ++i) {
            present.push_back({std::max<uint64_t>(regions[i].start, span.start),
                               std::min<uint64_t>(regions[i].end, span.end)});
        }
        if (arg.walk_end <= span.start) break;
        span.start = arg.walk_end;
    }
    return {};
}

Result<void> keep_physical(int pagemap, pid_t pid, Span present, const Site& site,
                           std::vector<uint64_t>& pages) {
    std::vector<uint64_t> entries(ask_batch);
    while (present.start < present.end) {
        size_t count = std::min<size_t>(ask_batch, (present.end - present.start) / page_bytes);
        if (count == 0) break;
        ssize_t bytes = pread(pagemap, entries.data(), count * sizeof(uint64_t),
                              static_cast<off_t>(present.start / page_bytes * sizeof(uint64_t)));
        if (bytes <= 0) break;  // unmapped meanwhile
        for (size_t i = 0; i < size_t(bytes) / sizeof(uint64_t); ++i) {
            uint64_t frame = entries[i] & frame_mask;
            if (!(entries[i] & present_bit)) continue;
            if (frame == 0) {
                return fail(EPERM,
                            "the kernel hides page frame numbers of process %d: this needs "
                            "CAP_SYS_ADMIN",
                            pid);
            }
            uint64_t physical = frame * page_bytes;
            if (physical >= site.physical_start &&
                physical - site.physical_start < site.physical_bytes) {
                pages.push_back(present.start + i * page_bytes);
            }
        }
        present.start += count * page_bytes;
    }
    return {};
}

void keep_on_node(Kernel& kernel, pid_t pid, Span present, int node, std::vector<uint64_t>& pages) {
    std::vector<uint64_t> some;
    for (uint64_t at = present.start; at < present.end; at += page_bytes) {
        some.push_back(at);
        if (some.size() < ask_batch && at + page_bytes < present.end) continue;
        std::vector<int> nodes = where(kernel, pid, some);
        for (size_t i = 0; i < some.size(); ++i) {
            if (nodes[i] == node) pages.push_back(some[i]);
        }
        some.clear();
    }
}

// The first target, in the caller's order, that has room for a page.
int choose_target(Kernel& kernel, const std::vector<int>& targets, uint64_t& room_pages) {
    for (int node : targets) {
        auto room = kernel.room_bytes(node);
        room_pages = room ? *room / page_bytes : 0;
        if (room_pages > 0) return node;
    }
    return -1;
}

}  // namespace

Result<std::vector<uint64_t>> find_pages(Kernel& kernel, pid_t pid, const Site& site) {
    auto maps = read_maps(pid);
    if (!maps) return std::unexpected(maps.error());
    std::string path = proc_path(pid, "pagemap");
    int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) return fail(errno, "%s: %s", path.c_str(), errno_text(errno).c_str());

    std::vector<uint64_t> pages;
    Result<void> done;
    for (size_t i = 0; done && i < maps->size(); ++i) {
        std::vector<Span> present;
        done = append_present(fd, (*maps)[i], present);
        for (size_t k = 0; done && k < present.size(); ++k) {
            if (site.node >= 0) {
                keep_on_node(kernel, pid, present[k], site.node, pages);
            } else {
                done = keep_physical(fd, pid, present[k], site, pages);
            }
        }
    }
    close(fd);
    if (!done) return std::unexpected(done.error());
    return pages;
}

Result<Evacuation> evacuate(Kernel& kernel, Mover& mover, pid_t pid, const Site& site,
                            const std::vector<int>& targets, const Progress& progress) {
    if (targets.empty()) return fail(EINVAL, "no node is named to which pages could go");
    for (int node : targets) {
        if (node == site.node) return fail(EINVAL, "node %d cannot be emptied into itself", node);
    }
    auto found = find_pages(kernel, pid, site);
    if (!found) return std::unexpected(found.error());

    Evacuation result;
    result.found_pages = found->size();
    std::span<const uint64_t> left(*found);
    while (!left.empty()) {
        uint64_t room = 0;
        int target = choose_target(kernel, targets, room);
        if (target < 0) {
            result.failed_pages += left.size();
            result.reasons[ENOSPC] += left.size();
            break;
        }
        size_t count = std::min<uint64_t>({left.size(), move_batch, room});
        MoveReport report = mover.move(pid, left.first(count), target);
        uint64_t vanished = 0;                // nothing is left there to move:
        for (int reason : {ENOENT, ESRCH}) {  // the page was freed meanwhile, the process has ended
            auto gone = report.reasons.find(reason);
            if (gone == report.reasons.end()) continue;
            vanished += gone->second;
            report.reasons.erase(gone);
        }
        result.done_pages += report.moved + report.already + vanished;
        result.failed_pages += report.failed - vanished;
        for (auto [reason, pages] : report.reasons) result.reasons[reason] += pages;
        left = left.subspan(count);
        if (progress && !progress(result.done_pages, result.found_pages)) {
            result.stopped = !left.empty();
            break;
        }
    }
    return result;
}

}  // namespace libpool
