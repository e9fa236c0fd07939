// SPDX-License-Identifier: Apache-2.0
// A program that knows nothing of tiering, with so much thread-local data that little is left of a
// small stack: the C library takes them, for each thread that anybody starts in the process, out of
// that thread's stack.
//
// usage: big-thread-local-KIB [SECONDS]. Ends by SIGTERM, too. Two threads read 32 MiB, an eighth
// of them most of the time, and check all that they read, and their own data now and then. Exit
// code: 0; 1 when something was wrong; 2 when there is no memory.
#include <signal.h>
#include <sys/mman.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <thread>

namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t words = (32 << 20) / sizeof(uint64_t), hot_words = words / 8;

std::atomic<bool> ended = false;
std::atomic<uint64_t> wrong = 0;

thread_local std::array<uint64_t, (THREAD_LOCAL_KIB << 10) / sizeof(uint64_t)> mine;

uint64_t word_of(size_t index) { return index * 0x9e3779b97f4a7c15; }

void work(const uint64_t* data, uint64_t seed, Clock::time_point end) {
    std::mt19937_64 random(seed);
    for (uint64_t round = 0; !ended && Clock::now() < end; ++round) {
        for (int i = 0; i < 10000; ++i) {
            const size_t index = random() % 10 ? random() % hot_words : random() % words;
            wrong += data[index] != word_of(index);
        }
        for (size_t i = 0; i < mine.size(); ++i) {
            wrong += mine[i] != (round ? word_of(i) + seed + round - 1 : 0);
            mine[i] = word_of(i) + seed + round;
        }
    }
}

}  // namespace

int main(int argc, char** argv) {
    const auto end = Clock::now() + std::chrono::seconds(argc > 1 ? std::atoi(argv[1]) : 10);
    signal(SIGTERM, [](int) { ended = true; });
    void* memory = mmap(nullptr, words * sizeof(uint64_t), PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return std::perror("big-thread-local"), 2;
    // Which of sixteen huge pages are hot takes luck to tell in some seconds.
    madvise(memory, words * sizeof(uint64_t), MADV_NOHUGEPAGE);
    auto data = static_cast<uint64_t*>(memory);
    for (size_t i = 0; i < words; ++i) data[i] = word_of(i);

    std::thread other(work, data, 1, end);
    work(data, 2, end);
    other.join();
    if (wrong == 0) return 0;
    std::printf("%llu values are wrong\n", static_cast<unsigned long long>(wrong));
    return 1;
}
