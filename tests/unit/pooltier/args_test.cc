// SPDX-License-Identifier: Apache-2.0
// The command line of pooltier.
#include "pooltier/args.h"

#include <gtest/gtest.h>

#include "pooltier/table.h"

using namespace pooltier;

namespace {

std::string refused(const std::vector<std::string>& words) {
    auto args = parse_args(all_verbs(), words);
    return args ? "taken" : args.error().sentence;
}

}  // namespace

TEST(Args, WordsAndOptions) {
    auto args = parse_args(all_verbs(), {"status", "812", "--json"});
    ASSERT_TRUE(args);
    EXPECT_EQ(args->verb->name, "status");
    EXPECT_EQ(args->arguments, std::vector<std::string>{"812"});
    EXPECT_TRUE(args->has("--json"));
    EXPECT_TRUE(parse_args(all_verbs(), {"status"}));
    EXPECT_EQ(parse_args(all_verbs(), {"top", "--count=3"})->value("--count"), "3");
}

TEST(Args, ACommandKeepsItsOwnOptions) {
    for (bool dashes : {false, true}) {
        std::vector<std::string> words = {"run", "--cpu", "2", "ls", "-l", "--", "--json"};
        if (dashes) words.insert(words.begin() + 3, "--");
        auto args = parse_args(all_verbs(), words);
        ASSERT_TRUE(args) << args.error().sentence;
        EXPECT_EQ(args->command, (std::vector<std::string>{"ls", "-l", "--", "--json"}));
        EXPECT_EQ(args->value("--cpu"), "2");
    }
}

TEST(Args, EveryMistakeIsASentence) {
    EXPECT_EQ(refused({}), "what is to be done is missing; see pooltier --help");
    EXPECT_EQ(refused({"statsu"}), "statsu is no command of pooltier; did you mean status?");
    EXPECT_EQ(refused({"zzzzzzz"}), "zzzzzzz is no command of pooltier; see pooltier --help");
    EXPECT_EQ(refused({"\033[31m"}).find('\033'), std::string::npos);
    EXPECT_EQ(refused({"status", "1", "2"}), "2 is one word too many for pooltier status");
    EXPECT_EQ(refused({"status", "--jsn"}),
              "--jsn is no option of pooltier status; did you mean --json?");
    EXPECT_EQ(refused({"--json", "status"}),
              "--json is no option of pooltier; see pooltier --help");
    EXPECT_EQ(refused({"status", "--json", "--json"}), "--json is there twice");
    EXPECT_EQ(refused({"status", "--json=1"}), "--json takes no value");
    EXPECT_EQ(refused({"run", "--near-limit", "--cpu"}),
              "--near-limit needs a value: --near-limit SIZE");
    EXPECT_EQ(refused({"run", "--cpu", "1"}), "pooltier run needs a command: pooltier run -- CMD");
    EXPECT_EQ(refused({"explain", "1"}), "pooltier explain needs ADDR");
    EXPECT_EQ(refused({"status", ""}), "an argument of status is empty");
}

TEST(Args, Numbers) {
    EXPECT_EQ(*address("0x7f00"), 0x7f00u);
    EXPECT_EQ(*address("4096"), 4096u);
    for (const char* word : {"", "0x", "7f00", "-1", "0x1ffffffffffffffff", "0x 1", "1 "}) {
        EXPECT_FALSE(address(word)) << word;
    }
    EXPECT_EQ(number("0", "count", 1, 9).error().sentence, "0 is no count (1 to 9)");
    EXPECT_FALSE(number("+1", "count", 1, 9));
}
