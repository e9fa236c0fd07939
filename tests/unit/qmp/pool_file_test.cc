// SPDX-License-Identifier: Apache-2.0
#include "backend/qmp/pool_file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <functional>

#include "harness.h"

// The kernel's part in a scrub, which tests can let fail. These stand before libc's in this
// program.
namespace {
bool no_holes = false;                    // the file system cannot punch holes
std::function<int()> at_flush = nullptr;  // what happens instead of a flush
}  // namespace

extern "C" int fallocate(int fd, int mode, off_t offset, off_t length) {
    if (no_holes) {
        errno = EOPNOTSUPP;
        return -1;
    }
    return static_cast<int>(::syscall(SYS_fallocate, fd, mode, offset, length));
}

extern "C" int fdatasync(int fd) {
    return at_flush ? at_flush() : static_cast<int>(::syscall(SYS_fdatasync, fd));
}

namespace cxlpool {
namespace {

constexpr Bytes kSize = 64 * MiB;
const std::atomic<bool> kGoOn = false;

class Pool : public testing::Test {
  protected:
    // What a guest's QEMU has of the file: all of it, mapped shared, full of somebody's bytes.
    void SetUp() override {
        make_pool_file(path_, kSize);
        const int fd = ::open(path_.c_str(), O_RDWR | O_CLOEXEC);
        bytes_ =
            static_cast<char*>(::mmap(nullptr, kSize, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
        ::close(fd);
        ASSERT_NE(bytes_, MAP_FAILED);
        std::memset(bytes_, 'x', kSize);
    }
    void TearDown() override {
        no_holes = false;
        at_flush = nullptr;
        ::munmap(bytes_, kSize);
    }

    std::string refusal(Bytes size = kSize) {
        const auto file = PoolFile::open(path_, size);
        return file ? "opened" : file.error().message;
    }
    bool only_zeros(Range range) const {
        return std::all_of(bytes_ + range.dpa, bytes_ + range.end(), [](char b) { return b == 0; });
    }
    bool untouched_but(Range range) const {
        const auto old = [](char b) { return b == 'x'; };
        return std::all_of(bytes_, bytes_ + range.dpa, old) &&
               std::all_of(bytes_ + range.end(), bytes_ + kSize, old);
    }

    TempDir folder_;
    std::string path_ = folder_ / "mem0.pool";
    char* bytes_ = nullptr;
};

TEST_F(Pool, AScrubErasesTheRangeAndNothingElse) {
    const auto file = PoolFile::open(path_, kSize);
    ASSERT_TRUE(file) << file.error().message;
    for (const bool holes : {true, false}) {
        no_holes = !holes;
        std::memset(bytes_, 'x', kSize);
        const Range range{6 * MiB, 14 * MiB};
        EXPECT_EQ(file->scrub(range, kGoOn), 14 * MiB);
        EXPECT_TRUE(only_zeros(range));
        EXPECT_TRUE(untouched_but(range));
    }
    EXPECT_EQ(file->scrub({0, kSize}, kGoOn), kSize);
    struct stat status = {};
    ASSERT_EQ(::stat(path_.c_str(), &status), 0);
    EXPECT_EQ(static_cast<Bytes>(status.st_size), kSize);
}

TEST_F(Pool, AByteThatIsWrittenAgainIsFound) {
    const auto file = PoolFile::open(path_, kSize);
    ASSERT_TRUE(file);
    for (const Bytes dpa : {8 * MiB, 9 * MiB + 4097, 10 * MiB - 1}) {
        at_flush = [&] {
            bytes_[dpa] = 0x41;  // a host that can still reach it
            return 0;
        };
        const auto bytes = file->scrub({8 * MiB, 2 * MiB}, kGoOn);
        ASSERT_FALSE(bytes);
        EXPECT_EQ(bytes.error().message,
                  "pool file " + path_ + ": DPA " + std::to_string(dpa) +
                      " reads 0x41 after [8M-10M] was erased: some host still writes there");
    }
}

TEST_F(Pool, AFailedFlushIsAnError) {
    const auto file = PoolFile::open(path_, kSize);
    ASSERT_TRUE(file);
    at_flush = [] {
        errno = EIO;
        return -1;
    };
    EXPECT_EQ(file->scrub({0, 2 * MiB}, kGoOn).error().message,
              "pool file " + path_ + ": [0-2M] could not be flushed: Input/output error");
}

TEST_F(Pool, AScrubStopsWithFmdAndKeepsInside) {
    const auto file = PoolFile::open(path_, kSize);
    ASSERT_TRUE(file);
    const std::atomic<bool> stop = true;
    EXPECT_FALSE(file->scrub({0, 2 * MiB}, stop));
    EXPECT_FALSE(file->scrub({kSize - 2 * MiB, 4 * MiB}, kGoOn));
    EXPECT_FALSE(file->scrub({~Bytes{0} - MiB, 2 * MiB}, kGoOn));
    EXPECT_EQ(bytes_[kSize - 1], 'x');
}

TEST_F(Pool, ServesOneFmd) {
    auto first = std::make_unique<Result<PoolFile>>(PoolFile::open(path_, kSize));
    ASSERT_TRUE(*first);
    EXPECT_EQ(refusal(),
              "pool file " + path_ + " is in use by another fmd (pid " +
                  std::to_string(::getpid()) +
                  "): two of them would give the same memory to two hosts; stop that one "
                  "first");
    first.reset();
    EXPECT_EQ(refusal(), "opened");
}

TEST_F(Pool, MustBeTheFileThatIsMeant) {
    EXPECT_EQ(refusal(1 * GiB), "pool file " + path_ +
                                    " has 64 MiB, not the 1 GiB of the fabric file: "
                                    "correct the one that is wrong");
    ASSERT_EQ(::chmod(path_.c_str(), 0640), 0);
    EXPECT_EQ(refusal(), "pool file " + path_ +
                             " is open to others (mode 0640), and so is every host's "
                             "memory in it: chmod 600 it");
    ASSERT_EQ(::unlink(path_.c_str()), 0);
    EXPECT_EQ(refusal(), "pool file " + path_ + " cannot be opened: No such file or directory");
    ASSERT_EQ(::mkfifo(path_.c_str(), 0600), 0);
    EXPECT_EQ(refusal(), "pool file " + path_ + " is not a regular file");
}

TEST_F(Pool, AFileMadeAnewHasAnotherIdentity) {
    const std::string old = PoolFile::open(path_, kSize)->identity();
    EXPECT_EQ(PoolFile::open(path_, kSize)->identity(), old);
    for (int i = 0; i < 5; ++i) {  // a small file system gives the same inode again
        ASSERT_EQ(::unlink(path_.c_str()), 0);
        ::usleep(20'000);
        make_pool_file(path_, kSize);
        EXPECT_NE(PoolFile::open(path_, kSize)->identity(), old);
    }
}

}  // namespace
}  // namespace cxlpool
