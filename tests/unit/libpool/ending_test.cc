// SPDX-License-Identifier: Apache-2.0
#include "run/ending.h"

#include <gtest/gtest.h>

namespace libpool::run {
namespace {

TEST(ThreadCount, OfALineOfTheKernels) {
    const ThreadCount gone = parse_thread_count(
        "30187 (pe) Z 30186 30186 18584 0 -1 4227084 1048 0 0 0 43 162 0 0 20 0 4 0 6203972 0 0 "
        "18446744073709551615 0 0 0 0 0 0 0 0 0 0 0 0 17 1 0 0 0 0 0 0 0 0 0 0 0 0 1792\n");
    EXPECT_TRUE(gone.first_ended);
    EXPECT_EQ(gone.threads, 4u);
    EXPECT_EQ(gone.wait_status, 7 << 8);
    const ThreadCount there =
        parse_thread_count("7 (a) Z) S 1 7 7 0 -1 4 1 0 0 0 4 1 0 0 20 0 12 0 6 0 0\n");
    EXPECT_FALSE(there.first_ended);
    EXPECT_EQ(there.threads, 12u);
}

TEST(ThreadCount, OfNoneIsNothing) {
    for (const char* line : {"", "x", "7 (a", "7 (a) ", "7 (a) Z 1 2 3",
                             "7 (a) Z 1 2 3 4 5 6 7 8 9 "
                             "10 11 12 13 14 15 16 x 18"}) {
        EXPECT_FALSE(parse_thread_count(line).first_ended) << line;
        EXPECT_EQ(parse_thread_count(line).threads, 0u) << line;
    }
}

TEST(Ending, AProgramWhoseFirstThreadLivesIsNotOver) {
    Ending ending;
    Ending::Own counted(ending);
    EXPECT_GT(ending.look(100), 0);
    EXPECT_FALSE(ending.is_over());
}

}  // namespace
}  // namespace libpool::run
