// SPDX-License-Identifier: Apache-2.0
#include "pooltrace/arguments.h"

#include <gtest/gtest.h>

#include "pooltrace/commands.h"

namespace libpool::tier::trace {
namespace {

struct Line {
    uint32_t pages = 1;
    double share = 0.5;
    std::string name;
    std::vector<std::string> names, rest;
    bool fast = false;
    uint64_t first = 0, last = 0;

    std::string parse(std::vector<std::string> words, bool takes_rest = false) {
        Arguments arguments;
        arguments.integer("--pages", "", &pages, 1, 1000);
        arguments.number("--share", "", &share, 0, 1);
        arguments.word("--name", "", &name);
        arguments.list("--names", "", &names);
        arguments.flag("--fast", "", &fast);
        arguments.range("--seeds", "", &first, &last);
        if (takes_rest) arguments.rest(&rest);
        std::vector<char*> pointers;
        for (std::string& word : words) pointers.push_back(word.data());
        auto parsed = arguments.parse(pointers);
        return parsed ? "" : parsed.error().sentence;
    }
};

TEST(Arguments, SetWhatTheyAreBoundTo) {
    Line line;
    EXPECT_EQ(line.parse({"--pages", "12", "--share", "0.25", "word", "--names", "a,b", "--fast",
                          "--names", "c", "--seeds", "3..9", "--name", "-"},
                         true),
              "");
    EXPECT_EQ(line.pages, 12u);
    EXPECT_EQ(line.share, 0.25);
    EXPECT_EQ(line.names, (std::vector<std::string>{"a", "b", "c"}));
    EXPECT_EQ(line.rest, std::vector<std::string>{"word"});
    EXPECT_EQ(line.name, "-");
    EXPECT_TRUE(line.fast);
    EXPECT_EQ(line.first, 3u);
    EXPECT_EQ(line.last, 9u);
}

TEST(Arguments, FaultsAreOneSentence) {
    Line line;
    EXPECT_EQ(line.parse({"--page", "12"}), "There is no option \"--page\" here.");
    EXPECT_EQ(line.parse({"word"}), "There is no option \"word\" here.");
    EXPECT_EQ(line.parse({"--pages"}), "--pages wants a value.");
    EXPECT_EQ(line.parse({"--pages", "1001"}),
              "--pages must be a whole number from 1 to 1000, not \"1001\".");
    EXPECT_EQ(line.parse({"--pages", "1x"}),
              "--pages must be a whole number from 1 to 1000, not \"1x\".");
    EXPECT_EQ(line.parse({"--share", "nan"}), "--share must be a number from 0 to 1, not \"nan\".");
    EXPECT_EQ(line.parse({"--names", "a,"}), "--names has an empty entry.");
    EXPECT_EQ(line.parse({"--seeds", "9..3"}),
              "--seeds must be A..B with A at most B, not \"9..3\".");
    EXPECT_EQ(line.parse({"--seeds", "0..18446744073709551615"}),
              "--seeds must be A..B with A at most B, not \"0..18446744073709551615\".");
}

TEST(Arguments, NearIsPagesOrAPart) {
    EXPECT_EQ(near_of("12", 100), 12u);
    EXPECT_EQ(near_of("1/8", 100), 12u);
    EXPECT_EQ(near_of("1/1000", 100), 1u);
    for (const char* bad : {"", "0", "x", "1/", "/8", "9/8", "1/8x", "0/8", "-1"})
        EXPECT_FALSE(near_of(bad, 100)) << bad;
}

}  // namespace
}  // namespace libpool::tier::trace
