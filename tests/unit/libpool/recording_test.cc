// SPDX-License-Identifier: Apache-2.0
#include "recording.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <sstream>

namespace libpool {
namespace {

RC_GTEST_PROP(Recording, WhatIsWrittenIsRead, ()) {
    auto codes = *rc::gen::nonEmpty(rc::gen::container<std::vector<int>>(rc::gen::inRange(0, 3)));
    RecordedWindow window{4, *rc::gen::inRange<uint64_t>(0, 1 << 30), {}};
    RecordedNodes nodes{4, {}};
    for (int code : codes) {
        window.seen.push_back(static_cast<Seen>(code));
        nodes.nodes.push_back(code - 1);
    }
    std::stringstream file;
    write_header(file);
    write_line(file, RecordedRange{4, codes.size()});
    write_line(file, nodes);
    write_line(file, window);
    auto lines = read_recording(file);
    RC_ASSERT(lines.has_value());
    RC_ASSERT(lines->size() == 3u);
    RC_ASSERT(std::get<RecordedNodes>((*lines)[1]).nodes == nodes.nodes);
    RC_ASSERT(std::get<RecordedWindow>((*lines)[2]).seen == window.seen);
    RC_ASSERT(std::get<RecordedWindow>((*lines)[2]).window_ns == window.window_ns);
}

TEST(Recording, TheExampleOfTheHeaderReadsAndReplays) {
    std::istringstream file(
        "libpool-recording 1\nrange 0 8\n# placed\nnodes 0 1*6 0*2\nwindow 0 16000000 x2 .5 -1\n");
    auto lines = read_recording(file);
    ASSERT_TRUE(lines) << lines.error().sentence;
    RecordedSampler sampler(*lines, 0);
    EXPECT_EQ(sampler.first_nodes(), (std::vector<int>{1, 1, 1, 1, 1, 1, 0, 0}));
    Range range{0, 8};
    std::vector<Seen> seen;
    ASSERT_TRUE(sampler.add(range));
    ASSERT_TRUE(sampler.arm(range));
    EXPECT_DOUBLE_EQ(sampler.scan(range, seen).value(), 0.016);
    EXPECT_EQ(seen[1], Seen::touched);
    EXPECT_EQ(seen[2], Seen::idle);
    EXPECT_EQ(seen[7], Seen::absent);
    auto at_end = sampler.arm(range);
    ASSERT_FALSE(at_end);
    EXPECT_EQ(at_end.error().sentence, "the recording ends after 1 windows");
    EXPECT_FALSE(sampler.add({0, 9}));
}

TEST(Recording, BadLinesAreNamedByNumber) {
    const char* bad[] = {
        "window 0 5 x8",             // before its range
        "range 0 0",                 // no pages
        "range 0 99999999",          // too many
        "range 0 8\nwindow 0 5 x7",  // too short
        "range 0 8\nwindow 0 5 x9",  // too long
        "range 0 8\nwindow 0 5 y8",  // no such state
        "range 0 8\nnodes 0 1*8z",   // rubbish behind
        "range 0 8\nwindow 0",       // no length
        "frange 0 8",
    };
    for (const char* lines : bad) {
        std::istringstream file(std::string("libpool-recording 1\n") + lines + "\n");
        auto read = read_recording(file);
        ASSERT_FALSE(read) << lines;
        EXPECT_EQ(read.error().sentence.find("line "), 0u) << read.error().sentence;
    }
    std::istringstream other("recording of something else\n");
    EXPECT_FALSE(read_recording(other));
}

}  // namespace
}  // namespace libpool
