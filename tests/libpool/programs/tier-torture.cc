// SPDX-License-Identifier: Apache-2.0
// A program under fire (fire.h): all that programs do to their memory, while its pages are armed,
// looked at and moved at full speed. Each check looks at its data. With FIRE=off only the checks
// run, for use under the preload library. usage: tier-torture [CHECK…]
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <thread>
#include <vector>

#include "checks.h"
#include "fire.h"
#include "run/remap.h"

#ifndef MADV_COLLAPSE  // Linux 6.1
#define MADV_COLLAPSE 25
#endif

namespace {

constexpr size_t page = 4096;
constexpr size_t mib = 1 << 20;

// The sampler that fires here; off: somebody else fires, from a library that is preloaded.
std::string wanted_fire() {
    const char* wanted = std::getenv("FIRE");
    return wanted ? wanted : "rwp";
}
bool fires_here() { return wanted_fire() != "off"; }

// For as long as a check runs.
struct Fired {
    std::unique_ptr<fire::Fire> fire;
    Fired() {
        if (fires_here()) fire = std::make_unique<fire::Fire>(wanted_fire());
    }
    ~Fired() {
        if (!fire) return;
        fire->wait_for_cycles(2);
        fire::Counts counts = fire->stop();
        std::printf(
            "        %lu cycles, pages: %lu touched %lu idle %lu absent %lu moved; ranges: "
            "%lu added %lu refused\n",
            counts.cycles, counts.touched, counts.idle, counts.absent, counts.moved, counts.added,
            counts.refused);
        const bool can_move = access("/sys/devices/system/node/node1", F_OK) == 0;
        must(!can_move || counts.moved > 0 || counts.cycles < 20, "pages were moved");
        must(counts.touched + counts.idle > 0, "pages were armed and looked at");
    }
    void forget() {
        if (fire) fire->forget(), (void)fire.release();
    }
};

double now_s() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch())
        .count();
}

// Memory in which every word tells where it is, and of which generation.
class Pattern {
  public:
    Pattern(size_t bytes, int flags = MAP_PRIVATE | MAP_ANONYMOUS, int file = -1) : bytes_(bytes) {
        void* at = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, flags, file, 0);
        must(at != MAP_FAILED, std::string("memory can be mapped: ") + std::strerror(errno));
        at_ = static_cast<uint64_t*>(at);
        fill(1);
    }
    ~Pattern() { munmap(at_, bytes_); }
    Pattern(const Pattern&) = delete;
    void fill(uint64_t generation) {
        generation_ = generation;
        for (size_t i = 0; i < bytes_ / 8; i += 64) at_[i] = word(i);
    }
    void check(const char* what) const {
        for (size_t i = 0; i < bytes_ / 8; i += 64) {
            must(at_[i] == word(i), std::string(what) + ": word " + std::to_string(i) + " is " +
                                        std::to_string(at_[i]) + ", not " +
                                        std::to_string(word(i)));
        }
    }
    void resize(size_t bytes, int flags = MREMAP_MAYMOVE, void* where = nullptr) {
        // This program shows no mremap of its own, which would take the preloaded library's place.
        void* at = fires_here() ? libpool::run::remap(at_, bytes_, bytes, flags, where)
                                : mremap(at_, bytes_, bytes, flags, where);
        must(at != MAP_FAILED, std::string("mremap: ") + std::strerror(errno));
        at_ = static_cast<uint64_t*>(at);
        bytes_ = bytes;
    }
    uint64_t* data() { return at_; }
    size_t bytes() const { return bytes_; }

  private:
    uint64_t word(size_t i) const { return i * 0x9e3779b97f4a7c15 ^ generation_; }
    uint64_t* at_;
    size_t bytes_;
    uint64_t generation_ = 1;
};

int wait_for(pid_t child) {
    int status = -1;
    must(waitpid(child, &status, 0) == child, "the child can be waited for");
    return status;
}

void several(int threads, const std::function<void(int)>& work) {
    std::vector<std::thread> all;
    for (int i = 0; i < threads; ++i) all.emplace_back(work, i);
    for (std::thread& thread : all) thread.join();
}

void threads_read_and_write() {
    Fired fired;
    Pattern shared(32 * mib);
    several(4, [&](int which) {
        std::mt19937_64 random(static_cast<uint64_t>(which));
        std::vector<uint64_t> mirror(8 * mib / page);
        uint64_t* own = shared.data() + size_t(which) * 8 * mib / 8;
        for (size_t i = 0; i < mirror.size(); ++i) own[i * 512 + 1] = 0;
        for (double end = now_s() + 0.8; now_s() < end;) {
            for (int i = 0; i < 2000; ++i) {
                size_t at = random() % mirror.size();
                must(own[at * 512 + 1] == mirror[at], "a page holds what was written last");
                own[at * 512 + 1] = mirror[at] = random();
            }
        }
    });
    shared.check("all of it");
}

void forked_children_see_and_change_their_copy() {
    Fired fired;
    Pattern memory(8 * mib);
    for (int round = 0; round < 3; ++round) {
        pid_t child = fork();
        if (child == 0) {
            fired.forget();
            memory.check("the child's copy");
            memory.fill(77);
            pid_t grandchild = fork();
            if (grandchild == 0) memory.check("the grandchild's copy"), _exit(0);
            memory.check("the child's own");
            std::vector<std::string> strings(1000, std::string(100, 'x'));  // malloc works
            _exit(wait_for(grandchild) == 0 ? 0 : 1);
        }
        memory.fill(uint64_t(round) + 2);
        memory.check("the parent's");
        must(wait_for(child) == 0, "the child ends well");
        memory.check("the parent's, afterwards");
    }
}

// While other threads are in malloc.
void forks_of_a_program_with_threads() {
    Fired fired;
    std::atomic<bool> stop = false;
    std::vector<std::thread> busy;
    for (int i = 0; i < 3; ++i) {
        busy.emplace_back([&stop, i] {
            std::mt19937 random(static_cast<unsigned>(i));
            while (!stop) std::vector<char> some(random() % 300000 + 1, 'x');
        });
    }
    for (int i = 0; i < 8; ++i) {
        pid_t child = fork();
        if (child == 0) {
            fired.forget();
            for (int k = 0; k < 100; ++k) std::vector<char>(size_t(k) * 3000 + 1, 'y');
            _exit(0);
        }
        must(wait_for(child) == 0, "the child ends well");
    }
    stop = true;
    for (std::thread& thread : busy) thread.join();
}

[[gnu::noinline]] void vfork_shares(const uint64_t* memory) {
    static volatile int seen;
    seen = 0;
    pid_t child = vfork();
    if (child == 0) {
        seen = int(memory[0] == 1);
        _exit(0);
    }
    must(wait_for(child) == 0 && seen == 1, "vfork shares the memory");
}

void vfork_and_spawn() {
    Fired fired;
    Pattern memory(4 * mib);
    for (int i = 0; i < 8; ++i) {
        vfork_shares(memory.data());
        pid_t child = 0;
        char word[] = "true";
        char* argv[] = {word, nullptr};
        must(posix_spawnp(&child, word, nullptr, nullptr, argv, environ) == 0, "spawn");
        must(wait_for(child) == 0, "true ends with 0");
    }
    memory.check("all of it");
}

void exec_under_fire() {
    Fired fired;
    for (int i = 0; i < 2; ++i) {
        pid_t child = fork();
        if (child == 0) {
            fired.forget();
            new Fired;
            char name[] = "tier-torture", what[] = "a_program_that_does_little";
            char* argv[] = {name, what, nullptr};
            int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
            dup2(null, 1);
            execv("/proc/self/exe", argv);
            _exit(9);
        }
        must(wait_for(child) == 0, "the new program ends well");
    }
}

void mremap_grows_shrinks_and_moves() {
    Fired fired;
    std::mt19937 random(5);
    std::vector<std::unique_ptr<Pattern>> memories;
    for (int i = 0; i < 4; ++i) memories.push_back(std::make_unique<Pattern>((1 + i) * mib));
    for (double end = now_s() + 0.8; now_s() < end;) {
        Pattern& memory = *memories[random() % memories.size()];
        const size_t before = memory.bytes();
        size_t bytes = (random() % 4 + 1) * mib + random() % 16 * page;
        if (random() % 2) {
            memory.resize(bytes);
        } else {
            void* where =
                mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
            memory.resize(bytes, MREMAP_MAYMOVE | MREMAP_FIXED, where);
        }
        const size_t kept = std::min(before, bytes) / 8;
        for (size_t i = 0; i < bytes / 8; i += 64) {
            const uint64_t wanted = i < kept ? i * 0x9e3779b97f4a7c15 ^ 1 : 0;
            must(memory.data()[i] == wanted, i < kept ? "what was there stays" : "new is zero");
        }
        memory.fill(1);
    }
    // Across a border that is always there: the kernel alone refuses.
    Pattern parts(mib);
    char* middle = reinterpret_cast<char*>(parts.data()) + mib / 4;
    must(madvise(middle, mib / 4, MADV_DONTFORK) == 0, "a part can be kept from children");
    parts.resize(2 * mib);
    must(parts.data()[mib / 16 + 64] == ((mib / 16 + 64) * 0x9e3779b97f4a7c15 ^ 1),
         "what was behind the border stays");
    // realloc of large pieces is mremap too.
    char* piece = static_cast<char*>(std::malloc(mib));
    std::memset(piece, 'a', mib);
    for (size_t size = 2; size <= 16; ++size) {
        piece = static_cast<char*>(std::realloc(piece, size * mib));
        must(piece && piece[0] == 'a' && piece[(size - 1) * mib - 1] == char('a' + size - 2),
             "realloc keeps the data");
        std::memset(piece + (size - 1) * mib, int('a' + size - 1), mib);
        usleep(20000);
    }
    std::free(piece);
}

void mappings_come_and_go() {
    Fired fired;
    several(3, [](int which) {
        std::mt19937 random(static_cast<unsigned>(which));
        std::map<int, std::unique_ptr<Pattern>> memories;
        for (double end = now_s() + 0.8; now_s() < end;) {
            auto& memory = memories[int(random() % 12)];
            if (memory) {
                memory->check("before it goes");
                if (random() % 3 == 0) {  // first a hole, and something else in it
                    char* hole = reinterpret_cast<char*>(memory->data()) + 16 * page;
                    munmap(hole, 16 * page);
                    void* file = mmap(hole, 8 * page, PROT_READ,
                                      MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
                    usleep(random() % 2000);
                    if (file == hole) must(*static_cast<volatile char*>(file) == 0, "the other");
                }
                memory.reset();
            } else {
                memory = std::make_unique<Pattern>((random() % 64 + 33) * page);
            }
        }
    });
}

void discarded_pages_are_zero() {
    Fired fired;
    Pattern memory(4 * mib);
    std::mt19937 random(3);
    for (double end = now_s() + 0.6; now_s() < end;) {
        memory.fill(9);
        size_t first = random() % 512, count = random() % 512 + 1;
        uint64_t* at = memory.data() + first * 512;
        madvise(at, count * page, MADV_DONTNEED);
        for (size_t i = 0; i < count * 512; i += 64) must(at[i] == 0, "a discarded page is zero");
        memory.fill(10);
        madvise(at, count * page, MADV_FREE);
        for (size_t i = 0; i < count * 512; i += 64) {
            uint64_t kept = (first * 512 + i) * 0x9e3779b97f4a7c15 ^ 10;
            must(at[i] == 0 || at[i] == kept, "a freed page is zero or whole");
        }
    }
}

// Some huge pages for as long as a check runs; then the machine has as many as before.
class HugePool {
  public:
    HugePool() : before_(pages()) { set(before_ + wanted); }
    ~HugePool() { set(before_); }
    bool is_filled() const { return pages() >= before_ + wanted; }

  private:
    static constexpr const char* file = "/proc/sys/vm/nr_hugepages";
    static constexpr uint64_t wanted = 4;
    static uint64_t pages() {
        uint64_t count = 0;
        std::ifstream(file) >> count;
        return count;
    }
    static void set(uint64_t count) { std::ofstream(file) << count << std::flush; }
    uint64_t before_;
};

// Everything is written again and again; a child writes into its copy of it.
void hold_what_was_written(const std::vector<Pattern*>& memories) {
    for (uint64_t i = 2; i < 5; ++i) {
        for (Pattern* memory : memories) {
            memory->check("before");
            memory->fill(i);
        }
        usleep(50000);
        pid_t child = fork();
        if (child == 0) {
            for (Pattern* memory : memories) memory->check("the child's"), memory->fill(i + 50);
            _exit(0);
        }
        must(wait_for(child) == 0, "the child ends well");
        for (Pattern* memory : memories) memory->check("after");
    }
}

void hugetlb_pages() {
    HugePool pool;
    if (!pool.is_filled()) return void(std::puts("        not checked: no huge pages to be had"));
    Fired fired;
    Pattern huge(4 * mib, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB);
    hold_what_was_written({&huge});  // a child's copies take as many again
}

void shared_memory() {
    Fired fired;
    Pattern shared(2 * mib, MAP_SHARED | MAP_ANONYMOUS);
    for (uint64_t i = 2; i < 6; ++i) {
        shared.check("before");
        pid_t child = fork();
        if (child == 0) shared.check("the child's"), shared.fill(i + 100), _exit(0);
        must(wait_for(child) == 0, "the child ends well");
        must(shared.data()[64] == ((64 * 0x9e3779b97f4a7c15) ^ (i + 100)), "shared is shared");
        usleep(50000);
        shared.fill(i);
    }
}

// On a disk and in memory; mapped shared, and as a copy on write.
void file_mappings() {
    Fired fired;
    char name[] = "/tmp/tier-torture-XXXXXX";
    const int on_disk = mkostemp(name, O_CLOEXEC), in_memory = memfd_create("m", MFD_CLOEXEC);
    must(on_disk >= 0 && in_memory >= 0, "files can be made");
    unlink(name);
    for (int file : {on_disk, in_memory}) {
        must(ftruncate(file, 2 * mib) == 0, "a file of 2 MiB");
        Pattern shared(2 * mib, MAP_SHARED, file);
        Pattern copy(2 * mib, MAP_PRIVATE, file);
        for (uint64_t i = 2; i < 5; ++i) {
            shared.fill(i), copy.fill(i + 10);
            usleep(30000);
            shared.check("the file"), copy.check("the copy");
            uint64_t word = 0;
            must(pread(file, &word, 8, 64 * 8) == 8 && word == shared.data()[64],
                 "read() gives what was written through the mapping");
            word = ~word;
            must(pwrite(file, &word, 8, 8) == 8 && shared.data()[1] == word,
                 "and the mapping what write() wrote");
            must(copy.data()[64] == ((64 * 0x9e3779b97f4a7c15) ^ (i + 10)), "not so the copy");
        }
        hold_what_was_written({&copy});
        close(file);
    }
}

void locked_memory_and_what_children_do_not_get() {
    Fired fired;
    Pattern locked(2 * mib), kept(2 * mib);
    must(mlock(locked.data(), locked.bytes()) == 0, "memory can be locked");
    must(madvise(kept.data(), kept.bytes(), MADV_DONTFORK) == 0, "and kept from children");
    hold_what_was_written({&locked});
    kept.check("what was kept");
}

void huge_pages_under_fire() {
    Fired fired;
    Pattern memory(8 * mib);
    madvise(memory.data(), memory.bytes(), MADV_HUGEPAGE);
    std::mt19937 random(4);
    for (uint64_t i = 2; i < 9; ++i) {
        memory.fill(i);
        if (i % 5 == 0) madvise(memory.data(), memory.bytes(), MADV_COLLAPSE);
        if (i % 7 == 0) {
            uint64_t* at = memory.data() + random() % 2048 * 512;
            madvise(at, page, MADV_DONTNEED);
            must(*at == 0, "a part of a huge page can be discarded");
            memory.fill(i);
        }
        memory.check("huge pages");
    }
}

int deep(int levels) {
    volatile char frame[8192];
    for (size_t i = 0; i < sizeof frame; i += 512) frame[i] = char(levels);
    int below = levels ? deep(levels - 1) : 0;
    for (size_t i = 0; i < sizeof frame; i += 512) {
        must(frame[i] == char(levels), "a stack frame holds what was written");
    }
    return below + 1;
}

void stacks_and_generated_code() {
    Fired fired;
    for (int i = 1; i < 12; ++i) must(deep(i * 60) == i * 60 + 1, "the main stack grows");
    several(4, [](int) {
        for (int i = 0; i < 20; ++i) must(deep(200) == 201, "a thread's stack");
    });
    auto code =
        static_cast<unsigned char*>(mmap(nullptr, 256 * page, PROT_READ | PROT_WRITE | PROT_EXEC,
                                         MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    must(code != MAP_FAILED, "code can be generated");
    std::mt19937 random(6);
    for (double end = now_s() + 0.6; now_s() < end;) {
        uint32_t value = random();
        unsigned char* at = code + random() % 256 * page + random() % 64 * 16;
        unsigned char function[] = {0xb8, 0, 0, 0, 0, 0xc3};  // mov eax, value; ret
        std::memcpy(function + 1, &value, 4);
        std::memcpy(at, function, sizeof function);
        uint32_t got = reinterpret_cast<uint32_t (*)()>(at)();
        must(got == value, "generated code is run as written");
    }
    munmap(code, 256 * page);
}

sigjmp_buf back;
void on_fault(int) { siglongjmp(back, 1); }

bool faults(volatile char* at, bool writing) {
    if (sigsetjmp(back, 1)) return true;
    if (writing)
        *at = 1;
    else
        (void)*at;
    return false;
}

void access_rights_hold() {
    Fired fired;
    struct sigaction action = {}, before = {};
    action.sa_handler = on_fault;
    action.sa_flags = SA_ONSTACK;
    std::vector<char> alternative(1 << 17);  // in tracked memory: the kernel writes the frame
    stack_t stack{};
    stack.ss_sp = alternative.data();
    stack.ss_size = alternative.size();
    sigaltstack(&stack, nullptr);
    sigaction(SIGSEGV, &action, &before);
    Pattern memory(2 * mib);
    std::mt19937 random(8);
    for (double end = now_s() + 0.8; now_s() < end;) {
        size_t first = random() % 500, count = random() % 12 + 1;
        auto at = reinterpret_cast<char*>(memory.data()) + first * page;
        char* some = at + random() % count * page + 8;
        must(mprotect(at, count * page, PROT_NONE) == 0, "rights can be taken");
        if (random() % 4 == 0) usleep(300);
        must(faults(some, false) && faults(some, true), "PROT_NONE holds");
        must(mprotect(at, count * page, PROT_READ) == 0, "and given back");
        must(!faults(some, false) && faults(some, true), "PROT_READ holds");
        must(mprotect(at, count * page, PROT_READ | PROT_WRITE) == 0, "and given back");
        must(!faults(some, true), "and all is as before");
        *some = 0;
    }
    memory.check("all of it");
    sigaction(SIGSEGV, &before, nullptr);
    stack.ss_flags = SS_DISABLE;
    sigaltstack(&stack, nullptr);
}

void the_kernel_reads_and_writes_for_us() {
    Fired fired;
    Pattern from(mib), to(mib);
    int ends[2];
    must(pipe(ends) == 0, "a pipe");
    for (double end = now_s() + 0.6; now_s() < end;) {
        to.fill(99);
        std::thread writer([&] {
            for (size_t done = 0; done < mib;) {
                ssize_t some =
                    write(ends[1], reinterpret_cast<char*>(from.data()) + done, mib - done);
                must(some > 0, "write");
                done += size_t(some);
            }
        });
        for (size_t done = 0; done < mib;) {
            ssize_t some = read(ends[0], reinterpret_cast<char*>(to.data()) + done, mib - done);
            must(some > 0, "read");
            done += size_t(some);
        }
        writer.join();
        must(std::memcmp(from.data(), to.data(), mib) == 0, "a pipe carries what was written");
        std::memset(to.data(), 0, mib);
        iovec local{to.data(), mib}, remote{from.data(), mib};
        must(process_vm_readv(getpid(), &local, 1, &remote, 1, 0) == ssize_t(mib),
             "process_vm_readv");
        must(std::memcmp(from.data(), to.data(), mib) == 0, "process_vm_readv reads what is there");
    }
    close(ends[0]);
    close(ends[1]);
}

void memory_runs_out() {
    Fired fired;
    pid_t child = fork();  // a limit of its own, and a fire of its own
    if (child == 0) {
        fired.forget();
        auto own = new Fired;
        size_t mapped = 0;
        if (FILE* statm = std::fopen("/proc/self/statm", "r")) {
            must(std::fscanf(statm, "%zu", &mapped) == 1, "the size of the program");
            std::fclose(statm);
        }
        rlimit limit{mapped * page + 40 * mib, mapped * page + 40 * mib};
        setrlimit(RLIMIT_AS, &limit);
        for (int round = 0; round < 2; ++round) {
            std::vector<std::unique_ptr<char[]>> pieces;
            while (auto piece = new (std::nothrow) char[mib]) {
                std::memset(piece, int(pieces.size()), mib);
                pieces.emplace_back(piece);
            }
            must(pieces.size() > 20, "some memory was to be had");
            for (size_t i = 0; i < pieces.size(); ++i) {
                must(pieces[i][777] == char(i), "it holds what was written");
            }
            pieces.clear();
            if (own->fire) own->fire->wait_for_cycles(1);
        }
        _exit(0);
    }
    must(wait_for(child) == 0, "a program without memory goes on");
}

void two_hundred_threads() {
    Fired fired;
    std::mutex mutex;
    uint64_t sum = 0;
    several(200, [&](int which) {
        std::vector<uint64_t> own(5000, uint64_t(which));
        for (int round = 0; round < 10; ++round) {
            for (size_t i = 0; i < own.size(); i += 100) {
                must(own[i] == uint64_t(which + round), "a thread's memory");
            }
            for (uint64_t& word : own) ++word;
            std::lock_guard lock(mutex);
            ++sum;
        }
    });
    must(sum == 2000, "all threads did their work");
}

void threads_start_and_end() {
    Fired fired;
    for (int i = 0; i < 8; ++i) {
        several(10, [](int which) {
            std::string word(5000, char('a' + which));
            must(word.find_first_not_of(word[0]) == word.npos, "a thread's string");
        });
    }
}

void a_program_that_does_little() { Pattern(mib).check("all of it"); }

void the_program_closes_all_descriptors() {
    Fired fired;
    Pattern memory(4 * mib);
    std::mt19937 random(9);
    for (uint64_t i = 2; i < 16; ++i) {
        // Sometimes something else of the program takes the number at once.
        if (i % 2)
            syscall(SYS_close_range, 3u, ~0u, 0);
        else
            for (int fd = 3; fd < 1100; ++fd) dup2(1, fd);
        usleep(random() % 20000);
        memory.check("all of it");
        memory.fill(i);
        if (i % 2) continue;
        int alive = 0;
        for (int fd = 3; fd < 1000; ++fd) alive += fcntl(fd, F_GETFD) >= 0;
        must(alive == 997, "the program's descriptors are its own");
        syscall(SYS_close_range, 3u, ~0u, 0);
    }
    memory.check("all of it");
}

constexpr Check checks[] = {
    {"threads_read_and_write", threads_read_and_write},
    {"forked_children_see_and_change_their_copy", forked_children_see_and_change_their_copy},
    {"forks_of_a_program_with_threads", forks_of_a_program_with_threads},
    {"vfork_and_spawn", vfork_and_spawn},
    {"exec_under_fire", exec_under_fire},
    {"mremap_grows_shrinks_and_moves", mremap_grows_shrinks_and_moves},
    {"mappings_come_and_go", mappings_come_and_go},
    {"discarded_pages_are_zero", discarded_pages_are_zero},
    {"hugetlb_pages", hugetlb_pages},
    {"shared_memory", shared_memory},
    {"file_mappings", file_mappings},
    {"locked_memory_and_what_children_do_not_get", locked_memory_and_what_children_do_not_get},
    {"huge_pages_under_fire", huge_pages_under_fire},
    {"stacks_and_generated_code", stacks_and_generated_code},
    {"access_rights_hold", access_rights_hold},
    {"the_kernel_reads_and_writes_for_us", the_kernel_reads_and_writes_for_us},
    {"memory_runs_out", memory_runs_out},
    {"two_hundred_threads", two_hundred_threads},
    {"threads_start_and_end", threads_start_and_end},
    {"a_program_that_does_little", a_program_that_does_little},
    {"the_program_closes_all_descriptors", the_program_closes_all_descriptors},
};

}  // namespace

int main(int argc, char** argv) { return run_checks(checks, argc, argv); }
