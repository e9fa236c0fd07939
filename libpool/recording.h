// SPDX-License-Identifier: Apache-2.0
// What a sampler saw, as text: written while a program runs, replayed by tests and, later, by other
// policies. One range per recording line, runs instead of pages:
//
//   recording = "libpool-recording 1" { line }
//   line      = "range" id pages            a range that is tracked from here on
//             | "nodes" id { node "*" n }   where its pages are; -1 = nowhere
//             | "window" id ns { state n }  one window; state: "-" absent, "." idle, "x" touched
//             | "#" …                       a comment
//
//   libpool-recording 1
//   range 0 8
//   nodes 0 1*6 0*2
//   window 0 16000000 x2 .5 -1
#pragma once

#include <cstdint>
#include <istream>
#include <ostream>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "sampler.h"

namespace libpool {

struct RecordedRange {
    int id;
    uint64_t pages;
};
struct RecordedNodes {
    int id;
    std::vector<int> nodes;
};
struct RecordedWindow {
    int id;
    uint64_t window_ns;
    std::vector<Seen> seen;
};
using RecordedLine = std::variant<RecordedRange, RecordedNodes, RecordedWindow>;

// The header and lines, one function each.
void write_header(std::ostream& out);
void write_line(std::ostream& out, const RecordedLine& line);

// EINVAL with the line number for anything that is not the grammar above, for a length that differs
// from the range's, and for ranges above 2^24 pages.
Result<std::vector<RecordedLine>> read_recording(std::istream& in);

// Replays the windows of one range: each scan gives the next one; ENODATA at the end.
class RecordedSampler final : public Sampler {
  public:
    RecordedSampler(std::span<const RecordedLine> lines, int id);

    Result<void> add(const Range& range) override;
    void remove(const Range&) override {}
    Result<void> arm(const Range& range) override;
    Result<double> scan(const Range& range, std::vector<Seen>& seen) override;
    double fault_ns() const override { return 0; }
    std::string describe() const override { return "a recording"; }

    uint64_t pages() const { return pages_; }
    const std::vector<int>& first_nodes() const { return first_nodes_; }

  private:
    uint64_t pages_ = 0;
    std::vector<int> first_nodes_;
    std::vector<RecordedWindow> windows_;
    size_t next_ = 0;
};

}  // namespace libpool
