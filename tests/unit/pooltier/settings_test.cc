// SPDX-License-Identifier: Apache-2.0
// The settings of `pooltier run`: what each word means, that every wrong word is told, and that no
// text at all makes the parser do anything but answer.
#include "tier/settings.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <random>

using namespace libpool;
using namespace libpool::tier;

namespace {

Result<Settings> from(std::vector<std::string> entries) {
    std::vector<const char*> pointers;
    for (const std::string& entry : entries) pointers.push_back(entry.c_str());
    pointers.push_back(nullptr);
    return settings_from_environment(pointers.data());
}

std::string refusal(std::vector<std::string> entries) {
    auto settings = from(std::move(entries));
    return settings ? "taken" : settings.error().sentence;
}

std::string refusal_of_text(const std::string& lines) {
    Settings settings;
    auto done = apply_text(settings, lines, "x.conf");
    return done ? "taken" : done.error().sentence;
}

}  // namespace

TEST(Settings, WithoutAWordTieringIsOff) {
    EXPECT_EQ(*from({}), Settings{});
    EXPECT_FALSE(from({"PATH=/bin", "POOL=1", "POOLTIERS=x", "POOLTIER"})->on);
}

TEST(Settings, EveryWord) {
    auto s =
        from({"POOLTIER=1", "POOLTIER_NEAR_LIMIT=512M", "POOLTIER_CPU=0.5%", "POOLTIER_MBPS=64",
              "POOLTIER_NEAR_NODES=3,0-1", "POOLTIER_FAR_NODES=2", "POOLTIER_REQUIRE=1",
              "POOLTIER_SEED=18446744073709551615", "POOLTIER_SAMPLER=wp",
              "POOLTIER_TENANT=cache.1", "POOLTIER_MIN_RANGE=64K", "POOLTIER_SAY=all"});
    ASSERT_TRUE(s) << s.error().sentence;
    EXPECT_TRUE(s->on && s->require);
    EXPECT_EQ(s->near_limit_bytes, 512u << 20);
    EXPECT_DOUBLE_EQ(s->cpu_share, 0.005);
    EXPECT_EQ(s->move_limit_bytes_per_s, 64u << 20);
    EXPECT_EQ(s->near_nodes, (std::vector{0, 1, 3}));
    EXPECT_EQ(s->far_nodes, std::vector{2});
    EXPECT_EQ(s->seed, UINT64_MAX);
    EXPECT_EQ(s->sampler, SamplerWish::wp);
    EXPECT_EQ(s->tenant, "cache.1");
    EXPECT_EQ(s->min_range_bytes, 64u << 10);
    EXPECT_EQ(s->say, Say::all);
}

TEST(Settings, WhatIsWrittenIsReadAgain) {
    auto s = from({"POOLTIER=1", "POOLTIER_NEAR_LIMIT=5000", "POOLTIER_CPU=2", "POOLTIER_MBPS=7",
                   "POOLTIER_NEAR_NODES=0", "POOLTIER_FAR_NODES=1,9", "POOLTIER_REQUIRE=1",
                   "POOLTIER_SEED=5", "POOLTIER_SAMPLER=damon", "POOLTIER_TENANT=a",
                   "POOLTIER_MIN_RANGE=1G", "POOLTIER_LOSS_NS=150", "POOLTIER_SAY=none"});
    ASSERT_TRUE(s);
    auto again = from(environment_of(*s));
    ASSERT_TRUE(again) << again.error().sentence;
    EXPECT_EQ(*again, *s);
    EXPECT_EQ(environment_of(Settings{}), std::vector<std::string>{"POOLTIER=0"});
}

TEST(Settings, WrongWordsAreNamed) {
    EXPECT_EQ(refusal({"POOLTIER=yes"}), "POOLTIER: \"yes\" is neither 0 nor 1");
    EXPECT_EQ(refusal({"POOLTIER_CPU=99"}),
              "POOLTIER_CPU: \"99\" is not within 0.01 and 50 (percent)");
    for (const char* word : {"", "-1", "1e0", "nan", "inf", "1%%", "0x1", " 1", "1 ", "."}) {
        EXPECT_NE(refusal({std::string("POOLTIER_CPU=") + word}), "taken") << word;
    }
    for (const char* word : {"", "M", "-1", "1.5G", "1Q", "99999999999999999999", "17000000T"}) {
        EXPECT_NE(refusal({std::string("POOLTIER_NEAR_LIMIT=") + word}), "taken") << word;
    }
    for (const char* word :
         {"", ",", "1,", "1-", "2-1", "1,1", "0-3,2", "1024", "a", "0-99999999999"}) {
        EXPECT_NE(refusal({std::string("POOLTIER_NEAR_NODES=") + word}), "taken") << word;
    }
    EXPECT_EQ(refusal({"POOLTIER_NEAR_NODES=0,1", "POOLTIER_FAR_NODES=1"}),
              "node 1 is both near and far");
    EXPECT_EQ(refusal({"POOLTIER_SAMPLER=RWP"}),
              "POOLTIER_SAMPLER: \"RWP\" is none of auto, rwp, wp, damon");
    EXPECT_NE(refusal({"POOLTIER_TENANT=a b"}), "taken");
    EXPECT_NE(refusal({"POOLTIER_TENANT=" + std::string(64, 'a')}), "taken");
    EXPECT_NE(refusal({"POOLTIER_MIN_RANGE=100"}), "taken");
}

TEST(Settings, OnlyRwpIsHandedOver) {
    for (const char* sampler : {"wp", "damon"}) {
        EXPECT_EQ(refusal({"POOLTIER_HAND_OVER=1", "POOLTIER_SAMPLER=" + std::string(sampler)}),
                  "hand_over works with the sampler rwp alone, not with " + std::string(sampler));
    }
    EXPECT_TRUE(from({"POOLTIER_HAND_OVER=1", "POOLTIER_SAMPLER=rwp"}));
    EXPECT_TRUE(from({"POOLTIER_HAND_OVER=1"}));
}

TEST(Settings, UnknownNamesAreAnsweredWithTheNearest) {
    EXPECT_EQ(refusal({"POOLTIER_NEARLIMIT=1M"}),
              "POOLTIER_NEARLIMIT is no setting, did you mean POOLTIER_NEAR_LIMIT?");
    EXPECT_EQ(refusal({"POOLTIER_ON=1"}).substr(0, 25), "POOLTIER_ON is no setting");
    EXPECT_NE(refusal({"POOLTIER_cpu=1"}), "taken");
    // What all names have in common is no likeness.
    EXPECT_EQ(refusal({"POOLTIER_FOO=1"}), "POOLTIER_FOO is no setting");
    EXPECT_EQ(refusal({"POOLTIER_X=1"}), "POOLTIER_X is no setting");
    EXPECT_EQ(refusal_of_text("near_limt = 1M\n"),
              "x.conf:1: \"near_limt\" is no setting, did you mean near_limit?");
}

TEST(Settings, AFileIsReadFirstAndTheEnvironmentWins) {
    // Other runs of this test may be under way.
    std::string path = testing::TempDir() + text("pooltier-settings-%d.conf", int(getpid()));
    std::ofstream(path) << "# of the whole team\n\n cpu = 2 # percent\nmbps=9\non = 1\n";
    auto s = from({"POOLTIER_CPU=3", "POOLTIER_CONFIG=" + path});
    ASSERT_TRUE(s) << s.error().sentence;
    EXPECT_TRUE(s->on);
    EXPECT_DOUBLE_EQ(s->cpu_share, 0.03);
    EXPECT_EQ(s->move_limit_bytes_per_s, 9u << 20);
    std::ofstream(path) << "cpu = 2\nmbps\n";
    EXPECT_EQ(refusal({"POOLTIER_CONFIG=" + path}),
              path + ":2: \"mbps\" is not of the form name = value");
    EXPECT_EQ(refusal({"POOLTIER_CONFIG=/nowhere"}),
              "/nowhere cannot be read: No such file or directory");
    unlink(path.c_str());
    EXPECT_NE(refusal({"POOLTIER_CONFIG=/dev/zero"}), "taken");
    EXPECT_NE(refusal({"POOLTIER_CONFIG=/proc"}), "taken");
}

TEST(Settings, NothingIsTakenFromAFileThatIsWrong) {
    Settings settings;
    EXPECT_FALSE(apply_text(settings, "mbps = 5\nnonsense\n", "x.conf"));
    EXPECT_EQ(settings, Settings{});
}

TEST(Settings, SentencesHoldNoEscapes) {
    for (char c : refusal({"POOLTIER_TENANT=\033[31mred\n"})) EXPECT_GE(c, ' ');
    for (char c : refusal({"POOLTIER_\033[31m=1"})) EXPECT_GE(c, ' ');
}

// Words of the grammar, cut, doubled and mixed with bytes: 20,000 texts by seed.
TEST(Settings, AnyTextIsAnswered) {
    const std::vector<std::string> pieces = {
        "cpu",       "near_limit", "near_nodes", " = ",
        "=",         "\n",         "#",          "1",
        "0-1023",    "512M",       "none",       ",",
        "-",         "1e99",       "\t",         "%",
        "\0",        "\xff",       "seed",       "18446744073709551616",
        "min_range", "\r\n",       "tenant",     "auto",
        "require",   "on",         "T",          "99999999999999999999T"};
    std::mt19937_64 random(20261122);
    int taken = 0;
    for (int i = 0; i < 20000; ++i) {
        std::string text;
        for (size_t n = random() % 12; n > 0; --n) text += pieces[random() % pieces.size()];
        if (!text.empty() && random() % 4 == 0) text[random() % text.size()] = char(random());
        Settings settings;
        auto done = apply_text(settings, text, "f");
        taken += done.has_value();
        if (!done) {
            EXPECT_EQ(settings, Settings{}) << text;
            EXPECT_LT(done.error().sentence.size(), 500u);
        } else if (check_settings(settings)) {
            auto again = from(environment_of(settings));
            ASSERT_TRUE(again) << text << again.error().sentence;
            EXPECT_NEAR(again->cpu_share, settings.cpu_share, 1e-12);
            again->cpu_share = settings.cpu_share;
            EXPECT_EQ(*again, settings) << text;
        }
        (void)from({"POOLTIER_" + text});
    }
    EXPECT_GT(taken, 1000);
}
