// SPDX-License-Identifier: Apache-2.0
// mremap() across borders that the program did not draw: here drawn by MADV_DONTFORK, in guests by
// the tracking (tier-torture).
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>

#include "run/remap.h"
#include "tier/descriptor.h"
#include "uapi.h"

namespace libpool::run {
namespace {

constexpr size_t pages = 16;

// Room with nothing behind it for `behind` pages, unless something is put there.
char* room(size_t wanted, size_t behind = 64) {
    void* at = mmap(nullptr, (wanted + behind) * page_bytes, PROT_NONE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    EXPECT_NE(at, MAP_FAILED);
    return static_cast<char*>(at);
}

char* map_at(char* at, size_t many, int rights = PROT_READ | PROT_WRITE) {
    void* mapped =
        mmap(at, many * page_bytes, rights, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    EXPECT_EQ(mapped, at);
    return at;
}

void draw_border(char* at, size_t many) {
    ASSERT_EQ(madvise(at, many * page_bytes, MADV_DONTFORK), 0);
}

void fill(char* at, size_t many) {
    for (size_t page = 0; page < many; ++page)
        std::memset(at + page * page_bytes, int('a' + page), page_bytes);
}

void expect_filled(const char* at, size_t many) {
    for (size_t page = 0; page < many; ++page) {
        ASSERT_EQ(at[page * page_bytes], char('a' + page)) << "page " << page;
        ASSERT_EQ(at[(page + 1) * page_bytes - 1], char('a' + page)) << "page " << page;
    }
}

bool is_mapped(const char* at) {
    unsigned char in_core = 0;
    return mincore(const_cast<char*>(at), page_bytes, &in_core) == 0;
}

class Remap : public testing::Test {
  protected:
    void SetUp() override {
        const tier::Descriptor maps(open("/proc/self/maps", O_RDONLY | O_CLOEXEC));
        procmap_query asked{};
        asked.size = sizeof asked;
        asked.query_addr = reinterpret_cast<uint64_t>(this);
        if (ioctl(maps.get(), PROCMAP_QUERY, &asked) != 0)
            GTEST_SKIP() << "this kernel tells no mapping (Linux 6.11 does): " << strerror(errno);
        is_tracked = true;
    }
    void TearDown() override { is_tracked = false; }
};

// Three mappings to the kernel, nothing mapped for 64 pages behind them.
struct Three {
    char* at = room(pages);
    Three() {
        map_at(at, pages);
        munmap(at + pages * page_bytes, 64 * page_bytes);
        fill(at, pages);
        draw_border(at + 5 * page_bytes, 4);
    }
    void close_behind() const { map_at(at + pages * page_bytes, 1, PROT_NONE); }
    size_t bytes() const { return pages * page_bytes; }
};

TEST_F(Remap, TheKernelRefusesWhatWeDo) {
    Three memory;
    void* at = mremap(memory.at, memory.bytes(), 2 * memory.bytes(), MREMAP_MAYMOVE);
    ASSERT_EQ(at, MAP_FAILED) << "this kernel needs no remap()";
    EXPECT_EQ(errno, EFAULT);
}

TEST_F(Remap, GrowsWhereThereIsRoomBehindIt) {
    Three memory;
    void* at = remap(memory.at, memory.bytes(), memory.bytes() + 3 * page_bytes, 0, nullptr);
    ASSERT_EQ(at, memory.at);
    expect_filled(memory.at, pages);
    EXPECT_EQ(memory.at[memory.bytes() + 2 * page_bytes], 0);
    EXPECT_FALSE(is_mapped(memory.at + memory.bytes() + 3 * page_bytes));
}

TEST_F(Remap, MovesWhereThereIsNone) {
    Three memory;
    memory.close_behind();
    EXPECT_EQ(remap(memory.at, memory.bytes(), 2 * memory.bytes(), 0, nullptr), MAP_FAILED);
    EXPECT_EQ(errno, ENOMEM);
    expect_filled(memory.at, pages);

    auto at = static_cast<char*>(
        remap(memory.at, memory.bytes(), 2 * memory.bytes(), MREMAP_MAYMOVE, nullptr));
    ASSERT_NE(at, MAP_FAILED) << std::strerror(errno);
    ASSERT_NE(at, memory.at);
    expect_filled(at, pages);
    std::memset(at + memory.bytes(), 'z', memory.bytes());
    for (size_t page = 0; page < pages; ++page)
        EXPECT_FALSE(is_mapped(memory.at + page * page_bytes)) << page;
    munmap(at, 2 * memory.bytes());
}

TEST_F(Remap, MovesToAFixedPlaceAndShrinks) {
    for (size_t wanted : {pages, pages + 5, size_t(12), size_t(7), size_t(2)}) {
        Three memory;
        char* to = room(wanted);
        void* at = remap(memory.at, memory.bytes(), wanted * page_bytes,
                         MREMAP_MAYMOVE | MREMAP_FIXED, to);
        ASSERT_EQ(at, to) << wanted << ": " << std::strerror(errno);
        expect_filled(to, std::min(wanted, pages));
        std::memset(to, 'z', wanted * page_bytes);
        for (size_t page = 0; page < pages; ++page)
            EXPECT_FALSE(is_mapped(memory.at + page * page_bytes)) << page;
        munmap(to, (wanted + 64) * page_bytes);
    }
}

TEST_F(Remap, LeavesTheOldPlaceMappedIfAsked) {
    for (bool fixed : {false, true}) {
        Three memory;
        char* to = fixed ? room(pages) : nullptr;
        auto at = static_cast<char*>(
            remap(memory.at, memory.bytes(), memory.bytes(),
                  MREMAP_MAYMOVE | MREMAP_DONTUNMAP | (fixed ? MREMAP_FIXED : 0), to));
        ASSERT_NE(at, MAP_FAILED) << std::strerror(errno);
        EXPECT_TRUE(!fixed || at == to);
        expect_filled(at, pages);
        for (size_t page = 0; page < pages; ++page)
            EXPECT_EQ(memory.at[page * page_bytes], 0) << page;
    }
}

TEST_F(Remap, SizesNeedNotBeWholePages) {
    Three memory;
    memory.close_behind();
    auto at = static_cast<char*>(
        remap(memory.at, memory.bytes() - 100, memory.bytes() + 1, MREMAP_MAYMOVE, nullptr));
    ASSERT_NE(at, MAP_FAILED) << std::strerror(errno);
    expect_filled(at, pages);
    at[memory.bytes()] = 1;
}

TEST_F(Remap, RefusesWhatWouldBeRefusedWithoutTheTracking) {
    struct Case {
        const char* what;
        void (*spoil)(char* at);
        int code;
    };
    for (const Case& c :
         {Case{"a hole", [](char* at) { munmap(at + 7 * page_bytes, page_bytes); }, EFAULT},
          Case{"other rights", [](char* at) { mprotect(at, page_bytes, PROT_READ); }, EFAULT}}) {
        Three memory;
        memory.close_behind();
        c.spoil(memory.at);
        EXPECT_EQ(remap(memory.at, memory.bytes(), 2 * memory.bytes(), MREMAP_MAYMOVE, nullptr),
                  MAP_FAILED)
            << c.what;
        EXPECT_EQ(errno, c.code) << c.what;
        expect_filled(memory.at, 7);
    }
    Three memory;
    char* within = memory.at + 2 * page_bytes;
    EXPECT_EQ(
        remap(memory.at, memory.bytes(), memory.bytes(), MREMAP_MAYMOVE | MREMAP_FIXED, within),
        MAP_FAILED);
    EXPECT_EQ(errno, EINVAL);
    EXPECT_EQ(remap(memory.at + 1, memory.bytes(), 2 * memory.bytes(), MREMAP_MAYMOVE, nullptr),
              MAP_FAILED);
    EXPECT_EQ(errno, EINVAL);
    EXPECT_EQ(remap(memory.at, memory.bytes(), 0, MREMAP_MAYMOVE, nullptr), MAP_FAILED);
    EXPECT_EQ(errno, EINVAL);
    expect_filled(memory.at, pages);
}

// What a child says by its exit code: limits are for a whole process.
int in_child(int (*says)(size_t), size_t with) {
    const pid_t child = fork();
    if (child == 0) _exit(says(with));
    int status = -1;
    EXPECT_EQ(waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFEXITED(status)) << with;
    return WEXITSTATUS(status);
}

constexpr int moved = 0, stayed = 1, lost = 2, no_test = 3, left_behind = 4;

int told(char* at, const void* got) {
    if (got != MAP_FAILED) at = static_cast<char*>(const_cast<void*>(got));
    for (size_t page = 0; page < pages; ++page) {
        if (!is_mapped(at + page * page_bytes) || at[page * page_bytes] != char('a' + page))
            return lost;
    }
    return got == MAP_FAILED ? stayed : moved;
}

uint64_t status_kib(const char* key) {
    FILE* file = fopen("/proc/self/status", "r");
    char line[256];
    uint64_t kib = 0;
    while (file && fgets(line, sizeof line, file)) {
        if (std::strncmp(line, key, std::strlen(key)) == 0)
            kib = std::strtoull(line + std::strlen(key), nullptr, 10);
    }
    if (file) fclose(file);
    return kib;
}

// With so little address space that there is no room to move to; and with so much that the first
// two parts have gone when the third, which is to grow, finds none (kernels before 6.17 give it
// some).
TEST_F(Remap, AllOrNothing) {
    constexpr size_t more = 4096;
    auto says = [](size_t spare_pages) {
        char* at = map_at(room(pages), pages);
        char* to = room(pages + more);
        munmap(to, (pages + more + 64) * page_bytes);
        fill(at, pages);
        draw_border(at + 5 * page_bytes, 4);
        const uint64_t size_kib = status_kib("VmSize:");
        const rlimit limit{(size_kib << 10) + spare_pages * page_bytes, RLIM_INFINITY};
        setrlimit(RLIMIT_AS, &limit);
        for (int fixed : {0, MREMAP_FIXED}) {
            void* got = remap(at, pages * page_bytes, (pages + more) * page_bytes,
                              MREMAP_MAYMOVE | fixed, fixed ? to : nullptr);
            if (got == MAP_FAILED && errno != ENOMEM) return no_test;
            if (int now = told(at, got); now != stayed) return now;
            if (status_kib("VmSize:") != size_kib) return left_behind;
        }
        return stayed;
    };
    EXPECT_EQ(in_child(says, 64), stayed);
    const int with_room = in_child(says, pages + more + 64);
    EXPECT_TRUE(with_room == stayed || with_room == moved) << with_room;
}

TEST_F(Remap, ToAFixedPlaceOneMappingNeedsNoMoreThanOneCallDoes) {
    for (int limit : {RLIMIT_DATA, RLIMIT_AS}) {
        auto says = [](size_t which) {
            char* at = map_at(room(pages), pages);
            fill(at, pages);
            char* to = room(pages);
            munmap(to, (pages + 64) * page_bytes);
            const bool data = which == RLIMIT_DATA;
            const rlimit no_more{status_kib(data ? "VmData:" : "VmSize:") << 10, RLIM_INFINITY};
            setrlimit(__rlimit_resource_t(which), &no_more);
            const size_t bytes = pages * page_bytes;
            return told(at, remap(at, bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, to));
        };
        EXPECT_EQ(in_child(says, size_t(limit)), moved) << limit;
    }
}

TEST_F(Remap, WhatCannotGoToAPlaceIsNotCutOffEither) {
    Three memory;
    const auto nowhere = reinterpret_cast<void*>(uint64_t{1} << 50);
    EXPECT_EQ(
        remap(memory.at, memory.bytes(), 3 * page_bytes, MREMAP_MAYMOVE | MREMAP_FIXED, nowhere),
        MAP_FAILED);
    EXPECT_EQ(told(memory.at, MAP_FAILED), stayed);
}

// Once what had gone could not return then, and was unmapped.
TEST_F(Remap, AllOrNothingWhereAllMemoryIsLocked) {
    auto says = [](size_t limit_pages) {
        Three memory;
        memory.close_behind();
        if (geteuid() == 0 && setuid(65534) != 0) return no_test;
        const rlimit limit{limit_pages * page_bytes, limit_pages * page_bytes};
        if (setrlimit(RLIMIT_MEMLOCK, &limit) != 0 || mlock(memory.at, memory.bytes()) != 0)
            return no_test;
        if (mlockall(MCL_FUTURE) != 0) return no_test;
        return told(memory.at,
                    remap(memory.at, memory.bytes(), 2 * memory.bytes(), MREMAP_MAYMOVE, nullptr));
    };
    for (size_t limit_pages = pages; limit_pages < 4 * pages; ++limit_pages) {
        EXPECT_NE(in_child(says, limit_pages), lost) << limit_pages;
    }
}

uint64_t mapping_limit() {
    FILE* file = fopen("/proc/sys/vm/max_map_count", "r");
    unsigned long limit = 0;
    if (!file || fscanf(file, "%lu", &limit) != 1) limit = 0;
    if (file) fclose(file);
    return limit;
}

TEST_F(Remap, AllOrNothingWhereMappingsRunOut) {
    if (mapping_limit() == 0 || mapping_limit() > 100'000) GTEST_SKIP() << "far too many may be";
    auto says = [](size_t mappings_left) {
        Three memory;
        for (size_t page : {1, 3, 11, 13}) draw_border(memory.at + page * page_bytes, 1);
        char* to = room(pages);
        size_t mapped = 0;
        FILE* maps = fopen("/proc/self/maps", "r");
        for (int c = 0; maps && (c = fgetc(maps)) != EOF;) mapped += c == '\n';
        if (!maps) return no_test;
        fclose(maps);
        const size_t wanted = mapping_limit() - mapped - mappings_left;
        char* many = room(wanted);
        for (size_t page = 0; page + 2 < wanted; page += 2)
            mprotect(many + (page + 1) * page_bytes, page_bytes, PROT_READ);
        return told(memory.at, remap(memory.at, memory.bytes(), memory.bytes(),
                                     MREMAP_MAYMOVE | MREMAP_FIXED, to));
    };
    std::array<int, 4> seen{};
    for (size_t mappings_left = 2; mappings_left < 24; mappings_left += 2)
        ++seen[size_t(in_child(says, mappings_left))];
    EXPECT_GT(seen[moved], 0);
    EXPECT_GT(seen[stayed], 0);
    EXPECT_EQ(seen[lost], 0);
}

TEST_F(Remap, ThousandsOfPartsTakeNoLongerEach) {
    constexpr size_t many = 4000;
    char* at = map_at(room(many), many);
    for (size_t page = 0; page < many; page += 2) draw_border(at + page * page_bytes, 1);
    char* to = room(many);
    const auto began = std::chrono::steady_clock::now();
    EXPECT_EQ(remap(at, many * page_bytes, many * page_bytes, MREMAP_MAYMOVE | MREMAP_FIXED, to),
              to);
    EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(4));  // once: 11
    munmap(to, (many + 64) * page_bytes);
}

// Once a part that was not to be found then led to all of the program being unmapped.
TEST_F(Remap, RightsThatOthersChangeMeanwhileAreNoHarm) {
    std::atomic<char*> target = nullptr;
    std::atomic<bool> busy = false, stop = false;
    std::thread changer([&] {
        for (size_t turn = 0; !stop; ++turn) {
            busy = true;
            if (char* at = target) {
                char* page = at + turn * 7 % pages * page_bytes;
                mprotect(page, page_bytes, PROT_READ);
                mprotect(page, page_bytes, PROT_READ | PROT_WRITE);
            }
            busy = false;
        }
    });
    for (int turn = 0; turn < 1000; ++turn) {
        Three memory;
        memory.close_behind();
        target = memory.at;
        void* at = remap(memory.at, memory.bytes(), 2 * memory.bytes(), MREMAP_MAYMOVE, nullptr);
        target = nullptr;
        while (busy) continue;
        if (told(memory.at, at) == lost) ADD_FAILURE() << turn;
        munmap(memory.at, memory.bytes() + page_bytes);
        if (at != MAP_FAILED) munmap(at, 2 * memory.bytes());
    }
    stop = true;
    changer.join();
}

TEST_F(Remap, NoThreadIsCancelledInIt) {
    pthread_t thread;
    auto work = [](void*) -> void* {
        Three memory;
        memory.close_behind();
        pthread_cancel(pthread_self());
        return remap(memory.at, memory.bytes(), 2 * memory.bytes(), MREMAP_MAYMOVE, nullptr);
    };
    ASSERT_EQ(pthread_create(&thread, nullptr, work, nullptr), 0);
    void* at = nullptr;
    ASSERT_EQ(pthread_join(thread, &at), 0);
    EXPECT_NE(at, PTHREAD_CANCELED);
}

// A filter may end a program that opens anything.
TEST_F(Remap, UntrackedOneCallIsAllThereIs) {
    const pid_t child = fork();
    if (child == 0) {
        is_tracked = false;
        char* at = map_at(room(pages), pages);
        char* to = room(pages);
        fill(at, pages);
        sock_filter rules[] = {
            BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
            BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat, 0, 1),
            BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
            BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        };
        const sock_fprog filter = {.len = 4, .filter = rules};
        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
            prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0) {
            _exit(77);
        }
        const void* result =
            remap(at, pages * page_bytes, pages * page_bytes, MREMAP_MAYMOVE | MREMAP_FIXED, to);
        _exit(result == to && to[0] == 'a' ? 0 : 1);
    }
    int status = -1;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77) GTEST_SKIP() << "no filter may be set here";
    EXPECT_TRUE(WIFEXITED(status)) << "signal " << WTERMSIG(status);
    EXPECT_EQ(WEXITSTATUS(status), 0);
}

}  // namespace
}  // namespace libpool::run
