// SPDX-License-Identifier: Apache-2.0
#include "poold/options.h"

#include <gtest/gtest.h>

#include "fake_tree.h"
#include "poold/show.h"

namespace poold {
namespace {

std::string error_of(const std::vector<std::string>& words) {
    auto options = parse_options(words);
    return options ? "" : options.error().sentence;
}

TEST(Options, EachVerb) {
    EXPECT_EQ(parse_options({})->verb, Verb::run);
    EXPECT_EQ(parse_options({"--once"})->verb, Verb::once);
    EXPECT_EQ(parse_options({"check", "--json"})->verb, Verb::check);
    EXPECT_EQ(parse_options({"show"})->verb, Verb::show);
    EXPECT_EQ(parse_options({"--version"})->verb, Verb::version);
    EXPECT_EQ(parse_options({"--server", "tcp:10.0.2.100:7000"})->server.port, 7000);
    EXPECT_EQ(parse_options({"--server=unix:/x"})->server.path, "/x");
}

TEST(Options, MisspeltAndMissing) {
    EXPECT_EQ(error_of({"chek"}),
              "unknown verb \"chek\", did you mean \"check\"?; see poold --help");
    EXPECT_EQ(error_of({"--sever", "x"}),
              "unknown option \"--sever\", did you mean \"--server\"?; see poold --help");
    EXPECT_EQ(error_of({"frobnicate"}), "unknown verb \"frobnicate\"; see poold --help");
    EXPECT_EQ(error_of({"--server"}), "--server needs a value");
    EXPECT_EQ(error_of({"--json"}), "--json belongs to check and show");
    EXPECT_EQ(error_of({"--once=1"}), "--once takes no value");
    EXPECT_NE(error_of({"--server", "10.0.2.100:7000"}), "");
}

TEST(Show, ATableOfExtents) {
    FakeTree fake;
    fake.add_host();
    fake.add_pooled("0000:0d:00.0", "0 268435456 plugged plugged ram dax0.0 1 -\n");
    EXPECT_EQ(show_text(look(fake.tree())),
              "driver: ready; memory block 128 MiB; online policy offline\n"
              "DEVICE        SERIAL  DPA  SIZE     STATE    USE  NODE  DAX     NOTE\n"
              "0000:0d:00.0  0x1     0 B  256 MiB  plugged  ram  1     dax0.0\n");
    fake.remove(FakeTree::device_folder());
    EXPECT_EQ(show_text(look(fake.tree())),
              "driver: none; memory block 128 MiB; online policy offline\nno extents\n");
}

}  // namespace
}  // namespace poold
