// SPDX-License-Identifier: Apache-2.0
#include "run/ranges.h"

#include <algorithm>
#include <optional>

#include "uapi.h"

namespace libpool::run {

namespace {

// Neighbours below this become one range: a heap that grows bit by bit would be many.
constexpr uint64_t joined_below_bytes = 2 << 20;

std::optional<LeftOut> reason_against(const tier::Mapping& mapping) {
    if (mapping.name.starts_with("/anon_hugepage")) return LeftOut::hugetlb;
    if (mapping.shared) return LeftOut::shared;
    if (mapping.inode != 0 || mapping.name.starts_with('/')) return LeftOut::file;
    if (!mapping.readable && !mapping.writable) return LeftOut::no_access;
    if (!mapping.readable || !mapping.writable) return LeftOut::read_only;
    if (!tier::is_private_memory(mapping)) return LeftOut::special;
    return std::nullopt;
}

uint64_t overlap(uint64_t a_start, uint64_t a_end, uint64_t b_start, uint64_t b_end) {
    uint64_t start = std::max(a_start, b_start), end = std::min(a_end, b_end);
    return start < end ? end - start : 0;
}

AddressRun run_between(uint64_t start, uint64_t end) { return {start, (end - start) / page_bytes}; }

}  // namespace

const char* name_of(LeftOut why) {
    constexpr const char* names[left_out_kinds] = {"file",      "shared",  "hugetlb", "no access",
                                                   "read-only", "special", "small",   "sparse",
                                                   "ours",      "surplus"};
    return names[size_t(why)];
}

std::string Selection::describe() const {
    std::string said;
    for (size_t i = 0; i < left_out_kinds; ++i) {
        if (!left_out_mappings[i]) continue;
        said += text("%s%llu %s (%llu KiB)", said.empty() ? "left out: " : ", ",
                     static_cast<unsigned long long>(left_out_mappings[i]), name_of(LeftOut(i)),
                     static_cast<unsigned long long>(left_out_bytes[i] / 1024));
    }
    return said;
}

Selection select(std::span<const tier::Mapping> mappings, std::span<const AddressRun> ours,
                 uint64_t min_bytes, uint64_t memory_bytes) {
    Selection selection;
    for (const tier::Mapping& mapping : mappings) {
        auto why = reason_against(mapping);
        for (const AddressRun& own : ours) {
            if (overlap(mapping.start, mapping.end, own.start, own.end())) why = LeftOut::ours;
        }
        if (!why && mapping.bytes() < min_bytes) why = LeftOut::small;
        if (!why && tier::is_sparse(mapping, memory_bytes)) why = LeftOut::sparse;
        if (!why && selection.mappings.size() >= range_limit) why = LeftOut::surplus;
        if (!why) {
            selection.mappings.push_back(run_between(mapping.start, mapping.end));
            continue;
        }
        ++selection.left_out_mappings[size_t(*why)];
        selection.left_out_bytes[size_t(*why)] += mapping.bytes();
    }
    return selection;
}

RangeBook::Change RangeBook::update(std::span<const AddressRun> mappings) {
    Change change;
    auto remove = [&](auto range) {
        change.removed.push_back(run_between(range->first, range->second));
        return ranges_.erase(range);
    };
    // The first range that ends behind an address.
    auto behind = [&](uint64_t address) {
        auto range = ranges_.upper_bound(address);
        if (range != ranges_.begin() && std::prev(range)->second > address) --range;
        return range;
    };

    for (auto range = ranges_.begin(); range != ranges_.end();) {
        auto [start, end] = *range;
        uint64_t left = 0;
        auto mapping = std::ranges::upper_bound(mappings, start, {}, &AddressRun::end);
        for (; mapping != mappings.end() && mapping->start < end; ++mapping) {
            left += overlap(mapping->start, mapping->end(), start, end);
        }
        range = left * 2 < end - start ? remove(range) : std::next(range);
    }
    // A mapping that is only partly covered has grown, or is another one: it is taken anew, whole.
    // That may uncover a part of its neighbours.
    for (bool again = true; again;) {
        again = false;
        for (const AddressRun& mapping : mappings) {
            uint64_t covered = 0;
            for (auto range = behind(mapping.start);
                 range != ranges_.end() && range->first < mapping.end(); ++range) {
                covered += overlap(mapping.start, mapping.end(), range->first, range->second);
            }
            if (covered == 0 || covered == mapping.end() - mapping.start) continue;
            for (auto range = behind(mapping.start);
                 range != ranges_.end() && range->first < mapping.end();) {
                range = remove(range);
            }
            again = true;
        }
    }
    for (const AddressRun& mapping : mappings) {
        auto found = behind(mapping.start);
        if (found != ranges_.end() && found->first < mapping.end()) continue;
        uint64_t start = mapping.start;
        if (found != ranges_.begin()) {
            auto before = std::prev(found);
            if (before->second == start && before->second - before->first < joined_below_bytes) {
                start = before->first;
                bool is_new = !change.added.empty() && change.added.back().start == start;
                if (is_new)
                    change.added.pop_back();
                else
                    change.removed.push_back(run_between(start, before->second));
                ranges_.erase(before);
            }
        }
        ranges_[start] = mapping.end();
        change.added.push_back(run_between(start, mapping.end()));
    }
    return change;
}

std::vector<AddressRun> RangeBook::ranges() const {
    std::vector<AddressRun> runs;
    for (auto [start, end] : ranges_) runs.push_back(run_between(start, end));
    return runs;
}

}  // namespace libpool::run
