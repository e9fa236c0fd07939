// SPDX-License-Identifier: Apache-2.0
#include "pooltrace/generate.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>

namespace libpool::tier::trace {
namespace {

GenerateOptions short_trace(std::string kind) {
    GenerateOptions o;
    o.kind = std::move(kind);
    o.pages = 400;
    o.near_pages = 50;
    o.epochs = 40;
    o.accesses_per_s = 4e5;
    return o;
}

double share_of(const Trace& trace, uint32_t epoch, uint32_t from, uint32_t to) {
    double part = 0, all = 0;
    for (uint32_t page = 0; page < trace.pages; ++page) {
        all += trace.epoch(epoch)[page];
        part += page >= from && page < to ? trace.epoch(epoch)[page] : 0;
    }
    return part / all;
}

TEST(Generate, EveryKindMakesWhatWasAskedFor) {
    for (const KindInfo& kind : kinds()) {
        SCOPED_TRACE(kind.name);
        GenerateOptions o = short_trace(std::string(kind.name));
        auto made = generate(o);
        ASSERT_TRUE(made) << made.error().sentence;
        EXPECT_EQ(made->trace.pages, 400u);
        EXPECT_EQ(made->trace.epochs(), 40u);
        for (uint32_t count : made->trace.epoch(0)) EXPECT_GE(count, 1u);
        EXPECT_NEAR(double(made->trace.accesses()), 4e5 * 0.25 * 40, 0.02 * 4e6);
        EXPECT_EQ(generate(o)->trace.counts, made->trace.counts);
        o.seed = 2;
        EXPECT_NE(generate(o)->trace.counts, made->trace.counts);
    }
}

TEST(Generate, TheHotSetJumpsHalfWay) {
    auto made = generate(short_trace("hot"));
    EXPECT_EQ(made->jumps, std::vector<uint32_t>{20});
    EXPECT_NEAR(share_of(made->trace, 19, 200, 240), 0.91, 0.01);
    EXPECT_NEAR(share_of(made->trace, 20, 300, 340), 0.91, 0.01);
    auto scattered = generate(short_trace("scattered"));
    EXPECT_LT(share_of(scattered->trace, 19, 200, 240), 0.4);
}

TEST(Generate, ZipfIsSkewed) {
    auto made = generate(short_trace("zipf"));
    auto row = made->trace.epoch(5);
    std::vector<uint32_t> counts(row.begin(), row.end());
    std::ranges::sort(counts, std::greater{});
    double top = 0, all = 0;
    for (size_t i = 0; i < counts.size(); ++i) {
        all += counts[i];
        top += i < 40 ? counts[i] : 0;
    }
    EXPECT_NEAR(top / all, 0.66, 0.03);  // H(40)/H(400), nearly
}

TEST(Generate, AdversariesDoWhatTheirNamesSay) {
    auto turns =
        generate(short_trace("turns"));  // first the far half of the pairs, then the near one
    EXPECT_EQ(share_of(turns->trace, 7, 50, 100), 1);
    EXPECT_EQ(share_of(turns->trace, 8, 0, 50), 1);
    auto cyclic = generate(short_trace("cyclic"));
    EXPECT_EQ(share_of(cyclic->trace, 9, 1, 2), 1);
    auto phase = generate(short_trace("phase"));
    EXPECT_EQ(share_of(phase->trace, 8, 50, 400), 1);
    EXPECT_EQ(share_of(phase->trace, 9, 0, 50), 1);
}

TEST(Generate, AnAdversaryIsDrawnWithinItsLimits) {
    std::vector<std::string> seen;
    for (uint64_t seed = 1; seed <= 40; ++seed) {
        Adversary made = adversary(seed);
        const GenerateOptions& o = made.options;
        EXPECT_TRUE(is_adversary(o.kind));
        EXPECT_GE(o.pages, 2 * o.near_pages);
        EXPECT_LE(o.pages * o.epochs, 3u << 20);
        double most = page_rate_max * o.epoch_s;
        for (uint32_t count : made.generated.trace.counts)
            ASSERT_LE(count, most + 6 * std::sqrt(most) + 6) << "seed " << seed;
        if (std::ranges::find(seen, o.kind) == seen.end()) seen.push_back(o.kind);
    }
    EXPECT_EQ(seen.size(), 8u);
    EXPECT_EQ(adversary(3, "turns").options.kind, "turns");
    EXPECT_FALSE(is_adversary("zipf"));
}

TEST(Generate, WhatMakesNoSenseIsOneSentence) {
    auto wrong = [](auto change) {
        GenerateOptions o = short_trace("hot");
        change(o);
        auto made = generate(o);
        return made ? std::string("made") : made.error().sentence;
    };
    EXPECT_EQ(
        wrong([](GenerateOptions& o) { o.kind = "hott"; }),
        "There is no kind of trace \"hott\"; there are: hot scattered zipf pagerank scan uniform "
        "cyclic turns bighot phase lure pairs pursuit.");
    EXPECT_EQ(wrong([](GenerateOptions& o) { o.pages = 1; }),
              "A trace can have 2 to 16777216 pages, not 1.");
    EXPECT_EQ(wrong([](GenerateOptions& o) { o.near_pages = 400; }),
              "Near memory of 400 pages does not fit a trace of 400 pages: it must be 1 to 399.");
    EXPECT_EQ(wrong([](GenerateOptions& o) { o.epochs = 1u << 30; }),
              "1073741824 epochs of 400 pages: there must be 1 epoch, and pages × epochs at most "
              "268435456.");
    EXPECT_EQ(wrong([](GenerateOptions& o) { o.accesses_per_s = 1e30; }),
              "1e+30 accesses/s: there can be 0 to 4e9 accesses in an epoch.");
}

}  // namespace
}  // namespace libpool::tier::trace
