// SPDX-License-Identifier: Apache-2.0
// A workload with a hot part that starts far: how many of its accesses are served near, without and
// with tiering? It counts every access itself and asks the kernel where each page is; what the
// sampler believes plays no part in the figures.
//
// An access counts as near when its page was near at the beginning and at the end of that second: a
// page that moves meanwhile counts as far. Exit code: 0, 1 when --check fails or the run cannot
// start, 2 for wrong usage.
#include <getopt.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <numeric>
#include <optional>
#include <pool/pool.hpp>
#include <random>
#include <utility>

namespace {

using Clock = std::chrono::steady_clock;
constexpr uint64_t page_bytes = POOL_PAGE_BYTES;

struct Settings {
    double seconds = 20;           // with tiering (or of the only phase)
    double baseline_seconds = 5;   // without
    uint64_t until_percent = 101;  // near: enough of the phase with tiering
    uint64_t bytes = 40 << 20;
    uint64_t hot_bytes = 8 << 20;
    uint64_t near_limit_bytes = 12 << 20;
    uint64_t hot_percent = 90;  // of the accesses
    uint64_t seed = 1;
    uint64_t budget_ppm = 10000;
    uint64_t gain_ns = 0;  // 0: measured
    bool run_off = true;
    bool run_on = true;
    bool mover_on = true;
    bool json = false;
    bool check = false;
    std::string hot_to;
};

constexpr double check_off_percent = 20;  // at most, without tiering
constexpr double check_on_percent = 70;   // at least, with it
constexpr size_t least_seconds = 9;       // before --until ends a phase

constexpr const char* usage =
    "usage: pool-hotset [options]\n"
    "  --tiering off|on|both    both (default): without first, then with, on the same data\n"
    "  --seconds S              of the phase with tiering, default 20\n"
    "  --until P                with tiering it ends before, once P % were near in the last third\n"
    "                           (of 9 seconds or more)\n"
    "  --baseline-seconds S     of the phase without, default 5\n"
    "  --bytes N                data set, on the far tier; default 40M\n"
    "  --hot-bytes N            scattered pages that get most accesses, default 8M\n"
    "  --hot-percent P          of the accesses, default 90\n"
    "  --near-limit N           near memory the data may take, default 12M\n"
    "  --mover on|off           off: sample and decide, move nothing\n"
    "  --budget PPM             CPU for sampling, default 10000 (1 %)\n"
    "  --gain NS                what an access to a near page saves, default: as measured; an\n"
    "                           emulator's moves cost more than minutes of its accesses earn\n"
    "  --seed N                 of the access pattern, default 1\n"
    "  --check                  exit 1 unless at most 20 % are near without and 70 % with tiering\n"
    "  --hot FILE               write the indices of the hot pages\n"
    "  --json                   one JSON object instead of the table\n";

[[noreturn]] void stop(int code, const std::string& sentence) {
    std::fprintf(stderr, "pool-hotset: %s\n", sentence.c_str());
    std::exit(code);
}

uint64_t parse_number(const std::string& option, const std::string& word) {
    char* end = nullptr;
    unsigned long long number = std::strtoull(word.c_str(), &end, 10);
    std::string suffix = end;
    int shift = suffix == "K" ? 10 : suffix == "M" ? 20 : suffix == "G" ? 30 : 0;
    bool good = !word.empty() && word[0] >= '0' && word[0] <= '9' && (suffix.empty() || shift > 0);
    if (!good || (number << shift) >> shift != number) {
        stop(2, "--" + option + " takes a number such as 20 or 40M, not \"" + word + "\"");
    }
    return number << shift;
}

bool parse_on(const std::string& option, const std::string& word) {
    if (word != "on" && word != "off") {
        stop(2, "--" + option + " takes on or off, not \"" + word + "\"");
    }
    return word == "on";
}

void apply(Settings& s, const std::string& option, const std::string& word) {
    if (option == "mover") {
        s.mover_on = parse_on(option, word);
    } else if (option == "tiering") {
        s.run_off = s.run_on = word == "both";
        if (word != "both") (parse_on(option, word) ? s.run_on : s.run_off) = true;
    } else if (option == "hot") {
        s.hot_to = word;
    } else if (option == "json") {
        s.json = true;
    } else if (option == "check") {
        s.check = true;
    } else {
        uint64_t number = parse_number(option, word);
        if (option == "seconds") s.seconds = double(number);
        if (option == "baseline-seconds") s.baseline_seconds = double(number);
        if (option == "until") s.until_percent = number;
        if (option == "bytes") s.bytes = number;
        if (option == "hot-bytes") s.hot_bytes = number;
        if (option == "hot-percent") s.hot_percent = number;
        if (option == "near-limit") s.near_limit_bytes = number;
        if (option == "budget") s.budget_ppm = number;
        if (option == "gain") s.gain_ns = number;
        if (option == "seed") s.seed = number;
    }
}

Settings parse(int argc, char** argv) {
    const option options[] = {
        {"tiering", 1, nullptr, 0},    {"seconds", 1, nullptr, 0},
        {"bytes", 1, nullptr, 0},      {"baseline-seconds", 1, nullptr, 0},
        {"hot-bytes", 1, nullptr, 0},  {"hot-percent", 1, nullptr, 0},
        {"near-limit", 1, nullptr, 0}, {"mover", 1, nullptr, 0},
        {"budget", 1, nullptr, 0},     {"seed", 1, nullptr, 0},
        {"hot", 1, nullptr, 0},        {"gain", 1, nullptr, 0},
        {"until", 1, nullptr, 0},      {"check", 0, nullptr, 0},
        {"json", 0, nullptr, 0},       {"help", 0, nullptr, 'h'},
        {nullptr, 0, nullptr, 0},
    };
    Settings s;
    int index = 0;
    for (int found; (found = getopt_long(argc, argv, "h", options, &index)) != -1;) {
        if (found == 'h') {
            std::fputs(usage, stdout);
            std::exit(0);
        }
        if (found == '?') stop(2, "see --help");
        apply(s, options[index].name, optarg ? optarg : "");
    }
    if (optind < argc) stop(2, std::string("\"") + argv[optind] + "\" is no option; see --help");
    if (s.seconds < 1 || s.baseline_seconds < 1) stop(2, "a phase takes at least 1 second");
    if (s.hot_bytes < page_bytes || s.hot_bytes >= s.bytes) {
        stop(2, "the hot part must be at least a page and smaller than the data");
    }
    if (s.hot_percent > 100) stop(2, "--hot-percent goes up to 100");
    return s;
}

// xorshift64*: the pattern must cost less than the accesses it makes.
class Random {
  public:
    explicit Random(uint64_t seed) : state_(seed * 0x9e3779b97f4a7c15 | 1) {}
    uint64_t next() {
        state_ ^= state_ >> 12;
        state_ ^= state_ << 25;
        state_ ^= state_ >> 27;
        return state_ * 0x2545f4914f6cdd1d >> 32;
    }
    uint64_t below(uint64_t limit) { return next() * limit >> 32; }

  private:
    uint64_t state_;
};

// The data set, which of its pages are hot, and how often each was touched.
class Data {
  public:
    Data(pool::Arena& arena, const Settings& s)
        : base_(static_cast<char*>(arena.base())),
          order_(arena.size_bytes() / page_bytes),
          hot_(s.hot_bytes / page_bytes),
          hot_percent_(s.hot_percent),
          counts_(order_.size(), 0),
          random_(s.seed) {
        std::iota(order_.begin(), order_.end(), 0u);
        std::shuffle(order_.begin(), order_.end(), std::mt19937_64(s.seed));
    }

    void access() {
        bool hot = random_.below(100) < hot_percent_;
        uint64_t pick = hot ? random_.below(hot_) : hot_ + random_.below(order_.size() - hot_);
        uint32_t page = order_[pick];
        uint64_t at = random_.next();
        auto word = reinterpret_cast<volatile uint64_t*>(base_ + page * page_bytes + at % 512 * 8);
        uint64_t value = *word;
        if (at >> 28 == 0) *word = value + 1;  // one in 16
        ++counts_[page];
    }

    // True nodes, from the kernel.
    std::vector<int> where() const {
        auto nodes = pool::where(base_, order_.size());
        if (!nodes) stop(1, nodes.error().message);
        return *nodes;
    }
    std::vector<uint64_t> take_counts() {
        return std::exchange(counts_, std::vector<uint64_t>(order_.size(), 0));
    }
    std::vector<uint32_t> hot_pages() const {
        std::vector<uint32_t> hot(order_.begin(), order_.begin() + ptrdiff_t(hot_));
        std::sort(hot.begin(), hot.end());
        return hot;
    }

  private:
    char* base_;
    std::vector<uint32_t> order_;  // the first hot_ are the hot ones
    uint64_t hot_;
    uint64_t hot_percent_;
    std::vector<uint64_t> counts_;
    Random random_;
};

struct Phase {
    std::string tiering;  // "off", "on"
    double seconds = 0;   // of accesses
    double wall_s = 0;
    uint64_t accesses = 0;
    std::vector<double> near_percent;  // by second

    double mean() const {
        return std::accumulate(near_percent.begin(), near_percent.end(), 0.0) /
               double(near_percent.size());
    }
    // The mean of the last third: where it ended up.
    double settled() const {
        size_t last = std::max<size_t>(near_percent.size() / 3, 1);
        return std::accumulate(near_percent.end() - ptrdiff_t(last), near_percent.end(), 0.0) /
               double(last);
    }
};

std::vector<char> is_near(const std::vector<int>& nodes, const pool::Topology& topology) {
    std::vector<char> near;
    for (int node : nodes) {
        near.push_back(node >= 0 && pool_topology_node_tier(topology.get(), node) == 0);
    }
    return near;
}

Phase run_phase(Data& data, const pool::Topology& topology, const std::string& tiering,
                double seconds, double until_percent = 101) {
    Phase phase;
    phase.tiering = tiering;
    auto wall_start = Clock::now();
    auto since = [](auto start) {
        return std::chrono::duration<double>(Clock::now() - start).count();
    };
    auto before = is_near(data.where(), topology);
    data.take_counts();
    auto enough = [&] {
        return phase.near_percent.size() >= least_seconds && phase.settled() >= until_percent;
    };
    while (since(wall_start) < seconds && !enough()) {
        auto start = Clock::now();
        while (since(start) < 1) {
            for (int i = 0; i < 256; ++i) data.access();
        }
        phase.seconds += since(start);
        auto after = is_near(data.where(), topology);
        auto counts = data.take_counts();
        uint64_t all = 0, near = 0;
        for (size_t i = 0; i < counts.size(); ++i) {
            all += counts[i];
            if (before[i] && after[i]) near += counts[i];
        }
        phase.accesses += all;
        phase.near_percent.push_back(100.0 * double(near) / double(all));
        before = std::move(after);
    }
    phase.wall_s = since(wall_start);
    return phase;
}

// What the tiering says of itself, taken before it ends.
struct Effort {
    uint64_t windows = 0, promoted = 0, demoted = 0, wanted = 0, failed = 0;
    double thread_s = 0, faults_s = 0, moving_s = 0;
    uint64_t gain_ns = 0, move_cost_ns = 0;
    std::vector<pool::Failure> failures;
    std::string status;
};

Effort effort_of(const pool::Tiering& tiering) {
    auto seconds = [&](pool_stat stat) { return double(tiering.stat(stat)) * 1e-9; };
    return {tiering.stat(POOL_STAT_WINDOWS),
            tiering.stat(POOL_STAT_PROMOTED_PAGES),
            tiering.stat(POOL_STAT_DEMOTED_PAGES),
            tiering.stat(POOL_STAT_WANTED_PAGES),
            tiering.stat(POOL_STAT_FAILED_PAGES),
            seconds(POOL_STAT_THREAD_CPU_NS),
            seconds(POOL_STAT_FAULT_CPU_NS),
            seconds(POOL_STAT_MOVE_NS),
            tiering.stat(POOL_STAT_GAIN_NS),
            tiering.stat(POOL_STAT_MOVE_COST_NS),
            tiering.failures(),
            tiering.status()};
}

// "40 MiB", "512 KiB"
std::string size_text(uint64_t bytes) {
    bool whole = bytes >= 1 << 20 && bytes % (1 << 20) == 0;
    return std::to_string(whole ? bytes >> 20 : bytes >> 10) + (whole ? " MiB" : " KiB");
}

std::string sparkline(const std::vector<double>& percents) {
    static const char* const bars[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
    std::string line;
    for (double percent : percents) line += bars[std::min(int(percent / 12.5), 7)];
    return line;
}

// Empty when the figures show what they must.
std::string failed_check(const std::vector<Phase>& phases) {
    for (const Phase& phase : phases) {
        bool off = phase.tiering == "off";
        double percent = off ? phase.mean() : phase.settled();
        bool good = off ? percent <= check_off_percent : percent >= check_on_percent;
        if (good) continue;
        char text[160];
        std::snprintf(text, sizeof text,
                      "with tiering %s, %.1f %% of the accesses are near: %s %.0f %% expected",
                      phase.tiering.c_str(), percent, off ? "at most" : "at least",
                      off ? check_off_percent : check_on_percent);
        return text;
    }
    return {};
}

void print_table(const Settings& s, const std::vector<Phase>& phases,
                 const std::optional<Effort>& effort) {
    std::printf("data %s, all far at first; %s of it hot (%" PRIu64
                " %% of the accesses); near limit %s; seed %" PRIu64 "\n\n",
                size_text(s.bytes).c_str(), size_text(s.hot_bytes).c_str(), s.hot_percent,
                size_text(s.near_limit_bytes).c_str(), s.seed);
    std::printf("tiering  seconds  accesses/s  near: mean   in the end  by second\n");
    for (const Phase& phase : phases) {
        std::printf("%-7s  %7.0f  %10.0f      %5.1f %%     %5.1f %%  %s\n", phase.tiering.c_str(),
                    phase.wall_s, double(phase.accesses) / phase.seconds, phase.mean(),
                    phase.settled(), sparkline(phase.near_percent).c_str());
    }
    if (!effort) return;
    double wall_s = phases.back().wall_s;
    std::printf("\nmoved    %" PRIu64 " pages near, %" PRIu64 " far, %" PRIu64
                " failed, in %.1f s\ncost     %.2f %% of a CPU for %" PRIu64
                " windows (%.2f %% thread, %.2f %% faults)\n",
                effort->promoted, effort->demoted, effort->failed, effort->moving_s,
                100 * (effort->thread_s + effort->faults_s) / wall_s, effort->windows,
                100 * effort->thread_s / wall_s, 100 * effort->faults_s / wall_s);
    std::printf("pays     a near access saves %" PRIu64 " ns, moving a page costs %" PRIu64 " us\n",
                effort->gain_ns, effort->move_cost_ns / 1000);
    for (const pool::Failure& failure : effort->failures) {
        std::printf("failed   %" PRIu64 " pages: %s\n", failure.pages,
                    failure.reason ? strerrordesc_np(failure.reason) : "the kernel gave no reason");
    }
}

void print_json(const Settings& s, const std::vector<Phase>& phases,
                const std::optional<Effort>& effort, const std::string& failure) {
    std::printf("{\"bytes\":%" PRIu64 ",\"hot_bytes\":%" PRIu64 ",\"near_limit_bytes\":%" PRIu64
                ",\"seed\":%" PRIu64 ",\"mover\":\"%s\",\"phases\":[",
                s.bytes, s.hot_bytes, s.near_limit_bytes, s.seed, s.mover_on ? "on" : "off");
    for (size_t i = 0; i < phases.size(); ++i) {
        const Phase& phase = phases[i];
        std::printf("%s{\"tiering\":\"%s\",\"seconds\":%.3f,\"accesses\":%" PRIu64
                    ",\"near_percent_mean\":%.2f,\"near_percent_end\":%.2f,\"near_percent\":[",
                    i ? "," : "", phase.tiering.c_str(), phase.seconds, phase.accesses,
                    phase.mean(), phase.settled());
        for (size_t k = 0; k < phase.near_percent.size(); ++k) {
            std::printf("%s%.2f", k ? "," : "", phase.near_percent[k]);
        }
        std::printf("]}");
    }
    std::printf("]");
    if (effort) {
        double wall_s = phases.back().wall_s;
        std::printf(",\"tiering\":{\"windows\":%" PRIu64 ",\"wanted_pages\":%" PRIu64
                    ",\"promoted_pages\":%" PRIu64 ",\"demoted_pages\":%" PRIu64
                    ",\"failed_pages\":%" PRIu64 ",\"failures\":[",
                    effort->windows, effort->wanted, effort->promoted, effort->demoted,
                    effort->failed);
        for (size_t i = 0; i < effort->failures.size(); ++i) {
            std::printf("%s{\"errno\":%d,\"pages\":%" PRIu64 "}", i ? "," : "",
                        effort->failures[i].reason, effort->failures[i].pages);
        }
        std::printf("],\"gain_ns\":%" PRIu64 ",\"move_cost_ns\":%" PRIu64
                    ",\"moving_seconds\":%.3f,\"thread_cpu_percent\":%.3f,"
                    "\"fault_cpu_percent\":%.3f}",
                    effort->gain_ns, effort->move_cost_ns, effort->moving_s,
                    100 * effort->thread_s / wall_s, 100 * effort->faults_s / wall_s);
    }
    std::printf(",\"check\":\"%s\"}\n", failure.empty() ? "ok" : failure.c_str());
}

void write_hot_pages(const std::string& path, const std::vector<uint32_t>& hot) {
    std::FILE* file = std::fopen(path.c_str(), "w");
    if (!file) stop(1, path + " cannot be written");
    for (uint32_t page : hot) std::fprintf(file, "%" PRIu32 "\n", page);
    std::fclose(file);
}

pool::Options options_of(const Settings& s) {
    return {{{POOL_OPTION_NEAR_LIMIT_BYTES, s.near_limit_bytes},
             {POOL_OPTION_MOVER, s.mover_on ? POOL_MOVER_KERNEL : POOL_MOVER_DRY},
             {POOL_OPTION_CPU_BUDGET_PPM, s.budget_ppm},
             {POOL_OPTION_GAIN_NS, s.gain_ns},
             {POOL_OPTION_SEED, s.seed}}};
}

}  // namespace

int main(int argc, char** argv) {
    Settings s = parse(argc, argv);
    auto topology = pool::Topology::read();
    if (!topology) stop(1, topology.error().message);
    if (topology->tier_count() < 2) stop(1, topology->reason());

    auto arena = pool::Arena::create(*topology, topology->tier_count() - 1, s.bytes,
                                     POOL_ARENA_BIND | POOL_ARENA_SMALL | POOL_ARENA_POPULATE);
    if (!arena) stop(1, arena.error().message);
    Data data(*arena, s);
    if (!s.hot_to.empty()) write_hot_pages(s.hot_to, data.hot_pages());

    std::vector<Phase> phases;
    std::optional<Effort> effort;
    if (s.run_off) phases.push_back(run_phase(data, *topology, "off", s.baseline_seconds));
    if (s.run_on) {
        auto tiering = pool::Tiering::start(*topology, options_of(s));
        if (!tiering) stop(1, tiering.error().message);
        auto added = tiering->add(arena->base(), arena->size_bytes());
        if (!added) stop(1, added.error().message);
        phases.push_back(run_phase(data, *topology, "on", s.seconds, double(s.until_percent)));
        effort = effort_of(*tiering);
    }
    std::string failure = failed_check(phases);
    if (s.json) {
        print_json(s, phases, effort, failure);
    } else {
        print_table(s, phases, effort);
    }
    if (s.check && !failure.empty()) stop(1, failure);
    return 0;
}
