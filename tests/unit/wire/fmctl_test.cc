// SPDX-License-Identifier: Apache-2.0
// The parts of fmctl that need no fmd: its command line and its texts.
#include <gtest/gtest.h>

#include "fmctl/args.h"
#include "fmctl/render.h"
#include "server/log.h"

namespace cxlpool::fmctl {
namespace {

const std::vector<Option> global{{"--json", Takes::nothing, "", ""},
                                 {"--help", Takes::nothing, "", ""},
                                 {"--server", Takes::value, "PATH", ""}};
const std::vector<Verb> verbs{{"grant",
                               "create",
                               "",
                               "",
                               {{"--host", Takes::values, "HOST", ""},
                                {"--size", Takes::value, "SIZE", ""},
                                {"--wait", Takes::maybe_value, "SECONDS", ""}},
                               nullptr},
                              {"grant", "show", "NAME", "", {}, nullptr},
                              {"grant", "release", "NAME", "", {}, nullptr},
                              {"doctor", "", "", "", {}, nullptr}};

Result<Args> parse(std::vector<std::string> words) { return parse_args(verbs, global, words); }

TEST(Args, TakesOptionsAnywhereBehindTheirVerb) {
    const auto args = parse({"--json", "grant", "create", "--host", "h1", "--size=1M", "--host=h2",
                             "--wait", "--server", "/s"});
    ASSERT_TRUE(args.has_value()) << args.error().message;
    EXPECT_EQ(args->verb->verb, "create");
    EXPECT_EQ(args->values("--host"), (std::vector<std::string>{"h1", "h2"}));
    EXPECT_EQ(args->value("--size"), "1M");
    EXPECT_EQ(args->value("--wait"), "");
    EXPECT_EQ(args->value("--server"), "/s");
    EXPECT_TRUE(args->has("--json"));
}

TEST(Args, WaitNeverTakesTheNextWord) {
    const auto args = parse({"grant", "create", "--wait", "7"});
    ASSERT_FALSE(args.has_value());
    EXPECT_EQ(parse({"grant", "create", "--wait=7"})->value("--wait"), "7");
}

struct Mistake {
    std::vector<std::string> words;
    const char* sentence;
};

class BadArgs : public testing::TestWithParam<Mistake> {};

TEST_P(BadArgs, SaysWhatIsWrong) {
    const auto args = parse(GetParam().words);
    ASSERT_FALSE(args.has_value());
    EXPECT_EQ(args.error().message, GetParam().sentence);
}

INSTANTIATE_TEST_SUITE_P(
    Fmctl, BadArgs,
    testing::Values(
        Mistake{{}, "what is to be done is missing; see fmctl --help"},
        Mistake{{"grnat", "create"}, "grnat is no command of fmctl; did you mean grant?"},
        Mistake{{"grant", "relase", "g1"},
                "grant relase is no command of fmctl; did you mean release?"},
        Mistake{{"grant", "xyzzy"}, "grant xyzzy is no command of fmctl; see fmctl --help"},
        Mistake{{"grant"}, "fmctl grant needs a verb: create, show, release"},
        Mistake{{"grant", "show"}, "fmctl grant show needs a NAME"},
        Mistake{{"grant", "show", "g1", "g2"}, "g2 is one word too many for fmctl grant show"},
        Mistake{{"doctor", "now"}, "now is one word too many for fmctl doctor"},
        Mistake{{"grant", "create", "--sise", "1M"},
                "--sise is no option of fmctl grant create; did you mean --size?"},
        Mistake{{"grant", "create", "--size"}, "--size needs a value: --size SIZE"},
        Mistake{{"grant", "create", "--size", "1M", "--size", "2M"}, "--size is there twice"},
        Mistake{{"--json=1", "doctor"}, "--json takes no value"},
        Mistake{{"grant", "show", ""}, "the NAME is empty"},
        Mistake{{"gr\x1b[2J"}, "gr\\x1b[2J is no command of fmctl; see fmctl --help"}));

TEST(Args, HelpNeedsNoVerb) { EXPECT_TRUE(parse({"--help"}).has_value()); }

GrantView example() {
    GrantView grant;
    grant.name = GrantName("g1");
    grant.hosts = {HostName("h1")};
    grant.size = 256 * MiB;
    grant.state = GrantState::active;
    grant.extents = {{DeviceName("mem0"), {0, 256 * MiB}}};
    grant.seen = {{HostName("h1"), {1}, {"dax0.0"}}};
    grant.latency_ms = 84.2;
    return grant;
}

TEST(Render, LineOfAGrantIsTheContract) {
    EXPECT_EQ(line(example()), "g1  active  256 MiB  h1:node1  mem0[0-256M]  84 ms");
}

TEST(Render, SharedDaxNamesEveryHostsDevice) {
    GrantView grant = example();
    grant.use = Use::dax;
    grant.hosts = {HostName("h1"), HostName("h2")};
    grant.seen = {{HostName("h1"), {}, {"dax0.0"}}, {HostName("h2"), {}, {"dax1.0"}}};
    grant.extents.push_back({DeviceName("mem1"), {0, 2 * MiB}});
    grant.latency_ms.reset();
    EXPECT_EQ(line(grant), "g1  active  256 MiB  h1:dax0.0,h2:dax1.0  mem0[0-256M],mem1[0-2M]");
}

TEST(Render, NodeIsReadNeverAssumed) {
    GrantView grant = example();
    grant.seen.clear();
    EXPECT_EQ(where_seen(grant), "h1");
    grant.seen = {{HostName("h1"), {}, {}}};
    EXPECT_EQ(where_seen(grant), "h1");
}

TEST(Render, TextFromOutsideIsMadePrintable) {
    EXPECT_EQ(printable("a\x1b[31mb\n\x7f"), "a\\x1b[31mb\\x0a\\x7f");
    EXPECT_EQ(printable("\xc2\x9b \xff\xc3"), "\\xc2\\x9b \\xff\\xc3");
    EXPECT_EQ(printable("é€😀"), "é€😀");
    EXPECT_EQ(printable("\xed\xa0\x80\xc0\xaf"),
              "\\xed\\xa0\\x80\\xc0\\xaf");  // surrogate, overlong
    GrantView grant = example();
    grant.waits_for = "h1\r\x1b]0;owned\x07";
    for (const std::string& text : {describe_grant(grant), grant_table({grant})})
        for (const char c : text) EXPECT_TRUE(c == '\n' || static_cast<unsigned char>(c) >= ' ');
}

TEST(Render, TableAlignsAndEndsLinesClean) {
    EXPECT_EQ(table({{"A", "LONG", "C"}, {"wide", "x", ""}}), "A     LONG  C\nwide  x\n");
}

}  // namespace
}  // namespace cxlpool::fmctl
