// SPDX-License-Identifier: Apache-2.0
// What another process calls itself must not write on the operator's terminal.
#include "tier/printable.h"

#include <gtest/gtest.h>

#include <random>

using libpool::tier::describe_bytes;
using libpool::tier::printable;

TEST(Printable, WordsStay) {
    EXPECT_EQ(printable("redis-server *:6379"), "redis-server *:6379");
    EXPECT_EQ(printable("größe 日本 🙂"), "größe 日本 🙂");
}

TEST(Printable, EscapesAndControlsAreSpeltOut) {
    EXPECT_EQ(printable("\033]0;owned\007"), "\\x1b]0;owned\\x07");
    EXPECT_EQ(printable("a\nb\tc\r"), "a\\x0ab\\x09c\\x0d");
    EXPECT_EQ(printable("\x7f"), "\\x7f");
    EXPECT_EQ(printable("\xc2\x9b"
                        "31m"),
              "\\xc2\\x9b31m");  // C1: CSI
    EXPECT_EQ(printable("\xe2\x80\xae"
                        "gpj"),
              "\\xe2\\x80\\xaegpj");  // right to left
    EXPECT_EQ(printable("\\x1b"), "\\\\x1b");
    EXPECT_EQ(printable(std::string("a\0b", 3)), "a\\x00b");
}

TEST(Printable, IllFormedBytesAreSpeltOut) {
    EXPECT_EQ(printable("\xff\xfe"), "\\xff\\xfe");
    EXPECT_EQ(printable("\xc0\x80"), "\\xc0\\x80");
    EXPECT_EQ(printable("\xed\xa0\x80"), "\\xed\\xa0\\x80");  // a surrogate
    EXPECT_EQ(printable("ab\xe2\x82"), "ab\\xe2\\x82");       // cut short
}

TEST(Printable, LongWordsAreCutBetweenCharacters) {
    EXPECT_EQ(printable("abcdef", 3), "abc…");
    EXPECT_EQ(printable("aä", 2), "a…");
    EXPECT_EQ(printable("abc", 3), "abc");
}

TEST(Printable, NoBytesGetThrough) {
    std::mt19937_64 random(7);
    for (int i = 0; i < 20000; ++i) {
        std::string bytes(random() % 24, ' ');
        for (char& byte : bytes)
            byte = char(random() % 3 ? random() : "\xc2\x9b\xe2\x80\xae\x1b["[random() % 7]);
        for (unsigned char c : printable(bytes)) ASSERT_TRUE(c >= 0x20 && c != 0x7f);
        ASSERT_EQ(printable(bytes).find("\xc2\x9b"), std::string::npos);
        ASSERT_EQ(printable(bytes).find("\xe2\x80\xae"), std::string::npos);
    }
}

TEST(DescribeBytes, Units) {
    EXPECT_EQ(describe_bytes(0), "0 B");
    EXPECT_EQ(describe_bytes(1536), "1.5 KiB");
    EXPECT_EQ(describe_bytes(402653184), "384 MiB");
    EXPECT_EQ(describe_bytes(UINT64_MAX), "16 EiB");
}
