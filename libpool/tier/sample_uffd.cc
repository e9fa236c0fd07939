// SPDX-License-Identifier: Apache-2.0
#include "tier/sample_uffd.h"

#include <sys/mman.h>

#include <algorithm>
#include <array>

#include "apart.h"
#include "steady.h"
#include "uapi.h"

namespace libpool::tier {

namespace {

constexpr uint64_t huge_bytes = block_pages * page_bytes;
// Absent pages between present ones that are protected with them, to save calls.
constexpr uint64_t span_gap_bytes = 16 * page_bytes;

// Did a call fail because the program has closed the descriptor, or put a file of its own there?
bool was_closed(const Descriptor& file, int code) { return code == EBADF || !file.still_ours(); }

AddressRun between(uint64_t start, uint64_t end) { return {start, (end - start) / page_bytes}; }

std::span<Sight> sights_of(std::span<Sight> sights, const AddressRun& run, uint64_t start,
                           uint64_t end) {
    return sights.subspan((start - run.start) / page_bytes, (end - start) / page_bytes);
}

Error closed_error() { return {EBADF, "the program has closed the userfaultfd of its tracking"}; }

}  // namespace

Result<void> UffdSampler::add(const AddressRun& range) {
    if (auto open = ensure_open(); !open) return open;
    int code = register_pages(uffd_, kind_, range);
    if (code == 0) {
        ranges_[range.start] = range.end();
        return {};
    }
    const char* hint = code == EBUSY ? " (another userfaultfd has it)"
                       : code == EINVAL
                           ? " (it must be mapped, readable, and not of a kind userfaultfd refuses)"
                           : "";
    return fail(code, "tracking %llu pages at 0x%llx: %s%s",
                static_cast<unsigned long long>(range.pages),
                static_cast<unsigned long long>(range.start), errno_text(code).c_str(), hint);
}

void UffdSampler::remove(const AddressRun& range) {
    // Whole ranges or parts of them; what was cut away from a range stays added.
    auto at = ranges_.upper_bound(range.start);
    if (at != ranges_.begin()) --at;
    while (at != ranges_.end() && at->first < range.end()) {
        auto [start, end] = *at;
        at = end > range.start ? ranges_.erase(at) : std::next(at);
        if (end <= range.start) continue;
        if (start < range.start) ranges_[start] = range.start;
        if (end > range.end()) ranges_[range.end()] = end;
    }
    if (!uffd_.still_ours() || unregister_pages(uffd_, range) == 0) return;
    // Some of it is of a kind that cannot be registered by now: mapping by mapping.
    auto mappings = read_mappings(pid_);
    if (!mappings) return;  // it has ended
    for (const Mapping& mapping : *mappings) {
        uint64_t start = std::max(mapping.start, range.start);
        uint64_t end = std::min(mapping.end, range.end());
        if (start < end) unregister_pages(uffd_, between(start, end));
    }
}

Result<void> UffdSampler::ensure_open() {
    if (!pagemap_.still_ours()) {
        auto pagemap = open_pagemap(pid_);
        if (!pagemap) return std::unexpected(pagemap.error());
        pagemap_ = std::move(*pagemap);
    }
    if (uffd_.still_ours()) return {};
    if (pid_ != 0) return std::unexpected(closed_error());
    auto uffd = open_uffd(kind_);
    if (!uffd) {
        return fail(uffd.error().code, "%s, and there is no new one: %s",
                    closed_error().sentence.c_str(), uffd.error().sentence.c_str());
    }
    uffd_ = std::move(*uffd);
    for (auto [start, end] : ranges_) register_pages(uffd_, kind_, between(start, end));
    return {};  // what could not be registered is taken in, or absent, when it is armed
}

Result<void> UffdSampler::arm(std::span<const AddressRun> runs) {
    if (auto open = ensure_open(); !open) return open;
    runs_.assign(runs.begin(), runs.end());
    spans_.clear();
    mappings_.reset();
    uint64_t pages = 0;
    for (const AddressRun& run : runs_) pages += run.pages;
    sights_.assign(pages, page_absent);

    double start_s = steady_now_s();
    size_t first_sight = 0;
    for (size_t i = 0; i < runs_.size(); first_sight += runs_[i++].pages) {
        auto armed = arm_run(i, first_sight);
        if (armed) continue;
        // Closed by the program just now: the rest is absent in this cycle, the next one has new
        // descriptors.
        if (was_closed(pagemap_, armed.error().code) || !uffd_.still_ours()) break;
        return armed;
    }
    // Pages are armed and looked at in the same order: between the middles is true of the mean
    // page.
    armed_at_s_ = (start_s + steady_now_s()) / 2;
    return {};
}

Result<void> UffdSampler::arm_run(size_t which, size_t first_sight) {
    const AddressRun& run = runs_[which];
    auto scanned = scan_pages(pagemap_, run, PAGE_IS_HUGE | PAGE_IS_PFNZERO, regions_);
    if (!scanned) {
        if (scanned.error().code == ESRCH) return {};  // ended: all of it is absent
        return scanned;
    }
    Span span{which, first_sight, {}};
    bool open = true;
    auto flush = [&] {
        if (span.pages.pages) {
            spans_.push_back(span);
            open = open && protect(span, kind_.protect_mode);
        }
        span.pages = {};
    };
    for (Region region : regions_) {
        if (!(region.categories & PAGE_IS_PRESENT) || region.categories & PAGE_IS_PFNZERO) continue;
        if (region.categories & PAGE_IS_HUGE) {
            // A huge page that is only partly asked for stays whole and unarmed.
            uint64_t start = (region.start + huge_bytes - 1) & ~(huge_bytes - 1);
            uint64_t end = region.end & ~(huge_bytes - 1);
            if (start != region.start) flush();
            if (start >= end) continue;
            region.start = start;
            region.end = end;
        }
        if (span.pages.pages && region.start - span.pages.end() > span_gap_bytes) flush();
        if (!span.pages.pages) span.pages.start = region.start;
        span.pages.pages = (region.end - span.pages.start) / page_bytes;
        std::ranges::fill(part(span, region.start, region.end), not_touched);
    }
    flush();
    if (!open) return std::unexpected(closed_error());
    return {};
}

std::span<Sight> UffdSampler::part(const Span& of, uint64_t start, uint64_t end) {
    size_t first = of.first_sight + (start - runs_[of.run].start) / page_bytes;
    return std::span(sights_).subspan(first, (end - start) / page_bytes);
}

bool UffdSampler::protect(const Span& span, uint64_t mode) {
    const AddressRun& pages = span.pages;
    int code = protect_pages(uffd_, kind_, pages, mode);
    if (code == 0) return true;
    if (code != 0 && was_closed(uffd_, code)) return false;
    auto absent = [&](uint64_t start, uint64_t end) {
        if (start < end) std::ranges::fill(part(span, start, end), page_absent);
    };
    if (!mappings_) mappings_ = read_mappings(pid_).value_or(std::vector<Mapping>());
    uint64_t at = pages.start;
    auto mapping = std::ranges::upper_bound(*mappings_, at, {}, &Mapping::end);
    for (; mapping != mappings_->end() && mapping->start < pages.end(); ++mapping) {
        uint64_t start = std::max(mapping->start, at), end = std::min(mapping->end, pages.end());
        absent(at, start);
        at = end;
        code = protect_pages(uffd_, kind_, between(start, end), mode);
        if (code == ENOENT && mode && take_in(*mapping)) {
            code = protect_pages(uffd_, kind_, between(start, end), mode);
        }
        if (code != 0 && was_closed(uffd_, code)) return false;
        if (code != 0) absent(start, end);
    }
    absent(at, pages.end());
    return true;
}

// A mapping is registered whole or not at all: a border in its middle would split it, and the
// program's mremap() of the whole would fail.
bool UffdSampler::take_in(const Mapping& mapping) {
    auto range = ranges_.upper_bound(mapping.start);
    if (range == ranges_.begin() || std::prev(range)->second < mapping.end) return false;
    if (!is_private_memory(mapping)) return false;
    return register_pages(uffd_, kind_, between(mapping.start, mapping.end)) == 0;
}

Result<Look> UffdSampler::look(Sight rung) {
    Look look;
    double start_s = steady_now_s();
    if (!uffd_.still_ours()) {
        // All protection went with it: what was not seen before will not be seen in this cycle.
        std::ranges::replace(sights_, not_touched, page_absent);
    }
    std::span<Sight> rest = sights_;
    for (const AddressRun& run : runs_) {
        if (auto seen = see(run, rest.first(run.pages), rung, look); !seen) {
            return std::unexpected(seen.error());
        }
        rest = rest.subspan(run.pages);
    }
    if (!uffd_.still_ours()) {
        for (Sight& sight : sights_) {
            if (sight == rung || sight == not_touched) sight = page_absent;
        }
    }
    look.at_s = (start_s + steady_now_s()) / 2 - armed_at_s_;
    look.sights = sights_;
    return look;
}

Result<void> UffdSampler::see(const AddressRun& run, std::span<Sight> sights, Sight rung,
                              Look& look) {
    auto scanned = scan_pages(pagemap_, run, kind_.touched_category | PAGE_IS_HUGE, regions_);
    if (!scanned && scanned.error().code != ESRCH) {
        // The page map was closed: the cycle is lost, the next one begins with a new one.
        if (!was_closed(pagemap_, scanned.error().code)) return scanned;
        std::ranges::replace(sights, not_touched, page_absent);
        return {};
    }
    uint64_t at = run.start;
    for (const Region& region : regions_) {
        std::ranges::replace(sights_of(sights, run, at, region.start), not_touched, page_absent);
        at = region.end;
        if (region.categories & PAGE_IS_PRESENT && region.categories & kind_.touched_category) {
            std::ranges::replace(sights_of(sights, run, region.start, region.end), not_touched,
                                 rung);
        }
        if (region.categories & PAGE_IS_HUGE) {
            for (uint64_t block = region.start & ~(huge_bytes - 1); block < region.end;
                 block += huge_bytes) {
                if (look.huge.empty() || look.huge.back() != block) look.huge.push_back(block);
            }
        }
    }
    std::ranges::replace(sights_of(sights, run, at, run.end()), not_touched, page_absent);
    return {};
}

void UffdSampler::disarm() {
    mappings_.reset();
    bool open = uffd_.still_ours();
    for (const Span& span : spans_) {
        auto sights = part(span, span.pages.start, span.pages.end());
        if (std::ranges::find(sights, not_touched) == sights.end()) continue;
        open = open && protect(span, 0);
    }
    spans_.clear();
    runs_.clear();
    sights_.clear();
}

SamplerInfo UffdSampler::info() const {
    return {kind_.name, text("userfaultfd %s, %.1f us a fault", kind_.what, costs_.fault_ns / 1000),
            costs_,     kind_.writes_only,
            false,      true};
}

// ---- calibration --------------------------------------------------------------------------------

Result<void> UffdSampler::calibrate() {
    constexpr uint64_t bytes = huge_bytes;
    void* memory = map_apart(bytes, PROT_READ | PROT_WRITE);
    if (memory == MAP_FAILED) return fail(errno, "mmap of 2 MiB: %s", errno_text(errno).c_str());
    madvise(memory, bytes, MADV_NOHUGEPAGE);
    AddressRun pages{reinterpret_cast<uint64_t>(memory), bytes / page_bytes};
    Result<void> result = add(pages);
    // The least of several rounds: what comes on top is somebody else's time.
    for (int round = 0; result && round < 3; ++round) {
        auto costs = try_out(pages);
        if (!costs) {
            result = std::unexpected(costs.error());
        } else if (round == 0) {
            costs_ = *costs;
        } else {
            costs_.arm_page_ns = std::min(costs_.arm_page_ns, costs->arm_page_ns);
            costs_.arm_run_ns = std::min(costs_.arm_run_ns, costs->arm_run_ns);
            costs_.fault_ns = std::min(costs_.fault_ns, costs->fault_ns);
            costs_.look_page_ns = std::min(costs_.look_page_ns, costs->look_page_ns);
        }
    }
    remove(pages);
    munmap(memory, bytes);
    return result;
}

Result<SampleCosts> UffdSampler::try_out(const AddressRun& pages) {
    constexpr uint64_t parts = 64, touched_every = 8;
    auto bytes = reinterpret_cast<volatile char*>(pages.start);
    for (uint64_t i = 0; i < pages.pages; ++i) bytes[i * page_bytes] = 1;
    auto cpu_ns = [last = clock_s(CLOCK_THREAD_CPUTIME_ID)]() mutable {
        double before = std::exchange(last, clock_s(CLOCK_THREAD_CPUTIME_ID));
        return (last - before) * 1e9;
    };

    std::array<AddressRun, parts> runs;
    for (uint64_t i = 0; i < parts; ++i) {
        runs[i] = {pages.start + i * (pages.pages / parts) * page_bytes, pages.pages / parts};
    }
    cpu_ns();
    if (auto armed = arm(runs); !armed) return std::unexpected(armed.error());
    double parts_ns = cpu_ns();
    disarm();
    cpu_ns();
    if (auto armed = arm({&pages, 1}); !armed) return std::unexpected(armed.error());
    double whole_ns = cpu_ns();
    for (uint64_t i = 0; i < pages.pages; i += touched_every) {
        if (kind_.writes_only)
            bytes[i * page_bytes] = 2;
        else
            (void)bytes[i * page_bytes];
    }
    double touch_ns = cpu_ns();
    auto look = this->look(0);
    double look_ns = cpu_ns();
    if (!look) return std::unexpected(look.error());
    disarm();

    for (uint64_t i = 0; i < pages.pages; ++i) {
        Sight expected = i % touched_every == 0 ? Sight(0) : not_touched;
        if (look->sights[i] != expected) {
            return fail(ENOTSUP, "%s misreports page %llu of a trial: not usable", kind_.what,
                        static_cast<unsigned long long>(i));
        }
    }
    SampleCosts costs;
    costs.arm_run_ns = std::max(0.0, (parts_ns - whole_ns) / double(parts - 1));
    // Of one call for so many pages at least half is theirs, whatever the noise says.
    costs.arm_page_ns = std::max(whole_ns / 2, whole_ns - costs.arm_run_ns) / double(pages.pages);
    costs.fault_ns = touch_ns / double(pages.pages / touched_every);
    costs.look_page_ns = look_ns / double(pages.pages);
    return costs;
}

Result<std::unique_ptr<Sampler>> make_uffd_sampler(const UffdKind& kind) {
    auto uffd = open_uffd(kind);
    if (!uffd) return std::unexpected(uffd.error());
    auto pagemap = open_pagemap(0);
    if (!pagemap) return std::unexpected(pagemap.error());
    auto sampler = std::make_unique<UffdSampler>(kind, 0, std::move(*uffd), std::move(*pagemap));
    if (auto tried = sampler->calibrate(); !tried) return std::unexpected(tried.error());
    return sampler;
}

Result<std::unique_ptr<Sampler>> make_uffd_sampler(const UffdKind& kind, pid_t pid,
                                                   Descriptor uffd) {
    auto own = make_uffd_sampler(kind);  // what things cost is the machine's affair
    if (!own) return std::unexpected(own.error());
    auto pagemap = open_pagemap(pid);
    if (!pagemap) return std::unexpected(pagemap.error());
    auto sampler = std::make_unique<UffdSampler>(kind, pid, std::move(uffd), std::move(*pagemap));
    sampler->take_costs((*own)->info());
    return sampler;
}

}  // namespace libpool::tier
