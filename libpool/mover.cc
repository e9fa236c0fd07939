// SPDX-License-Identifier: Apache-2.0
#include "mover.h"

#include <algorithm>
#include <climits>

#include "steady.h"
#include "uapi.h"

namespace libpool {

namespace {

// No node and no errno: an entry that still holds it was never written by the kernel.
constexpr int unwritten = INT_MIN;

// Calls for the same batch: once, and again for what a partial answer left untried.
constexpr int tries_limit = 3;

MoveReport sort_out(std::vector<int> before, std::vector<int> after, std::span<const int> errors,
                    int target) {
    MoveReport report;
    for (size_t i = 0; i < after.size(); ++i) {
        if (after[i] == target) {
            ++(before[i] == target ? report.already : report.moved);
            continue;
        }
        ++report.failed;
        int reason = errors[i] != 0 ? errors[i] : after[i] < 0 ? -after[i] : 0;
        ++report.reasons[reason];
    }
    report.nodes = std::move(after);
    return report;
}

std::vector<uint64_t> small_pages(uint64_t block) {
    std::vector<uint64_t> pages(huge_pages);
    for (size_t i = 0; i < huge_pages; ++i) pages[i] = block + i * page_bytes;
    return pages;
}

}  // namespace

void MoveReport::add(const MoveReport& other) {
    moved += other.moved;
    already += other.already;
    failed += other.failed;
    for (auto [reason, pages] : other.reasons) reasons[reason] += pages;
    nodes.insert(nodes.end(), other.nodes.begin(), other.nodes.end());
    batches.insert(batches.end(), other.batches.begin(), other.batches.end());
}

MoveReport Mover::move_huge(pid_t pid, std::span<const uint64_t> blocks, int target) {
    MoveReport report;
    for (uint64_t block : blocks) report.add(move(pid, small_pages(block), target));
    return report;
}

double KernelMover::steady_now_s() { return libpool::steady_now_s(); }

std::vector<int> where(Kernel& kernel, pid_t pid, std::span<const uint64_t> pages) {
    std::vector<int> status(pages.size(), unwritten);
    if (pages.empty()) return status;
    long rc = kernel.move_pages(pid, pages, {}, status);
    if (rc < 0) {
        std::fill(status.begin(), status.end(), static_cast<int>(rc));
        return status;
    }
    for (size_t i = 0; i < pages.size(); ++i) {
        if (status[i] != unwritten) continue;
        rc = kernel.move_pages(pid, pages.subspan(i, 1), {}, {&status[i], 1});
        if (rc < 0) status[i] = static_cast<int>(rc);
        if (status[i] == unwritten) status[i] = -EAGAIN;
    }
    return status;
}

MoveReport KernelMover::move(pid_t pid, std::span<const uint64_t> pages, int target) {
    MoveReport report;
    while (!pages.empty()) {
        size_t count = std::min(pages.size(), move_batch);
        report.add(move_batch_of(pid, pages.first(count), target));
        pages = pages.subspan(count);
    }
    return report;
}

MoveReport KernelMover::move_batch_of(pid_t pid, std::span<const uint64_t> pages, int target) {
    const double start_s = now_s_();
    unsigned calls = 0;
    std::vector<int> before = where(kernel_, pid, pages);
    std::vector<int> after = before;
    std::vector<int> errors(pages.size(), 0);

    std::vector<size_t> left;  // indices still to be moved
    for (size_t i = 0; i < pages.size(); ++i) {
        if (before[i] >= 0 && before[i] != target) left.push_back(i);
    }
    for (int tries = 0; tries < tries_limit && !left.empty(); ++tries) {
        std::vector<uint64_t> addresses;
        for (size_t i : left) addresses.push_back(pages[i]);
        std::vector<int> targets(left.size(), target);
        std::vector<int> status(left.size(), unwritten);
        long rc = kernel_.move_pages(pid, addresses, targets, status);
        ++calls;

        // Status entries say what the kernel tried; where the pages are now is asked, always:
        // entries may be unwritten, stale, or -EBUSY for a page that moved as part of a huge one.
        std::vector<int> now = where(kernel_, pid, addresses);
        std::vector<size_t> untried;
        for (size_t k = 0; k < left.size(); ++k) {
            size_t i = left[k];
            after[i] = now[k];
            if (rc < 0) {
                errors[i] = static_cast<int>(-rc);
            } else if (now[k] != target && now[k] >= 0) {
                errors[i] = status[k] < 0 && status[k] != unwritten ? -status[k] : 0;
                if (status[k] == unwritten) untried.push_back(i);
            }
        }
        bool progress = untried.size() < left.size();
        if (rc < 0 || !progress) break;
        left = std::move(untried);
    }
    MoveReport report = sort_out(std::move(before), std::move(after), errors, target);
    report.batches = {{pages.size(), report.moved, report.failed, calls, now_s_() - start_s}};
    return report;
}

MoveReport KernelMover::move_huge(pid_t pid, std::span<const uint64_t> blocks, int target) {
    MoveReport report;
    for (uint64_t block : blocks) report.add(move_one_huge(pid, block, target));
    return report;
}

// Where its small pages are is asked before and after: it may have been split meanwhile.
MoveReport KernelMover::move_one_huge(pid_t pid, uint64_t block, int target) {
    const double start_s = now_s_();
    const std::vector<uint64_t> pages = small_pages(block);
    std::vector<int> before = where(kernel_, pid, pages);
    auto off_target = [target](int node) { return node >= 0 && node != target; };
    auto first = std::find_if(before.begin(), before.end(), off_target);
    if (first == before.end()) return move_batch_of(pid, pages, target);  // nothing to move: told

    const auto asked = size_t(first - before.begin());
    int status = unwritten;
    long rc = kernel_.move_pages(pid, {&pages[asked], 1}, {&target, 1}, {&status, 1});
    std::vector<int> after = where(kernel_, pid, pages);
    const bool went = after[asked] == target;
    const bool whole = std::none_of(after.begin(), after.end(), off_target);
    const int why = rc < 0 ? int(-rc) : status < 0 && status != unwritten ? -status : 0;
    std::vector<int> errors(huge_pages, why);
    MoveReport report = sort_out(std::move(before), std::move(after), errors, target);
    report.batches = {{huge_pages, report.moved, report.failed, 1, now_s_() - start_s}};
    if (!went || whole) return report;

    MoveReport rest = move_batch_of(pid, pages, target);  // what went is `already` there to it
    rest.moved += report.moved;
    rest.already = report.already;
    rest.batches.insert(rest.batches.begin(), report.batches.begin(), report.batches.end());
    return rest;
}

MoveReport DryMover::move(pid_t pid, std::span<const uint64_t> pages, int target) {
    std::vector<int> now = where(kernel_, pid, pages);
    std::vector<int> errors(pages.size(), ECANCELED);
    return sort_out(now, now, errors, target);
}

}  // namespace libpool
