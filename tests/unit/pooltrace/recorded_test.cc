// SPDX-License-Identifier: Apache-2.0
// The engine over a recorded trace in simulated time, beside the same engine fed by the truth
// sampler, whose counters the test advances as the trace says.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmath>
#include <cstring>
#include <fstream>

#include "pooltrace/generate.h"
#include "pooltrace/world.h"
#include "tier/engine.h"
#include "tier/sample_recorded.h"
#include "tier/samplers.h"
#include "tier/truth.h"
#include "uapi.h"

namespace libpool::tier {
namespace {

constexpr int near_node = 0, far_node = 1;

trace::Trace hot_that_jumps() {
    trace::GenerateOptions options;
    options.kind = "hot";
    options.pages = 2048;
    options.near_pages = 256;
    options.epochs = 120;
    options.accesses_per_s = 2e5;
    auto generated = trace::generate(options);
    EXPECT_TRUE(generated);
    return std::move(generated->trace);
}

// Memory of this process that plays the trace's pages: where they are is what the kernel of the
// test says, and how often they were accessed is what the trace says.
class Machine final : public Kernel, public Clock {
  public:
    explicit Machine(trace::Trace the_trace)
        : trace(std::move(the_trace)), nodes(trace.pages, far_node), counters(trace.pages) {
        memory = mmap(nullptr, bytes(), PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
        EXPECT_NE(memory, MAP_FAILED);
    }
    ~Machine() override { munmap(memory, bytes()); }

    uint64_t bytes() const { return trace.pages * page_bytes; }
    uint64_t first_address() const { return reinterpret_cast<uint64_t>(memory); }
    double near_share() const { return near_accesses / all_accesses; }

    long move_pages(pid_t, std::span<const uint64_t> pages, std::span<const int> targets,
                    std::span<int> status) override {
        for (size_t i = 0; i < pages.size(); ++i) {
            int& node = nodes[(pages[i] - first_address()) / page_bytes];
            if (!targets.empty()) node = targets[i];
            status[i] = node;
        }
        return 0;
    }
    Result<uint64_t> room_bytes(int) override { return uint64_t(1) << 40; }

    double now_s() override { return now_; }
    double thread_cpu_s() override { return 0; }
    double program_cpu_s() override { return now_; }
    bool wait(double seconds) override {
        const double end = now_ + seconds, length = trace.epoch_s();
        while (now_ < end && now_ < double(trace.epochs()) * length) {
            const auto epoch = size_t(now_ / length + 1e-9);
            if (epoch == trace.epochs()) break;
            const double to = std::min(end, double(epoch + 1) * length);
            live(trace.epoch(epoch), (to - now_) / length);
            now_ = to;
        }
        now_ = end;
        return now_ < double(trace.epochs()) * length;
    }
    bool stopped() override { return false; }

    trace::Trace trace;
    std::vector<int> nodes;
    std::vector<double> counters;
    uint32_t* shown = nullptr;  // counters as the truth sampler reads them
    void* memory = nullptr;

  private:
    void live(std::span<const uint32_t> counts, double part) {
        for (size_t i = 0; i < counts.size(); ++i) {
            const double accesses = counts[i] * part;
            all_accesses += accesses;
            if (nodes[i] == near_node) near_accesses += accesses;
            counters[i] += accesses;
            if (shown) shown[i] = uint32_t(counters[i] + 0.5);
        }
    }

    double now_ = 0, near_accesses = 0, all_accesses = 0;
};

// A file of counters, as an emulator's plugin keeps them.
class Counters {
  public:
    Counters(uint64_t pages, uint64_t first_address)
        : path_(testing::TempDir() + "recorded_test_counters-" + std::to_string(getpid())),
          bytes_(truth_counts_offset + pages * sizeof(uint32_t)) {
        std::ofstream(path_).close();
        std::filesystem::resize_file(path_, bytes_);
        const int file = open(path_.c_str(), O_RDWR | O_CLOEXEC);
        base_ = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
        close(file);
        auto* header = static_cast<TruthHeader*>(base_);
        std::memcpy(header->magic, truth_magic, sizeof header->magic);
        header->pages = pages;
        header->first_address = first_address;
    }
    ~Counters() {
        munmap(base_, bytes_);
        std::filesystem::remove(path_);
    }
    const std::string& path() const { return path_; }
    uint32_t* counts() const {
        return reinterpret_cast<uint32_t*>(static_cast<char*>(base_) + truth_counts_offset);
    }

  private:
    std::string path_;
    size_t bytes_;
    void* base_;
};

// The share of all accesses of the trace that was served near.
double play(Machine& machine, Sampler& sampler) {
    auto policy = make_tier_policy({});
    KernelMover mover(machine, [&] { return machine.now_s(); });
    EngineConfig config;
    config.near_nodes = {near_node};
    config.far_nodes = {far_node};
    config.near_limit_bytes = 256 * page_bytes;
    Engine engine(sampler, *policy, mover, machine, machine, config);
    EXPECT_TRUE(engine.add({machine.first_address(), machine.trace.pages}));
    engine.run();
    EXPECT_EQ(engine.status().trouble, "");
    return machine.near_share();
}

double play_recorded(Recording::Shows shows) {
    Machine machine(hot_that_jumps());
    Recording recording{machine.trace, machine.first_address(), shows, {}, 1};
    if (shows == Recording::Shows::first_touches) recording.costs = trace::native_costs;
    auto sampler = make_recorded_sampler(std::move(recording), machine);
    return play(machine, *sampler);
}

double play_truth() {
    Machine machine(hot_that_jumps());
    Counters counters(machine.trace.pages, machine.first_address());
    machine.shown = counters.counts();
    auto sampler = make_truth_sampler(counters.path(), 0, &machine);
    EXPECT_TRUE(sampler) << sampler.error().sentence;
    return play(machine, **sampler);
}

TEST(Recorded, TheEngineReachesWhatItReachesWithTheTruth) {
    const double truth = play_truth();
    const double counts = play_recorded(Recording::Shows::counts);
    const double touches = play_recorded(Recording::Shows::first_touches);
    std::printf("near: truth %.3f, counts %.3f, first touches %.3f\n", truth, counts, touches);
    EXPECT_GT(truth, 0.5);
    EXPECT_NEAR(counts, truth, 0.02);
    EXPECT_NEAR(touches, truth, 0.05);
}

}  // namespace
}  // namespace libpool::tier
