// SPDX-License-Identifier: Apache-2.0
// Runs one workload of `make bench-tier` for a given time and prints one JSON object: accesses of
// each second, what the process spent, and, where asked for, its own view of how many accesses were
// near. In a guest of the testbed the truth comes from the plugin instead.
#include <getopt.h>
#include <linux/mempolicy.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <optional>
#include <pool/pool.hpp>
#include <string>
#include <thread>
#include <vector>

#include "exact_tiering.h"
#include "truth_client.h"
#include "workload.h"

namespace {

constexpr uint64_t page_bytes = 4096;
constexpr uint64_t data_address = 0x100000000000;  // the same in all runs, and nobody else's

const char usage[] =
    "usage: pool-work WORKLOAD [OPTION]...\n"
    "  --bytes SIZE      of the data (256M)\n"
    "  --hot SIZE        of its hot part (56M)\n"
    "  --seconds N       how long (45)\n"
    "  --jump N          the hot set goes elsewhere after so many seconds (0: never)\n"
    "  --seed N          of data and accesses (1)\n"
    "  --truth LABEL     have the plugin of this guest's QEMU count, into LABEL.csv\n"
    "  --trace           and into LABEL.trace\n"
    "  --epoch MS        of both (1000)\n"
    "  --interleave A:B  weights of near and far for the data's pages, instead of first touch\n"
    "  --nodes NEAR,FAR  which nodes those are (0,1)\n"
    "  --far             all data on the far node\n"
    "  --own-view        ask the kernel each second where a sample of the accesses went\n"
    "  --heartbeat       flush the TLB every 5 ms by mprotect() of 64 other pages\n"
    "  --tiering         libpool's, linked in\n"
    "  --exact           the same, fed by the plugin's counts (needs --truth)\n"
    "  --near-limit SIZE of what it takes near (none)\n"
    "  --gain NS         what it shall take a near access to save (0: measured)\n"
    "  --cpu PPM         its budget for sampling (10000)\n"
    "  --say             its status on stderr, each second\n"
    "workloads: ";

struct Settings {
    std::string workload, truth;
    uint64_t bytes = 256 << 20, hot_bytes = 56 << 20, seed = 1, epoch_ms = 1000, near_limit = 0;
    uint64_t gain_ns = 0, cpu_ppm = 10000;
    double seconds = 45, jump_s = 0;
    unsigned near_weight = 0, far_weight = 0;
    int near_node = 0, far_node = 1;
    bool trace = false, far = false, own_view = false, heartbeat = false, tiering = false,
         say = false, exact = false;
};

[[noreturn]] void stop(int code, const std::string& sentence) {
    std::fprintf(stderr, "pool-work: %s\n", sentence.c_str());
    std::exit(code);
}

uint64_t parse_size(const char* text) {
    char* end;
    uint64_t size = std::strtoull(text, &end, 10);
    const char* units = "KMG";
    const char* unit = *end ? std::strchr(units, *end) : nullptr;
    if (unit) size <<= 10 * (unit - units + 1), ++end;
    if (end == text || *end) stop(2, std::string(text) + " is no size like 256M");
    return size;
}

double parse_number(const char* text) {
    char* end;
    double number = std::strtod(text, &end);
    if (end == text || *end || number < 0) stop(2, std::string(text) + " is no number");
    return number;
}

void parse_pair(const char* text, char between, unsigned& first, unsigned& second) {
    char* end;
    first = unsigned(std::strtoul(text, &end, 10));
    if (end == text || *end != between) stop(2, std::string(text) + " is no pair of numbers");
    text = end + 1;
    second = unsigned(std::strtoul(text, &end, 10));
    if (end == text || *end) stop(2, std::string(text) + " is no number");
}

Settings parse(int argc, char** argv) {
    const option options[] = {
        {"bytes", 1, nullptr, 'b'},      {"hot", 1, nullptr, 'h'},
        {"seconds", 1, nullptr, 's'},    {"jump", 1, nullptr, 'j'},
        {"seed", 1, nullptr, 'S'},       {"truth", 1, nullptr, 't'},
        {"trace", 0, nullptr, 'T'},      {"epoch", 1, nullptr, 'e'},
        {"interleave", 1, nullptr, 'i'}, {"nodes", 1, nullptr, 'n'},
        {"far", 0, nullptr, 'f'},        {"own-view", 0, nullptr, 'o'},
        {"heartbeat", 0, nullptr, 'H'},  {"tiering", 0, nullptr, 'p'},
        {"near-limit", 1, nullptr, 'l'}, {"gain", 1, nullptr, 'g'},
        {"cpu", 1, nullptr, 'c'},        {"say", 0, nullptr, 'y'},
        {"exact", 0, nullptr, 'x'},      {nullptr, 0, nullptr, 0},
    };
    Settings s;
    unsigned near = 0, far = 1;
    for (int found; (found = getopt_long(argc, argv, "", options, nullptr)) != -1;) {
        switch (found) {
            case 'b':
                s.bytes = parse_size(optarg);
                break;
            case 'h':
                s.hot_bytes = parse_size(optarg);
                break;
            case 's':
                s.seconds = parse_number(optarg);
                break;
            case 'j':
                s.jump_s = parse_number(optarg);
                break;
            case 'S':
                s.seed = uint64_t(parse_number(optarg));
                break;
            case 't':
                s.truth = optarg;
                break;
            case 'T':
                s.trace = true;
                break;
            case 'e':
                s.epoch_ms = uint64_t(parse_number(optarg));
                break;
            case 'i':
                parse_pair(optarg, ':', s.near_weight, s.far_weight);
                break;
            case 'n':
                parse_pair(optarg, ',', near, far);
                break;
            case 'f':
                s.far = true;
                break;
            case 'o':
                s.own_view = true;
                break;
            case 'H':
                s.heartbeat = true;
                break;
            case 'g':
                s.gain_ns = uint64_t(parse_number(optarg));
                break;
            case 'c':
                s.cpu_ppm = uint64_t(parse_number(optarg));
                break;
            case 'y':
                s.say = true;
                break;
            case 'x':
                s.exact = true;
                break;
            case 'l':
                s.near_limit = parse_size(optarg);
                break;
            case 'p':
                s.tiering = true;
                break;
            default:
                std::fprintf(stderr, "%s%s\n", usage, work::workload_names);
                std::exit(2);
        }
    }
    if (optind + 1 != argc)
        std::fprintf(stderr, "%s%s\n", usage, work::workload_names), std::exit(2);
    s.workload = argv[optind];
    s.near_node = int(near), s.far_node = int(far);
    if (s.bytes < 1 << 20 || s.bytes % page_bytes)
        stop(2, "--bytes must be 1M or more, in whole pages");
    if (s.exact && s.truth.empty()) stop(2, "--exact needs --truth");
    if (s.near_node > 63 || s.far_node > 63) stop(2, "--nodes takes nodes up to 63");
    return s;
}

double seconds_of(clockid_t clock) {
    timespec t;
    clock_gettime(clock, &t);
    return double(t.tv_sec) + double(t.tv_nsec) * 1e-9;
}

char* make_data(const Settings& s) {
    void* memory = mmap(reinterpret_cast<void*>(data_address), s.bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
    if (memory == MAP_FAILED)
        stop(1, std::string("no memory for the data: ") + std::strerror(errno));
    prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, memory, s.bytes, "pool-work data");
    return static_cast<char*>(memory);
}

// Weighted interleave and "all far" are written out page by page: the kernel's policy has its
// weights for all processes at once.
void place(char* data, const Settings& s) {
    uint64_t round = s.near_weight + s.far_weight;
    if (!s.far && round == 0) return;
    for (uint64_t page = 0; page < s.bytes / page_bytes; ++page) {
        int node = s.far || page % round >= s.near_weight ? s.far_node : s.near_node;
        unsigned long mask = 1UL << node;
        char* at = data + page * page_bytes;
        if (syscall(SYS_set_mempolicy, MPOL_PREFERRED, &mask, 64) != 0) {
            stop(1, std::string("set_mempolicy: ") + std::strerror(errno));
        }
        *reinterpret_cast<volatile uint64_t*>(at) = page;
    }
    syscall(SYS_set_mempolicy, MPOL_DEFAULT, nullptr, 0);
}

// Share of these accesses whose page is near now; negative: the kernel does not tell.
double near_share(std::vector<void*> addresses, int near_node) {
    for (void*& address : addresses) {
        address = reinterpret_cast<void*>(reinterpret_cast<uintptr_t>(address) & ~(page_bytes - 1));
    }
    std::vector<int> nodes(addresses.size(), -1);
    if (addresses.empty() || syscall(SYS_move_pages, 0, addresses.size(), addresses.data(), nullptr,
                                     nodes.data(), 0) != 0) {
        return -1;
    }
    uint64_t near = 0;
    for (int node : nodes) near += node == near_node;
    return double(near) / double(nodes.size());
}

// An emulator keeps translations of pages that it uses, and then trackers that read accessed bits
// see nothing. Real TLBs are small; a flush now and then comes near to them.
class Heartbeat {
  public:
    Heartbeat() : thread_([this](std::stop_token token) { run(token); }) {}

  private:
    static void run(const std::stop_token& token) {
        constexpr size_t bytes = 64 * page_bytes;
        void* pages = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
        if (pages == MAP_FAILED) stop(1, "no memory for the heartbeat");
        while (!token.stop_requested()) {
            mprotect(pages, bytes, PROT_READ);
            mprotect(pages, bytes, PROT_READ | PROT_WRITE);
            std::memset(pages, 1, bytes);
            usleep(5000);
        }
    }
    std::jthread thread_;
};

struct Second {
    double seconds;
    uint64_t accesses;
    double near;      // own view, -1: not asked
    double cpu_s;     // of the whole process
    double worker_s;  // of the thread that makes the accesses
};

std::string quoted(const std::string& text) {
    std::string out = "\"";
    for (char c : text) {
        if (c == '"' || c == '\\') out += '\\';
        out += c == '\n' ? ' ' : c;
    }
    return out + '"';
}

class Tiering {
  public:
    Tiering(char* data, const Settings& s) {
        auto topology = pool::Topology::read();
        if (!topology) stop(1, topology.error().message);
        pool::Options options;
        if (s.near_limit) options.values.emplace_back(POOL_OPTION_NEAR_LIMIT_BYTES, s.near_limit);
        options.values.emplace_back(POOL_OPTION_GAIN_NS, s.gain_ns);
        options.values.emplace_back(POOL_OPTION_CPU_BUDGET_PPM, s.cpu_ppm);
        auto tiering = pool::Tiering::start(*topology, options);
        if (!tiering) stop(1, tiering.error().message);
        auto added = tiering->add(data, s.bytes);
        if (!added) stop(1, added.error().message);
        tiering_.emplace(std::move(*tiering));
    }
    void say(double at_s) const {
        std::fprintf(stderr, "%.0f s: %s\n%s\n", at_s, tiering_->status().c_str(), json().c_str());
    }
    std::string json() const {
        auto stat = [&](pool_stat which) { return double(tiering_->stat(which)); };
        char text[512];
        std::snprintf(text, sizeof text,
                      "{\"windows\":%.0f,\"promoted_pages\":%.0f,\"demoted_pages\":%.0f,\"failed_"
                      "pages\":%.0f,"
                      "\"thread_s\":%.4f,\"faults_s\":%.4f,\"moving_s\":%.4f,"
                      "\"wanted_pages\":%.0f,\"no_room_pages\":%.0f,\"armed_pages\":%.0f,"
                      "\"touched_pages\":%.0f,\"gain_ns\":%.0f,\"move_cost_ns\":%.0f,"
                      "\"status\":",
                      stat(POOL_STAT_WINDOWS), stat(POOL_STAT_PROMOTED_PAGES),
                      stat(POOL_STAT_DEMOTED_PAGES), stat(POOL_STAT_FAILED_PAGES),
                      stat(POOL_STAT_THREAD_CPU_NS) * 1e-9, stat(POOL_STAT_FAULT_CPU_NS) * 1e-9,
                      stat(POOL_STAT_MOVE_NS) * 1e-9, stat(POOL_STAT_WANTED_PAGES),
                      stat(POOL_STAT_NO_ROOM_PAGES), stat(POOL_STAT_ARMED_PAGES),
                      stat(POOL_STAT_TOUCHED_PAGES), stat(POOL_STAT_GAIN_NS),
                      stat(POOL_STAT_MOVE_COST_NS));
        std::string failures;
        for (const pool::Failure& failure : tiering_->failures()) {
            failures += (failures.empty() ? "" : ",") + std::string("[") +
                        std::to_string(failure.reason) + "," + std::to_string(failure.pages) + "]";
        }
        return text + quoted(tiering_->status()) + ",\"failures\":[" + failures + "]}";
    }

  private:
    std::optional<pool::Tiering> tiering_;
};

std::vector<Second> run(work::Workload& workload, const Settings& s, const Tiering* tiering) {
    std::vector<Second> seconds;
    work::Samples samples;
    double began = seconds_of(CLOCK_MONOTONIC);
    bool jumped = s.jump_s == 0;
    while (seconds_of(CLOCK_MONOTONIC) < began + s.seconds) {
        double since = seconds_of(CLOCK_MONOTONIC), now = since;
        double cpu = seconds_of(CLOCK_PROCESS_CPUTIME_ID),
               worker = seconds_of(CLOCK_THREAD_CPUTIME_ID);
        uint64_t accesses = 0;
        for (; now < began + double(seconds.size() + 1); now = seconds_of(CLOCK_MONOTONIC)) {
            if (!jumped && now >= began + s.jump_s) workload.jump(), jumped = true;
            accesses += workload.step(samples);
        }
        double near = -1;
        cpu = seconds_of(CLOCK_PROCESS_CPUTIME_ID) - cpu;
        worker = seconds_of(CLOCK_THREAD_CPUTIME_ID) - worker;
        if (s.own_view) near = near_share(samples.take(), s.near_node);
        seconds.push_back({now - since, accesses, near, cpu, worker});
        if (!s.own_view) samples.take();
        if (s.say && tiering) tiering->say(double(seconds.size()));
    }
    return seconds;
}

template <typename Get>
void print_list(const char* name, const char* format, const std::vector<Second>& seconds, Get get) {
    std::printf(",\"%s\":[", name);
    for (size_t i = 0; i < seconds.size(); ++i) {
        if (i) std::putchar(',');
        std::printf(format, get(seconds[i]));
    }
    std::putchar(']');
}

void print(const Settings& s, double loop_after_s, const std::vector<Second>& seconds,
           const std::string& tiering) {
    rusage used;
    getrusage(RUSAGE_SELF, &used);
    std::printf("{\"workload\":%s,\"bytes\":%" PRIu64 ",\"hot_bytes\":%" PRIu64 ",\"seed\":%" PRIu64
                ",\"jump_s\":%g,\"loop_after_s\":%.3f,\"minor_faults\":%ld",
                quoted(s.workload).c_str(), s.bytes, s.hot_bytes, s.seed, s.jump_s, loop_after_s,
                used.ru_minflt);
    print_list("seconds", "%.3f", seconds, [](const Second& x) { return x.seconds; });
    print_list("accesses", "%.0f", seconds, [](const Second& x) { return double(x.accesses); });
    print_list("cpu_s", "%.3f", seconds, [](const Second& x) { return x.cpu_s; });
    print_list("worker_s", "%.3f", seconds, [](const Second& x) { return x.worker_s; });
    if (s.own_view) print_list("near", "%.4f", seconds, [](const Second& x) { return x.near; });
    if (!tiering.empty()) std::printf(",\"tiering\":%s", tiering.c_str());
    std::puts("}");
}

std::unique_ptr<work::ExactTiering> start_exact(char* data, const Settings& s,
                                                const std::string& counters) {
    work::ExactWish wish{counters, reinterpret_cast<uint64_t>(data), s.bytes / page_bytes,
                         s.near_node, s.far_node};
    if (s.near_limit) wish.near_limit_bytes = s.near_limit;
    if (s.gain_ns) wish.loss_ns = double(s.gain_ns);
    wish.cpu_share = double(s.cpu_ppm) * 1e-6;
    auto exact = work::ExactTiering::start(wish);
    if (!exact) stop(1, exact.error());
    return std::move(*exact);
}

}  // namespace

int main(int argc, char** argv) {
    Settings s = parse(argc, argv);
    char* data = make_data(s);
    auto workload = work::make_workload(s.workload, {data, s.bytes, s.hot_bytes, s.seed});
    if (!workload)
        stop(2, "there is no workload " + s.workload + "; there are " + work::workload_names);

    truth::Client truth;
    if (!s.truth.empty()) {
        std::string failed = truth.open();
        if (failed.empty()) {
            failed =
                truth.start({data_address, s.bytes / page_bytes, s.epoch_ms, s.truth, s.trace});
        }
        if (!failed.empty()) stop(1, failed);
    }
    double start = seconds_of(CLOCK_MONOTONIC);
    place(data, s);
    workload->populate();
    std::optional<Tiering> tiering;
    if (s.tiering) tiering.emplace(data, s);
    std::unique_ptr<work::ExactTiering> exact;
    if (s.exact) exact = start_exact(data, s, truth.path());
    std::optional<Heartbeat> heartbeat;
    if (s.heartbeat) heartbeat.emplace();
    double loop_after_s = seconds_of(CLOCK_MONOTONIC) - start;
    auto seconds = run(*workload, s, tiering ? &*tiering : nullptr);
    std::string tiering_json = tiering ? tiering->json() : exact ? exact->json() : "";
    if (!s.truth.empty()) {
        std::string failed = truth.stop();
        if (!failed.empty()) stop(1, failed);
    }
    print(s, loop_after_s, seconds, tiering_json);
    return 0;
}
