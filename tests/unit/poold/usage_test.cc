// SPDX-License-Identifier: Apache-2.0
// Who holds a dax device: by names in a recorded tree, by the device's number on this machine. Any
// user could keep an extent from being released by a file that is called like it.
#include "poold/usage.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>

#include "fake_tree.h"
#include "poold/fd.h"

namespace poold {
namespace {

constexpr char mapped_32_mib[] =
    "7f0000000000-7f0002000000 rw-s 00000000 00:06 12                    ";

std::vector<Holder> holders_in(const FakeTree& fake) {
    return find_dax_holders(fake.tree(), "dax0.0");
}

TEST(DaxHolders, MapItOrHaveItOpen) {
    FakeTree fake;
    fake.set("/proc/812/comm", "python3\n");
    fake.set("/proc/812/maps", std::string(mapped_32_mib) + "/dev/dax0.0\n");
    fake.set("/proc/813/comm", "opener\n");
    fake.link("/proc/813/fd/5", "/dev/dax0.0");
    fake.set("/proc/813/fdinfo/5", "pos:\t0\nflags:\t02100002\nmnt_id:\t25\n");
    EXPECT_EQ(holders_in(fake),
              (std::vector<Holder>{{812, "python3", 32 * mib}, {813, "opener", 0}}));
}

TEST(DaxHolders, AreNotThoseOfOtherFilesThatAreCalledLikeIt) {
    FakeTree fake;
    for (const char* name : {"/tmp/dax0.0", "/tmp/a /dev/dax0.0", "/dev/dax0.0x", "/dev/dax0.01"}) {
        fake.set("/proc/812/maps", std::string(mapped_32_mib) + name + "\n");
        fake.link("/proc/812/fd/5", name);
        EXPECT_EQ(holders_in(fake), std::vector<Holder>{}) << name;
    }
}

// Which takes no right to the device.
TEST(DaxHolders, AreNotThoseWhoHaveItsPathAlone) {
    FakeTree fake;
    fake.link("/proc/812/fd/5", "/dev/dax0.0");
    fake.set("/proc/812/fdinfo/5", "pos:\t0\nflags:\t012000000\nmnt_id:\t25\n");
    EXPECT_EQ(holders_in(fake), std::vector<Holder>{});
}

// In place of a dax device any other: /dev/full, which hardly anybody has open.
class OnThisMachine : public testing::Test {
  protected:
    void SetUp() override {
        struct stat info;
        if (stat("/dev/full", &info) != 0 || !S_ISCHR(info.st_mode)) GTEST_SKIP() << "no /dev/full";
    }
    static bool we_hold_it() {
        const std::vector<Holder> holders = find_dax_holders(Tree(), "full");
        return std::ranges::any_of(holders, [](const auto& one) { return one.pid == getpid(); });
    }

    FakeTree folder_;  // for files of ours
};

TEST_F(OnThisMachine, ADeviceIsHeldByWhoHasItOpen) {
    EXPECT_FALSE(we_hold_it());
    Fd device(open("/dev/full", O_RDONLY | O_CLOEXEC));
    ASSERT_TRUE(device);
    EXPECT_TRUE(we_hold_it());
}

TEST_F(OnThisMachine, AFileIsNoDevice) {
    for (const char* name : {"/full", "/a /dev/full"}) {
        folder_.set(name, std::string(4096, 'x'));
        Fd file(open((folder_.root() + name).c_str(), O_RDWR | O_CLOEXEC));
        ASSERT_TRUE(file);
        void* mapped_file = mmap(nullptr, 4096, PROT_READ, MAP_SHARED, file.get(), 0);
        ASSERT_NE(mapped_file, MAP_FAILED);
        EXPECT_FALSE(we_hold_it()) << name;
        munmap(mapped_file, 4096);
    }
}

TEST_F(OnThisMachine, APathIsNoOpenDevice) {
    Fd path(open("/dev/full", O_PATH | O_CLOEXEC));
    ASSERT_TRUE(path);
    EXPECT_FALSE(we_hold_it());
}

// As in a container.
TEST_F(OnThisMachine, ADeviceIsTheSameUnderAnotherName) {
    struct stat info;
    ASSERT_EQ(stat("/dev/full", &info), 0);
    const std::string other = folder_.root() + "/other";
    if (mknod(other.c_str(), S_IFCHR | 0600, info.st_rdev) != 0) GTEST_SKIP() << "no right to that";
    Fd device(open(other.c_str(), O_RDONLY | O_CLOEXEC));
    if (!device) GTEST_SKIP() << "no devices are opened in " << folder_.root();
    EXPECT_TRUE(we_hold_it());
}

}  // namespace
}  // namespace poold
