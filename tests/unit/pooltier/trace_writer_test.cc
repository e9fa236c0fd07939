// SPDX-License-Identifier: Apache-2.0
// Estimates written as counts.
#include "pooltier/trace_writer.h"

#include <gtest/gtest.h>

#include "pooltrace/trace.h"

using namespace pooltier;
using libpool::tier::Place;

TEST(TraceWriter, HeadSaysThatTheseAreEstimates) {
    TraceWriter writer(5, 0.25);
    std::vector<Place> places = {Place::near, Place::near, Place::far, Place::nowhere};
    std::string head = writer.head(places, "7 a");
    EXPECT_TRUE(
        head.starts_with("pooltrace 1\npages 5\nepoch_ns 250000000\nhome n*2 f -*2\n# recorded "
                         "from process 7 a: counts are estimates"))
        << head;
}

TEST(TraceWriter, WhatRoundingLeavesIsCarriedOn) {
    TraceWriter writer(3, 1);
    std::vector<float> rates = {2.0f, 0.25f, 0};
    std::string all;
    for (int i = 0; i < 8; ++i) all += writer.epoch(rates);
    EXPECT_EQ(all, "epoch 2\nepoch 2 1\nepoch 2\nepoch 2\nepoch 2\nepoch 2 1\nepoch 2\nepoch 2\n");
}

// What is written is read back, whole; without its end it is cut off.
TEST(TraceWriter, TheReaderTakesIt) {
    namespace trace = libpool::tier::trace;
    TraceWriter writer(3, 1);
    std::string all = writer.head({}, "7 a");
    for (int i = 0; i < 3; ++i) all += writer.epoch(std::vector<float>{1, 0, 2});
    auto cut = trace::parse(all);
    ASSERT_TRUE(cut);
    EXPECT_FALSE(cut->whole);
    EXPECT_EQ(writer.end(), "end 3\n");
    auto read = trace::parse(all + writer.end());
    ASSERT_TRUE(read);
    EXPECT_TRUE(read->whole);
    EXPECT_EQ(read->accesses(), 9u);
}

TEST(TraceWriter, ZerosAtTheEndAreLeftOut) {
    TraceWriter writer(6, 1);
    EXPECT_EQ(writer.epoch(std::vector<float>{0, 0, 7, 7, 0, 0}), "epoch 0*2 7*2\n");
    EXPECT_EQ(writer.epoch(std::vector<float>(6, 0)), "epoch\n");
    EXPECT_EQ(writer.epoch(std::vector<float>(9, 1e30f)), "epoch 4000000000*6\n");
}
