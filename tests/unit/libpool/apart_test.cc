// SPDX-License-Identifier: Apache-2.0
// Where memory of our own lies in somebody else's program.
#include "apart.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cstdint>
#include <cstring>

namespace libpool {
namespace {

TEST(Apart, APlaceThatTheProgramHasJustLeftIsNotTaken) {
#if defined(__SANITIZE_THREAD__)
    GTEST_SKIP() << "ThreadSanitizer puts all mappings where it likes";
#endif
    constexpr size_t bytes = 1 << 20;
    for (int i = 0; i < 100; ++i) {
        void* place =
            mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        ASSERT_NE(place, MAP_FAILED);
        munmap(place, bytes);
        auto ours = static_cast<char*>(map_apart(bytes, PROT_READ | PROT_WRITE));
        ASSERT_NE(ours, MAP_FAILED);
        std::memset(ours, 'o', bytes);
        ASSERT_EQ(mmap(place, bytes, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0),
                  place);
        ASSERT_EQ(ours[0], 'o') << i;
        ASSERT_EQ(ours[bytes - 1], 'o') << i;
        munmap(place, bytes);
        munmap(ours, bytes);
    }
}

TEST(Apart, AsMmapItSaysWhatIsWrong) {
    EXPECT_EQ(map_apart(0, PROT_READ), MAP_FAILED);
    EXPECT_EQ(errno, EINVAL);
    EXPECT_EQ(map_apart(SIZE_MAX / 2, PROT_NONE), MAP_FAILED);
    EXPECT_EQ(errno, ENOMEM);
}

}  // namespace
}  // namespace libpool
