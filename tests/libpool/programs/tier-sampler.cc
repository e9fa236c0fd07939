// SPDX-License-Identifier: Apache-2.0
// The samplers on a real kernel: what they say of pages whose touches this program knows, and of
// pages that it takes away from under them. usage: tier-sampler [CHECK…]
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <ctime>
#include <functional>
#include <map>
#include <random>

#include "checks.h"
#include "error.h"
#include "tier/sampler_choice.h"
#include "tier/samplers.h"
#include "tier/truth.h"
#include "tier/uffd.h"

namespace {

using libpool::text;
using namespace libpool::tier;

constexpr uint64_t page = 4096;
constexpr uint64_t huge = 512 * page;

template <typename T>
T value(libpool::Result<T> result, const std::string& what) {
    if (!result) must(false, what + ": " + result.error().sentence);
    return std::move(*result);
}
void value(libpool::Result<void> result, const std::string& what) {
    if (!result) must(false, what + ": " + result.error().sentence);
}

char* map_pages(uint64_t pages, int flags = 0, void* where = nullptr) {
    void* at = mmap(where, pages * page, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
    must(at != MAP_FAILED, "memory can be mapped");
    return static_cast<char*>(at);
}

char* small_pages(uint64_t pages) {
    char* at = map_pages(pages);
    madvise(at, pages * page, MADV_NOHUGEPAGE);
    for (uint64_t i = 0; i < pages; ++i) at[i * page] = char(i);
    return at;
}

AddressRun run_of(const void* at, uint64_t pages) {
    return {reinterpret_cast<uint64_t>(at), pages};
}

void read_page(const char* at) { (void)*static_cast<const volatile char*>(at); }

std::string counts(const std::vector<Sight>& sights) {
    std::map<int, int> histogram;
    for (Sight sight : sights) ++histogram[sight];
    std::string said;
    for (auto [sight, pages] : histogram) said += text(" %d×%d", pages, sight);
    return said;
}

void expect_sights(const std::vector<Sight>& sights, size_t first, size_t end, Sight wanted,
                   const char* what) {
    for (size_t i = first; i < end; ++i) {
        must(sights[i] == wanted, text("%s: page %zu is %d instead of %d (all:%s)", what, i,
                                       sights[i], wanted, counts(sights).c_str()));
    }
}

// Random touches before each of three looks: the first look that could see a page sees it.
void exact_with(std::unique_ptr<Sampler> sampler, bool writes) {
    constexpr uint64_t pages = 4096;
    char* at = small_pages(pages);
    AddressRun all = run_of(at, pages);
    value(sampler->add(all), "memory can be added");
    std::mt19937 random(7);
    for (int cycle = 0; cycle < 4; ++cycle) {
        // Parts of it, with holes between them.
        std::vector<AddressRun> runs;
        for (uint64_t first = 0; first + 40 < pages; first += 40 + random() % 100) {
            runs.push_back(run_of(at + first * page, 1 + random() % 40));
        }
        value(sampler->arm(runs), "it can be armed");
        std::vector<Sight> wanted(pages, not_touched);
        for (Sight rung = 0; rung < 3; ++rung) {
            for (int i = 0; i < 500; ++i) {
                uint64_t which = random() % pages;
                if (wanted[which] == not_touched) wanted[which] = rung;
                if (writes)
                    at[which * page + 1] = 1;
                else
                    read_page(at + which * page + 2);
            }
            Look look = value(sampler->look(rung), "it can be looked at");
            size_t seen = 0;
            for (const AddressRun& run : runs) {
                for (uint64_t i = 0; i < run.pages; ++i, ++seen) {
                    Sight want = wanted[(run.start - all.start) / page + i];
                    must(look.sights[seen] == want,
                         text("cycle %d rung %d: a page is %d instead of %d", cycle, rung,
                              look.sights[seen], want));
                }
            }
            must(seen == look.sights.size() && look.at_s > 0, "as many sights as pages");
        }
        sampler->disarm();
    }
    value(sampler->arm({&all, 1}), "all of it can be armed");
    Look quiet = value(sampler->look(0), "and looked at");
    expect_sights(quiet.sights, 0, pages, not_touched, "nobody touched anything");
    SamplerInfo info = sampler->info();
    must(info.costs.fault_ns > 0 && info.costs.arm_page_ns > 0 && info.costs.look_page_ns > 0,
         "costs are measured");
    std::printf(
        "        %s: arm %.0f ns a page + %.0f ns a run, fault %.0f ns, look %.0f ns a page\n",
        info.describe.c_str(), info.costs.arm_page_ns, info.costs.arm_run_ns, info.costs.fault_ns,
        info.costs.look_page_ns);
    sampler.reset();
    for (uint64_t i = 0; i < pages; ++i) must(at[i * page] == char(i), "the data is as it was");
    munmap(at, pages * page);
}

void rwp_is_exact() {
    exact_with(value(make_rwp_sampler(), "rwp"), false);
    exact_with(value(make_rwp_sampler(), "rwp"), true);
}

void wp_sees_writes() { exact_with(value(make_wp_sampler(), "wp"), true); }

void wp_does_not_see_reads() {
    auto sampler = value(make_wp_sampler(), "wp");
    char* at = small_pages(64);
    AddressRun all = run_of(at, 64);
    value(sampler->add(all), "memory can be added");
    value(sampler->arm({&all, 1}), "it can be armed");
    for (int i = 0; i < 64; ++i) read_page(at + i * page);
    expect_sights(value(sampler->look(0), "look").sights, 0, 64, not_touched, "reads");
    must(sampler->info().writes_only, "and it says so");
    munmap(at, 64 * page);
}

// A stretch of 64 pages each: untouched, unmapped, discarded, discarded and used again, moved away,
// without access, replaced by a file, replaced by fresh memory, never there.
void vanished(std::unique_ptr<Sampler> sampler) {
    constexpr uint64_t part = 64, pages = 9 * part;
    char* at = map_pages(pages);
    madvise(at, pages * page, MADV_NOHUGEPAGE);
    for (uint64_t i = 0; i < 8 * part; ++i) at[i * page] = 1;
    AddressRun all = run_of(at, pages);
    value(sampler->add(all), "memory can be added");
    auto where = [&](uint64_t n) { return at + n * part * page; };
    char* away = map_pages(part);
    auto change = [&] {
        munmap(where(1), part * page);
        madvise(where(2), part * page, MADV_DONTNEED);
        madvise(where(3), part * page, MADV_DONTNEED);
        void* moved =
            mremap(where(4), part * page, part * page, MREMAP_MAYMOVE | MREMAP_FIXED, away);
        must(moved == away && *away == 1, "it could be moved away");
        mprotect(where(5), part * page, PROT_NONE);
        int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
        mmap(where(6), part * page, PROT_READ, MAP_PRIVATE | MAP_FIXED, file, 0);
        close(file);
        map_pages(part, MAP_FIXED, where(7));
    };
    value(sampler->arm({&all, 1}), "it can be armed");
    value(sampler->look(0), "and looked at");
    change();
    auto sights = value(sampler->look(1), "after the change too").sights;
    expect_sights(sights, 0, part, not_touched, "left alone");
    expect_sights(sights, part, 2 * part, page_absent, "unmapped");
    expect_sights(sights, 2 * part, 4 * part, page_absent, "discarded");
    expect_sights(sights, 4 * part, 5 * part, page_absent, "moved away");
    expect_sights(sights, 7 * part, 9 * part, page_absent, "fresh memory");
    for (uint64_t i = 0; i < part; ++i) where(3)[i * page] = 2, where(7)[i * page] = 2;
    sights = value(sampler->look(2), "and again").sights;
    expect_sights(sights, 0, part, not_touched, "left alone");
    expect_sights(sights, 3 * part, 4 * part, page_absent, "used again meanwhile");
    sampler->disarm();

    value(sampler->arm({&all, 1}), "what is left can be armed");
    for (uint64_t i = 0; i < part; i += 2)
        read_page(where(3) + i * page), read_page(where(7) + i * page);
    sights = value(sampler->look(0), "and looked at").sights;
    expect_sights(sights, 0, part, not_touched, "left alone");
    expect_sights(sights, part, 3 * part, page_absent, "unmapped, discarded");
    expect_sights(sights, 4 * part, 5 * part, page_absent, "moved away");
    expect_sights(sights, 6 * part, 7 * part, page_absent, "a file now");
    bool sees_reads = !sampler->info().writes_only;
    for (uint64_t i = 0; i < part; ++i) {
        Sight wanted = i % 2 == 0 && sees_reads ? 0 : not_touched;
        must(sights[3 * part + i] == wanted, "memory that was discarded and used again is tracked");
        must(sights[7 * part + i] == wanted,
             text("fresh memory in the old place is tracked: page %d is %d", int(i),
                  sights[7 * part + i]));
    }
    sampler->disarm();
    sampler->remove(all);
    mprotect(where(5), part * page, PROT_READ | PROT_WRITE);
    for (uint64_t i = 0; i < part; ++i) {
        must(where(0)[i * page] == 1 && where(5)[i * page] == 1 && where(3)[i * page] == 2,
             "the data is as it was");
    }
    munmap(at, pages * page);
    sampler->remove(all);
    value(sampler->arm({&all, 1}), "what is gone can be armed");
    expect_sights(value(sampler->look(0), "and looked at").sights, 0, pages, page_absent, "gone");
}

void vanished_parts_are_absent() {
    vanished(value(make_rwp_sampler(), "rwp"));
    vanished(value(make_wp_sampler(), "wp"));
}

void huge_pages_stay_whole() {
    auto sampler = value(make_rwp_sampler(), "rwp");
    char* mapped = map_pages(5 * 512);
    char* at =
        reinterpret_cast<char*>((reinterpret_cast<uint64_t>(mapped) + huge - 1) & ~(huge - 1));
    madvise(at, 4 * huge, MADV_HUGEPAGE);
    for (uint64_t i = 0; i < 4 * huge; i += page) at[i] = 1;
    value(sampler->add(run_of(mapped, 5 * 512)), "memory can be added");
    AddressRun blocks = run_of(at, 4 * 512);
    value(sampler->arm({&blocks, 1}), "huge pages can be armed");
    read_page(at + huge + 77);
    Look look = value(sampler->look(0), "and looked at");
    must(look.huge.size() == 4, text("%zu huge pages of 4 are seen", look.huge.size()));
    must(look.huge[2] == reinterpret_cast<uint64_t>(at) + 2 * huge, "with their addresses");
    expect_sights(look.sights, 0, 512, not_touched, "a huge page");
    expect_sights(look.sights, 512, 1024, 0, "a touched huge page");
    expect_sights(look.sights, 1024, 2048, not_touched, "huge pages");
    sampler->disarm();
    AddressRun some[2] = {run_of(at + 10 * page, 100), run_of(at + huge - 3 * page, 600)};
    value(sampler->arm(some), "parts of huge pages can be asked for");
    look = value(sampler->look(0), "and looked at");
    expect_sights(look.sights, 0, 103, page_absent, "a part of a huge page");
    expect_sights(look.sights, 103, 103 + 512, not_touched, "a whole one within a run");
    must(look.huge.size() >= 2, "they are told to be huge");
    sampler->disarm();
    value(sampler->arm({&blocks, 1}), "and armed whole");
    look = value(sampler->look(0), "and looked at");
    must(look.huge.size() == 4, text("%zu huge pages of 4 are left", look.huge.size()));
    sampler.reset();
    munmap(mapped, 5 * huge);
}

void accesses_of_the_kernel_count() {
    auto sampler = value(make_rwp_sampler(), "rwp");
    char* at = small_pages(16);
    AddressRun all = run_of(at, 16);
    value(sampler->add(all), "memory can be added");
    value(sampler->arm({&all, 1}), "it can be armed");
    int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    must(read(file, at + 3 * page, 2 * page) == 2 * page, "read() into armed pages works");
    close(file);
    auto sights = value(sampler->look(0), "look").sights;
    expect_sights(sights, 0, 3, not_touched, "not read into");
    expect_sights(sights, 3, 5, 0, "read into");
    expect_sights(sights, 5, 16, not_touched, "not read into");
    munmap(at, 16 * page);
}

// The daemon of a program closes all descriptors it finds; another file takes the number.
void a_closed_descriptor_is_made_anew() {
    auto sampler = value(make_rwp_sampler(), "rwp");
    char* at = small_pages(64);
    AddressRun all = run_of(at, 64);
    value(sampler->add(all), "memory can be added");
    value(sampler->arm({&all, 1}), "it can be armed");
    for (int fd = 3; fd < 2048; ++fd) close(fd);
    auto sights = value(sampler->look(0), "looking without a descriptor is no error").sights;
    expect_sights(sights, 0, 64, page_absent, "what was not seen before");
    int others[30];  // where it was
    for (int& other : others) other = fcntl(1, F_DUPFD, 990);
    sampler->disarm();
    value(sampler->arm({&all, 1}), "it can be armed again");
    read_page(at + 5 * page);
    sights = value(sampler->look(0), "and looked at").sights;
    expect_sights(sights, 0, 5, not_touched, "with a new descriptor");
    expect_sights(sights, 5, 6, 0, "with a new descriptor");
    sampler.reset();
    for (int other : others) {
        if (other < 0) continue;
        must(fcntl(other, F_GETFD) >= 0, text("descriptor %d of the program was closed", other));
        close(other);
    }
    munmap(at, 64 * page);
}

struct Shared {
    std::atomic<int> step;
    std::atomic<int> uffd;
    std::atomic<char*> at;
};

void wait_for(std::atomic<int>& step, int wanted) {
    for (int i = 0; i < 10000 && step < wanted; ++i) usleep(1000);
    must(step >= wanted, text("step %d was not reached", wanted));
}

// As anybody may who may trace it.
Descriptor take_descriptor(pid_t pid, int fd) {
    Descriptor process(int(syscall(SYS_pidfd_open, pid, 0)));
    must(bool(process), "the child can be watched");
    Descriptor taken(int(syscall(SYS_pidfd_getfd, process.get(), fd, 0)));
    must(bool(taken), "the child's descriptor can be taken");
    return taken;
}

// Another process makes the descriptor and has it fetched.
void another_process_can_be_sampled() {
    auto shared = static_cast<Shared*>(
        mmap(nullptr, page, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    pid_t child = fork();
    if (child == 0) {
        auto uffd = value(open_uffd(rwp_kind), "the child's userfaultfd");
        char* at = small_pages(64);
        shared->uffd = uffd.get();
        shared->at = at;
        shared->step = 1;
        wait_for(shared->step, 2);
        for (int i = 0; i < 64; i += 4) read_page(at + i * page);
        munmap(at + 32 * page, 8 * page);
        shared->step = 3;
        wait_for(shared->step, 4);
        for (int i = 0; i < 32; ++i) must(at[i * page] == char(i), "the child's data");
        _exit(0);
    }
    wait_for(shared->step, 1);
    auto uffd = take_descriptor(child, shared->uffd);
    auto sampler = value(make_rwp_sampler(child, std::move(uffd)), "rwp of another process");
    AddressRun all = run_of(shared->at.load(), 64);
    value(sampler->add(all), "its memory can be added");
    value(sampler->arm({&all, 1}), "and armed");
    shared->step = 2;
    wait_for(shared->step, 3);
    auto sights = value(sampler->look(0), "and looked at").sights;
    for (int i = 0; i < 64; ++i) {
        Sight wanted = i >= 32 && i < 40 ? page_absent : i % 4 == 0 ? 0 : not_touched;
        must(sights[size_t(i)] == wanted, text("page %d of the child is %d", i, sights[size_t(i)]));
    }
    sampler->disarm();
    value(sampler->arm({&all, 1}), "it can be armed again");
    shared->step = 4;
    int status = -1;
    waitpid(child, &status, 0);
    must(status == 0, "the child's data is as it was");
    expect_sights(value(sampler->look(0), "a process that has ended can be looked at").sights, 0,
                  64, page_absent, "ended");
    sampler->disarm();
    value(sampler->arm({&all, 1}), "and armed");
    expect_sights(value(sampler->look(0), "and looked at").sights, 0, 64, page_absent, "ended");
    sampler->remove(all);
}

// A file stands for the emulator's counters.
void counters_are_taken_as_they_are() {
    char* at = small_pages(64);
    const char* path = "/tmp/truth";
    int file = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    constexpr size_t bytes = truth_counts_offset + 64 * sizeof(uint32_t);
    must(ftruncate(file, bytes) == 0, "a file can be made");
    auto base =
        static_cast<char*>(mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0));
    close(file);
    must(!make_truth_sampler(path, 0), "a file without the magic is refused");
    must(!make_truth_sampler("/nowhere", 0), "and one that is not there");
    auto header = reinterpret_cast<TruthHeader*>(base);
    std::memcpy(header->magic, truth_magic, 8);
    header->pages = ~uint64_t(0);  // more than the file has room for
    auto counts = reinterpret_cast<uint32_t*>(base + truth_counts_offset);
    counts[9] = 0xfffffffe;

    auto sampler = value(make_truth_sampler(path, 0), "truth");
    AddressRun all = run_of(at, 72);
    value(sampler->add(all), "memory can be added");
    value(sampler->arm({&all, 1}), "it can be armed");
    expect_sights(value(sampler->look(0), "look").sights, 0, 72, page_absent, "not announced");
    header->first_address = all.start + 2 * page;
    value(sampler->arm({&all, 1}), "it can be armed");
    counts[9] += 5;
    counts[10] += 3;
    Look look = value(sampler->look(0), "look");
    expect_sights(look.sights, 0, 2, page_absent, "outside");
    expect_sights(look.sights, 2, 11, not_touched, "not counted");
    expect_sights(look.sights, 11, 13, 0, "counted");
    expect_sights(look.sights, 66, 72, page_absent, "behind the end");
    must(look.counts[11] == 5 && look.counts[12] == 3 && look.counts[13] == 0, "exact counts");
    counts[12] += 7;
    munmap(at + 20 * page, 2 * page);
    look = value(sampler->look(1), "look");
    must(look.sights[14] == 1 && look.counts[14] == 7 && look.counts[11] == 5, "of all looks");
    expect_sights(look.sights, 20, 22, page_absent, "unmapped");
    must(sampler->info().exact, "and it says so");
    munmap(at, 64 * page);
    munmap(base, bytes);
    unlink(path);
}

void spin_until(const std::function<bool()>& done, double seconds,
                const std::function<void()>& work) {
    for (time_t end = time(nullptr) + time_t(seconds) + 1; !done() && time(nullptr) < end;) work();
}

void damon_tells_hot_from_idle() {
    constexpr uint64_t pages = 8192;
    char* at = small_pages(pages);
    AddressRun all = run_of(at, pages);
    auto stat = [] {
        char state = '?';
        int file = open("/sys/module/damon_stat/parameters/enabled", O_RDONLY | O_CLOEXEC);
        must(read(file, &state, 1) == 1, "DAMON_STAT can be asked");
        close(file);
        return state;
    };
    char before = stat();
    {
        auto sampler = value(make_damon_sampler(getpid(), {}), "damon");
        must(stat() == 'N', "DAMON_STAT is off");
        auto second = make_damon_sampler(getpid(), {});
        must(!second && second.error().code == EBUSY, "a second one is refused");
        value(sampler->add(all), "memory can be added");
        double hot = 0, idle = 0;
        auto touch = [&] {
            // An emulator sets accessed bits only when it fills its TLB: mprotect empties it.
            mprotect(at, pages / 4 * page, PROT_READ);
            mprotect(at, pages / 4 * page, PROT_READ | PROT_WRITE);
            for (uint64_t i = 0; i < pages / 4; ++i) read_page(at + i * page);
        };
        auto told = [&] {
            value(sampler->arm({&all, 1}), "it can be armed");
            usleep(20000);
            auto sights = value(sampler->look(0), "look").sights;
            hot = double(std::count(sights.begin(), sights.begin() + pages / 4, 0)) / (pages / 4);
            idle =
                double(std::count(sights.begin() + pages / 4, sights.end(), 0)) / (pages * 3 / 4);
            return hot > 0.5 && hot > 4 * idle;
        };
        double next = 0;
        spin_until([&] { return double(clock()) / CLOCKS_PER_SEC > next && (next += 0.2, told()); },
                   15, touch);
        must(hot > 0.5 && hot > 4 * idle, text("hot %.2f idle %.2f of the pages", hot, idle));
    }
    must(stat() == before, "DAMON_STAT is as it was");
    munmap(at, pages * page);
}

void the_best_sampler_is_chosen() {
    auto choice = value(choose_sampler("auto"), "some sampler");
    must(choice.sampler->info().name == "rwp" && choice.refused.empty(), choice.describe());
    must(value(choose_sampler("wp"), "wp").sampler->info().name == "wp", "one can be asked for");
    auto none = choose_sampler("magic");
    must(!none && none.error().sentence.find("rwp, wp, damon") != std::string::npos,
         none ? "none" : none.error().sentence);
    auto other = value(choose_sampler("auto", getpid(), {}), "of a process without a descriptor");
    must(other.sampler->info().name == "damon" && other.refused.size() == 1, other.describe());
    pid_t child = fork();
    if (child == 0) {
        must(setuid(65534) == 0, "another user");
        auto closed = choose_sampler("rwp");  // its /proc is root's after such a change
        must(!closed && closed.error().sentence.find("pagemap") != std::string::npos,
             "not its own");
        prctl(PR_SET_DUMPABLE, 1);
        auto damon = choose_sampler("damon");
        must(!damon && damon.error().sentence.find("only root may") != std::string::npos,
             damon ? "damon without root" : damon.error().sentence);
        must(value(choose_sampler("auto"), "rwp needs no root").sampler->info().name == "rwp",
             "rwp");
        _exit(0);
    }
    int status = -1;
    waitpid(child, &status, 0);
    must(status == 0, "an ordinary user has rwp");
}

constexpr Check checks[] = {
    {"rwp_is_exact", rwp_is_exact},
    {"wp_sees_writes", wp_sees_writes},
    {"wp_does_not_see_reads", wp_does_not_see_reads},
    {"vanished_parts_are_absent", vanished_parts_are_absent},
    {"huge_pages_stay_whole", huge_pages_stay_whole},
    {"accesses_of_the_kernel_count", accesses_of_the_kernel_count},
    {"a_closed_descriptor_is_made_anew", a_closed_descriptor_is_made_anew},
    {"another_process_can_be_sampled", another_process_can_be_sampled},
    {"counters_are_taken_as_they_are", counters_are_taken_as_they_are},
    {"damon_tells_hot_from_idle", damon_tells_hot_from_idle},
    {"the_best_sampler_is_chosen", the_best_sampler_is_chosen},
};

}  // namespace

int main(int argc, char** argv) { return run_checks(checks, argc, argv); }
