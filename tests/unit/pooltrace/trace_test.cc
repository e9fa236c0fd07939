// SPDX-License-Identifier: Apache-2.0
#include "pooltrace/trace.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

// For libFuzzer (clang -fsanitize=fuzzer, with pooltrace_core); here it is fed with mutations.
// Small limits: what is looked for is wrong memory and wrong numbers, not great amounts.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    using namespace libpool::tier::trace;
    constexpr Limits small{.pages = 1000, .epoch_ns = 1000, .cells = 10000, .file_bytes = 1 << 20};
    std::string_view text(reinterpret_cast<const char*>(data), size);
    auto parsed = parse(text, small);
    if (!parsed) return parsed.error().sentence.starts_with("line ") ? 0 : (std::abort(), 1);
    auto again = parse(print(*parsed), small);
    if (!again || again->counts != parsed->counts || again->home != parsed->home) std::abort();
    return 0;
}

namespace libpool::tier::trace {
namespace {

std::string wrong(std::string_view text, const Limits& limits = {}) {
    auto parsed = parse(text, limits);
    return parsed ? "parsed" : parsed.error().sentence;
}

TEST(TraceText, IsReadAsTheGrammarSays) {
    auto trace = parse(
        "pooltrace 1\npages 6\nepoch_ns 1000\nhome n*2 f -\n# from a guest\nepoch 1 0*2 7\n"
        "epoch\nepoch 4294967295*6\n");
    ASSERT_TRUE(trace) << trace.error().sentence;
    EXPECT_EQ(trace->pages, 6u);
    EXPECT_EQ(trace->epoch_ns, 1000u);
    ASSERT_EQ(trace->epochs(), 3u);
    EXPECT_EQ(std::vector(trace->epoch(0).begin(), trace->epoch(0).end()),
              (std::vector<uint32_t>{1, 0, 0, 7, 0, 0}));
    EXPECT_EQ(trace->epoch(2)[5], 4294967295u);
    EXPECT_EQ(trace->home, (std::vector{Place::near, Place::near, Place::far, Place::nowhere,
                                        Place::nowhere, Place::nowhere}));
    EXPECT_EQ(trace->accesses(), 8 + 6 * uint64_t{4294967295});
}

TEST(TraceText, IsWrittenShort) {
    auto trace =
        parse("pooltrace 1\npages 5\nepoch_ns 10\nhome f*5\nepoch 3 3 3\nepoch 0 0 1\nend 2\n");
    ASSERT_TRUE(trace);
    EXPECT_EQ(print(*trace),
              "pooltrace 1\npages 5\nepoch_ns 10\nhome f*5\nepoch 3*3\nepoch 0*2 1\nend 2\n");
}

// Wherever it is cut: no error that says something else, no number that is half of one.
TEST(TraceText, WhatWasCutOffIsSaid) {
    const std::string whole = "pooltrace 1\npages 2\nepoch_ns 10\nepoch 123 45\nepoch 678\nend 2\n";
    ASSERT_TRUE(parse(whole));
    EXPECT_TRUE(parse(whole)->whole);
    EXPECT_TRUE(parse(whole + "# a remark\n")->whole);
    EXPECT_EQ(cut_off(*parse(whole), "a.trace"), "");
    const size_t first_whole = whole.find("epoch 678"), second_whole = whole.find("end 2");
    for (size_t bytes = first_whole; bytes < whole.size() - 1; ++bytes) {
        SCOPED_TRACE(bytes);
        auto trace = parse(whole.substr(0, bytes));
        ASSERT_TRUE(trace) << trace.error().sentence;
        EXPECT_EQ(trace->epochs(), bytes >= second_whole ? 2u : 1u);
        EXPECT_EQ(trace->accesses(), bytes >= second_whole ? 846u : 168u);
        // "end 2" is whole without its newline, too.
        EXPECT_EQ(trace->whole, bytes == whole.size() - 1);
    }
    EXPECT_EQ(cut_off(*parse(whole.substr(0, second_whole)), "a.trace"),
              "a.trace has no end: it was cut off, or written by a version that wrote none; its "
              "first 2 epochs are taken");
    EXPECT_EQ(wrong(whole.substr(0, first_whole - 1)),
              "line 4 of the trace: the trace ends without an epoch.");
}

TEST(TraceText, AnEndThatIsNone) {
    const std::string head = "pooltrace 1\npages 2\nepoch_ns 10\nepoch 1\n";
    EXPECT_EQ(wrong(head + "end 2\n"),
              "line 5 of the trace: there are 1 epochs, and the end says 2.");
    EXPECT_EQ(wrong(head + "end\n"), "line 5 of the trace: here must stand \"end N\".");
    EXPECT_EQ(wrong(head + "end 1\nepoch 2\n"),
              "line 6 of the trace: the trace goes on behind its end.");
}

TEST(TraceText, FaultsAreNamedWithTheirLine) {
    const std::string head = "pooltrace 1\npages 4\nepoch_ns 10\n";
    EXPECT_EQ(wrong(""), "line 1 of the trace: here must stand \"pooltrace 1\".");
    EXPECT_EQ(wrong("pooltrace 2\n"), "line 1 of the trace: here must stand \"pooltrace 1\".");
    EXPECT_EQ(wrong("pooltrace 1\n"),
              "line 1 of the trace: the text ends where \"pages N\" must stand.");
    EXPECT_EQ(wrong("pooltrace 1\npages 0\n"),
              "line 2 of the trace: pages is 0, and can be 1 to 16777216.");
    EXPECT_EQ(wrong("pooltrace 1\npages 99999999\n"),
              "line 2 of the trace: pages is 99999999, and can be 1 to 16777216.");
    EXPECT_EQ(wrong("pooltrace 1\npages 4\nepoch_ns x\n"),
              "line 3 of the trace: here must stand \"epoch_ns N\".");
    EXPECT_EQ(wrong(head), "line 3 of the trace: the trace ends without an epoch.");
    EXPECT_EQ(wrong(head + "epoch 1 -2\n"),
              "line 4 of the trace: \"-2\" is no count from 0 to 4294967295.");
    EXPECT_EQ(wrong(head + "epoch 1\nepoch 1*4 1\n"),
              "line 5 of the trace: there are more values than pages.");
    EXPECT_EQ(
        wrong(head + "epoch 1*184467440737095516160000\n"),
        "line 4 of the trace: \"1*1844674407370955161600…\" has a repeat that is no number above "
        "0.");
    EXPECT_EQ(wrong(head + "home n x\n"), "line 4 of the trace: \"x\" is no place (n, f or -).");
    EXPECT_EQ(wrong(head + "epoch 1\nhome n\n"), "line 5 of the trace: \"home\" is not \"epoch\".");
    EXPECT_EQ(wrong(head + "epoch 1\x1b[2J\n"),
              "line 4 of the trace: \"1?[2J\" is no count from 0 to 4294967295.");
}

TEST(TraceText, AFewBytesCannotAskForMuchMemory) {
    std::string text = "pooltrace 1\npages 1000\nepoch_ns 1\n";
    for (int i = 0; i < 5; ++i) text += "epoch 1*1000\n";
    EXPECT_EQ(wrong(text, {.cells = 4000}),
              "line 8 of the trace: pages × epochs is above the limit of 4000.");
    EXPECT_EQ(wrong(text, {.cells = 5000}), "parsed");
}

// What the plugin wrote in a guest.
TEST(TraceText, RecordedTracesAreRead) {
    int files = 0;
    for (const auto& entry : std::filesystem::directory_iterator(RECORDED_TRACES)) {
        SCOPED_TRACE(entry.path());
        auto trace = read_trace(entry.path());
        ASSERT_TRUE(trace) << trace.error().sentence;
        auto again = parse(print(*trace));
        ASSERT_TRUE(again) << again.error().sentence;
        EXPECT_EQ(again->counts, trace->counts);
        EXPECT_EQ(again->home, trace->home);
        EXPECT_TRUE(trace->whole);
        ++files;
    }
    EXPECT_GE(files, 4);
}

TEST(TraceText, MissingFileIsOneSentence) {
    auto trace = read_trace("/nonexistent/trace");
    ASSERT_FALSE(trace);
    EXPECT_EQ(trace.error().sentence, "Trace /nonexistent/trace: No such file or directory.");
}

TEST(TraceText, WhatIsNoFileIsNotReadToItsEnd) {
    EXPECT_EQ(read_trace("/dev/zero").error().sentence,
              "Trace /dev/zero is neither a file nor a pipe.");
    EXPECT_EQ(read_trace("/tmp").error().sentence, "Trace /tmp is neither a file nor a pipe.");
    const std::string path = testing::TempDir() + "trace_test_pipe-" + std::to_string(getpid());
    std::filesystem::remove(path);
    ASSERT_EQ(mkfifo(path.c_str(), 0600), 0);
    EXPECT_EQ(read_trace(path, {.patience_s = 0.05}).error().sentence,
              "Nobody has written to the pipe " + path + " for 0.05 s.");
    std::filesystem::remove(path);
}

RC_GTEST_PROP(TraceText, WhatIsWrittenIsReadBack, ()) {
    Trace trace;
    trace.pages = *rc::gen::inRange(1u, 50u);
    trace.epoch_ns = *rc::gen::inRange(1u, 1000000u);
    auto epochs = *rc::gen::inRange(1u, 8u);
    auto count =
        rc::gen::oneOf(rc::gen::just(0u), rc::gen::inRange(0u, 3u), rc::gen::arbitrary<uint32_t>());
    trace.counts = *rc::gen::container<std::vector<uint32_t>>(size_t(trace.pages) * epochs, count);
    if (*rc::gen::arbitrary<bool>())
        trace.home = *rc::gen::container<std::vector<Place>>(
            trace.pages, rc::gen::element(Place::near, Place::far, Place::nowhere));
    auto read = parse(print(trace));
    RC_ASSERT(bool(read));
    RC_ASSERT(read->pages == trace.pages && read->epoch_ns == trace.epoch_ns);
    RC_ASSERT(read->counts == trace.counts);
    RC_ASSERT(read->home == trace.home);
}

RC_GTEST_PROP(TraceText, NoMutationDoesHarm, ()) {
    std::string text =
        "pooltrace 1\npages 12\nepoch_ns 77\nhome n*3 f*2 -\n# note\nepoch 1*3 0 9\nepoch\nepoch "
        "4294967295*12\n";
    auto edits = *rc::gen::container<std::vector<std::pair<size_t, uint8_t>>>(
        rc::gen::pair(rc::gen::inRange<size_t>(0, text.size()), rc::gen::arbitrary<uint8_t>()));
    for (auto [at, what] : edits) {
        static constexpr std::string_view likely = "0123456789*\n #nf-epoch";
        char c = what < 128 ? likely[what % likely.size()] : char(what);
        if (what % 3 == 0) {
            text[at % text.size()] = c;
        } else if (what % 3 == 1) {
            text.insert(at % text.size(), 1, c);
        } else {
            text.erase(at % text.size(), 1 + what % 5);
        }
        if (text.empty()) text = "\n";
    }
    LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(text.data()), text.size());
}

}  // namespace
}  // namespace libpool::tier::trace
