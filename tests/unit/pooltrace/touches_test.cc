// SPDX-License-Identifier: Apache-2.0
#include "pooltrace/touches.h"

#include <gtest/gtest.h>

#include <cmath>

#include "pooltrace/random.h"

namespace libpool::tier::trace {
namespace {

// Every page alike: epoch e has counts[e] accesses to each.
Trace alike(uint32_t pages, const std::vector<uint32_t>& counts) {
    Trace trace;
    trace.pages = pages;
    trace.epoch_ns = 1'000'000'000;
    for (uint32_t count : counts) trace.counts.insert(trace.counts.end(), pages, count);
    return trace;
}

Reading reading_of(double start_s, std::vector<double> rungs_s, uint32_t pages) {
    Reading reading;
    reading.start_s = start_s;
    reading.rungs_s = std::move(rungs_s);
    reading.runs = {{0, pages}};
    return reading;
}

// The twin: lays every access down and looks which came first.
std::vector<double> shares_by_hand(const std::vector<uint32_t>& counts, double start_s,
                                   const std::vector<double>& rungs_s, int tries) {
    Random random(99);
    std::vector<double> shares(rungs_s.size() + 1, 0);
    for (int i = 0; i < tries; ++i) {
        double first = 1e9;
        for (size_t e = 0; e < counts.size(); ++e)
            for (uint32_t k = 0; k < counts[e]; ++k) {
                double at = double(e) + random.uniform() - start_s;
                if (at > 0) first = std::min(first, at);
            }
        size_t rung = 0;
        while (rung < rungs_s.size() && first > rungs_s[rung]) ++rung;
        shares[rung] += 1.0 / tries;
    }
    return shares;
}

TEST(Touches, AreDistributedAsIfEveryAccessHadATime) {
    constexpr uint32_t pages = 40000;
    const std::vector<double> rungs = {0.02, 0.3, 0.9, 1.6};
    for (const std::vector<uint32_t>& counts : {std::vector<uint32_t>{1, 0, 1, 3},
                                                {2, 3, 9, 1},
                                                {7, 5, 6, 6},
                                                {40, 1, 0, 0},
                                                {0, 0, 25, 0}}) {
        SCOPED_TRACE(testing::PrintToString(counts));
        Trace trace = alike(pages, counts);
        std::vector<uint32_t> births(pages, 0);
        Touches touches(trace, births, 1);
        Reading reading = reading_of(0.6, rungs, pages);
        uint64_t faults = touches.look(reading);
        std::vector<double> found(rungs.size() + 1, 0);
        for (Sight sight : reading.sights)
            found[sight == not_touched ? rungs.size() : sight] += 1.0 / pages;
        std::vector<double> wanted = shares_by_hand(counts, 0.6, rungs, pages);
        for (size_t i = 0; i < found.size(); ++i) {
            double sigma = std::sqrt(2 * wanted[i] * (1 - wanted[i]) / pages);
            EXPECT_NEAR(found[i], wanted[i], 5 * sigma + 1e-4) << "look " << i;
        }
        EXPECT_NEAR(double(faults) / pages, 1 - found.back(), 1e-9);
    }
}

TEST(Touches, ALoneAccessIsSeenByOneCycleOnly) {
    constexpr uint32_t pages = 2000;
    Trace trace = alike(pages, {1, 1});
    std::vector<uint32_t> births(pages, 0), seen(pages, 0);
    Touches touches(trace, births, 7);
    for (double start_s : {0.0, 0.25, 0.5, 1.0, 1.25, 1.75}) {
        Reading reading = reading_of(start_s, {0.25}, pages);
        if (start_s == 0.5 || start_s == 1.25) reading.rungs_s = {0.1, 0.5};
        touches.look(reading);
        for (PageId page = 0; page < pages; ++page) seen[page] += reading.sights[page] < rung_limit;
    }
    // Six cycles cover both epochs; one of them covers the end of both halves only once.
    for (PageId page = 0; page < pages; ++page) EXPECT_EQ(seen[page], 2u) << page;
}

TEST(Touches, CountsAreWhatTheTraceSays) {
    constexpr uint32_t pages = 1000;
    Trace trace = alike(pages, {3, 100, 7});
    std::vector<uint32_t> births(pages, 0);
    Touches touches(trace, births, 3);
    Reading whole = reading_of(0, {3.0}, pages);
    touches.count(whole);
    for (uint32_t count : whole.counts) EXPECT_EQ(count, 110u);
    Reading part = reading_of(1.25, {0.105}, pages);
    touches.count(part);
    double sum = 0;
    for (uint32_t count : part.counts) {
        EXPECT_TRUE(count == 10 || count == 11) << count;
        sum += count;
    }
    EXPECT_NEAR(sum / pages, 10.5, 0.1);
}

TEST(Touches, UnbornPagesAreAbsent) {
    Trace trace = alike(3, {0, 50});
    std::vector<uint32_t> births = {0, 1, 2};
    Touches touches(trace, births, 3);
    Reading reading = reading_of(0.5, {1.0}, 3);
    EXPECT_EQ(touches.look(reading), 1u);
    EXPECT_EQ(reading.sights, (std::vector<Sight>{0, page_absent, page_absent}));
}

}  // namespace
}  // namespace libpool::tier::trace
