// SPDX-License-Identifier: Apache-2.0
// The text of /proc/PID/maps: what is read out of it, and that nothing is read out of anything
// else.
#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <sys/mman.h>

#include <algorithm>

#include "tier/maps.h"
#include "uapi.h"

namespace libpool::tier {
namespace {

constexpr std::string_view sample =
    "557dba4f2000-557dba4f4000 r--p 00000000 08:01 1835054                    /usr/bin/cat\n"
    "557dba4fb000-557dba4fc000 rw-p 0000a000 08:01 1835054                    /usr/bin/cat\n"
    "557dbb1e0000-557dbb201000 rw-p 00000000 00:00 0                          [heap]\n"
    "7f0a10000000-7f0a10400000 rw-p 00000000 00:0f 2072                       /anon_hugepage "
    "(deleted)\n"
    "7f0a1c000000-7f0a1c021000 rw-p 00000000 00:00 0 \n"
    "7f0a1c021000-7f0a20000000 ---p 00000000 00:00 0 \n"
    "7f0a28a00000-7f0a28b00000 rw-s 00000000 00:01 1025                       /dev/zero (deleted)\n"
    "7f0a28b00000-7f0a28c00000 rw-p 00000000 00:00 0                          [anon:my pool]\n"
    "7f0a28c00000-7f0a28c10000 rwxp 00000000 00:00 0\n"
    "7ffc8a9d8000-7ffc8a9f9000 rw-p 00000000 00:00 0                          [stack]\n"
    "7ffc8a9fb000-7ffc8a9ff000 r--p 00000000 00:00 0                          [vvar]\n"
    "ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]\n";

TEST(TierMaps, LinesAreRead) {
    auto mappings = parse_mappings(sample);
    ASSERT_EQ(mappings.size(), 12u);
    EXPECT_EQ(mappings[0].name, "/usr/bin/cat");
    EXPECT_EQ(mappings[0].inode, 1835054u);
    EXPECT_FALSE(mappings[0].writable);
    EXPECT_EQ(mappings[2].start, 0x557dbb1e0000u);
    EXPECT_EQ(mappings[2].bytes(), 0x21000u);
    EXPECT_EQ(mappings[3].name, "/anon_hugepage (deleted)");
    EXPECT_TRUE(mappings[6].shared);
    EXPECT_TRUE(mappings[8].executable);
    EXPECT_EQ(mappings[8].name, "");
    EXPECT_EQ(mappings[11].end, 0xffffffffff601000u);
}

TEST(TierMaps, PrivateMemoryIsTheProgramsOwn) {
    std::vector<size_t> own;
    auto mappings = parse_mappings(sample);
    for (size_t i = 0; i < mappings.size(); ++i) {
        if (is_private_memory(mappings[i])) own.push_back(i);
    }
    EXPECT_EQ(own, (std::vector<size_t>{2, 4, 7, 8, 9}));
}

TEST(TierMaps, WhatIsNoLineIsLeftOut) {
    for (const char* line :
         {"", "\n\n", "Rss: 4 kB", "1000-2000", "1000-2000 rw-p", "1000-2000 rw-p 0 00:00",
          "2000-1000 rw-p 0 00:00 0", "1000-1000 rw-p 0 00:00 0", "1000-2001 rw-p 0 00:00 0",
          "1000-2000 rwxz 0 00:00 0", "1000-2000 rw- 0 00:00 0", "-1000-2000 rw-p 0 00:00 0",
          "11111111111111111000-2000 rw-p 0 00:00 0", "1000-2000 rw-p 0 00.00 0",
          "1000-2000 rw-p 0 00:00 0x"}) {
        EXPECT_TRUE(parse_mappings(line).empty()) << line;
    }
    // One that goes back is a text that changed while it was read.
    EXPECT_EQ(parse_mappings("3000-4000 rw-p 0 00:00 0\n1000-2000 rw-p 0 00:00 0\n").size(), 1u);
}

TEST(TierMaps, AnyTextGivesRisingPages) {
    EXPECT_TRUE(rc::check("damaged texts", [] {
        std::string damaged(sample);
        int changes = *rc::gen::inRange(0, 40);
        for (int i = 0; i < changes; ++i) {
            size_t at = *rc::gen::inRange<size_t>(0, damaged.size());
            switch (*rc::gen::inRange(0, 3)) {
                case 0:
                    damaged[at] = *rc::gen::arbitrary<char>();
                    break;
                case 1:
                    damaged.erase(at, *rc::gen::inRange<size_t>(1, 60));
                    break;
                default:
                    damaged.insert(at, *rc::gen::element<std::string>("\n", " ", "-", "ffff", "0"));
            }
            if (damaged.empty()) break;
        }
        uint64_t after = 0;
        for (const Mapping& mapping : parse_mappings(damaged)) {
            RC_ASSERT(mapping.start >= after && mapping.end > mapping.start);
            RC_ASSERT(mapping.start % page_bytes == 0 && mapping.end % page_bytes == 0);
            after = mapping.end;
        }
    }));
}

TEST(TierMaps, OfThisProcess) {
    void* at = mmap(nullptr, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    auto mappings = read_mappings(0);
    ASSERT_TRUE(mappings) << mappings.error().sentence;
    auto address = reinterpret_cast<uint64_t>(at);
    auto found = std::ranges::upper_bound(*mappings, address, {}, &Mapping::end);
    ASSERT_NE(found, mappings->end());
    EXPECT_TRUE(found->start <= address && is_private_memory(*found));
    munmap(at, 1 << 20);
    EXPECT_EQ(read_mappings(0x7fffffff).error().code, ESRCH);
}

}  // namespace
}  // namespace libpool::tier
