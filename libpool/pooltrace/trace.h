// SPDX-License-Identifier: Apache-2.0
// A trace: how often each page was accessed in each epoch. Written by the TCG plugin, by
// `pooltier record` and by generators; as text:
//
//   trace = "pooltrace 1" NL "pages" N NL "epoch_ns" N NL [ "home" { place ["*" repeat] } NL ]
//           { "#" … NL } { epoch } [ "end" N NL ]
//   epoch = "epoch" { count [ "*" repeat ] } NL      what is missing at the end is 0
//   place = "n" | "f" | "-"                          where the page was first
//   end   = how many epochs there are
//
// A page is born in the first epoch in which its count is not 0. Comments may also stand between
// epochs. A trace without its end was cut off (or written before there was one): it is read as far
// as its lines are whole, and says so.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "error.h"
#include "tier/policy.h"

namespace libpool::tier::trace {

// What a text may ask for: a few bytes of it can stand for any number of counts.
struct Limits {
    uint64_t pages = 1u << 24;                // 64 GiB
    uint64_t epoch_ns = 3'600'000'000'000;    // one hour
    uint64_t cells = uint64_t{1} << 28;       // pages × epochs: 1 GiB of counts
    uint64_t file_bytes = uint64_t{4} << 30;  // more than the longest text of so many counts
    double patience_s = 3;                    // for the first byte out of a pipe
};

struct Trace {
    uint32_t pages = 0;
    uint64_t epoch_ns = 0;
    std::vector<Place> home;       // empty, or one a page
    std::vector<uint32_t> counts;  // epoch by epoch, `pages` each
    bool whole = true;             // its end was there

    size_t epochs() const { return pages == 0 ? 0 : counts.size() / pages; }
    std::span<const uint32_t> epoch(size_t number) const {
        return {counts.data() + number * pages, pages};
    }
    double epoch_s() const { return double(epoch_ns) * 1e-9; }
    uint64_t accesses() const;
};

// Of each page the epoch in which it comes into being; epochs(): never.
std::vector<uint32_t> births(const Trace& trace);

// "", or the sentence for people on a trace whose end is missing.
std::string cut_off(const Trace& trace, const std::string& path);

Result<Trace> parse(std::string_view text, const Limits& limits = {});
std::string print(const Trace& trace);

// A file, or a pipe that somebody writes to.
Result<Trace> read_trace(const std::string& path, const Limits& limits = {});
Result<void> write_file(const std::string& path, std::string_view text);
// Could write_file() do it, as far as can be told? Changes nothing, and leaves no file behind.
Result<void> check_writable(const std::string& path);

}  // namespace libpool::tier::trace
