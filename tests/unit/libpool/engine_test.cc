// SPDX-License-Identifier: Apache-2.0
// The whole engine in simulated time: pages with true touch rates, two nodes, and a kernel that
// counts every move. Nothing here sleeps.
#include "engine.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <random>
#include <sstream>

namespace libpool {
namespace {

constexpr int near_node = 0, far_node = 1;

// Sampler, kernel and clock of one small machine. Touches are Poisson; the test sets the rates.
class World final : public Sampler, public Kernel, public Clock {
  public:
    explicit World(size_t pages, uint64_t seed = 1)
        : rates(pages, 0.0), nodes(pages, far_node), random_(seed) {}

    std::vector<double> rates;
    std::vector<int> nodes;
    uint64_t near_room_pages = 1 << 20;  // apart from what the moves take
    uint64_t near_limit_seen = 0;        // most pages that were ever near
    double end_s = 60;
    double fault_cost_ns = 1000;
    double window_cost_s = 0.001;
    double move_cost_s = 0;
    std::vector<uint64_t> moves_of_page;
    std::function<void(double)> at_time;

    double near_share() const {
        double near = 0, all = 0;
        for (size_t i = 0; i < rates.size(); ++i) {
            all += rates[i];
            near += nodes[i] == near_node ? rates[i] : 0;
        }
        return all > 0 ? near / all : 0;
    }

    Result<void> add(const Range&) override { return {}; }
    void remove(const Range&) override {}
    Result<void> arm(const Range&) override {
        armed_at_s_ = now_s_;
        return {};
    }
    Result<double> scan(const Range& range, std::vector<Seen>& seen) override {
        double window_s = now_s_ - armed_at_s_;
        seen.assign(range.pages, Seen::idle);
        for (size_t i = 0; i < range.pages; ++i) {
            double touched = 1 - std::exp(-rates[i] * window_s);
            if (std::bernoulli_distribution(touched)(random_)) seen[i] = Seen::touched;
        }
        cpu_s_ += window_cost_s;
        return window_s;
    }
    double fault_ns() const override { return fault_cost_ns; }
    std::string describe() const override { return "a simulated world"; }

    long move_pages(pid_t, std::span<const uint64_t> pages, std::span<const int> targets,
                    std::span<int> status) override {
        moves_of_page.resize(nodes.size());
        for (size_t i = 0; i < pages.size(); ++i) {
            size_t index = pages[i] / 4096;
            if (!targets.empty() && nodes[index] != targets[i]) {
                bool full = targets[i] == near_node && near_room_pages == 0;
                if (full) return static_cast<long>(pages.size() - i);
                near_room_pages += targets[i] == near_node ? -1 : 1;
                nodes[index] = targets[i];
                ++moves_of_page[index];
                cpu_s_ += move_cost_s;
                now_s_ += move_cost_s;
            }
            status[i] = nodes[index];
        }
        uint64_t near = 0;
        for (int node : nodes) near += node == near_node;
        near_limit_seen = std::max(near_limit_seen, near);
        return 0;
    }
    Result<uint64_t> room_bytes(int node) override {
        return node == near_node ? near_room_pages * 4096 : uint64_t(1) << 40;
    }

    double now_s() override { return now_s_; }
    double thread_cpu_s() override { return cpu_s_; }
    bool wait(double seconds) override {
        now_s_ += seconds;
        if (at_time) at_time(now_s_);
        return now_s_ < end_s;
    }

    uint64_t total_moves() const {
        uint64_t sum = 0;
        for (uint64_t moves : moves_of_page) sum += moves;
        return sum;
    }

  private:
    std::mt19937_64 random_;
    double now_s_ = 0, cpu_s_ = 0, armed_at_s_ = 0;
};

EngineConfig config_with_limit(uint64_t pages) {
    EngineConfig config;
    config.near_nodes = {near_node};
    config.far_nodes = {far_node};
    config.near_limit_bytes = pages * 4096;
    return config;
}

struct Trip {
    explicit Trip(World& world, EngineConfig config)
        : mover(world), engine(world, mover, world, world, std::move(config)) {
        EXPECT_TRUE(engine.add({0, world.nodes.size()}));
        engine.run();
    }
    KernelMover mover;
    Engine engine;
};

void heat_up(World& world, size_t first, size_t count, double hot, double cold) {
    for (size_t i = 0; i < world.rates.size(); ++i) {
        world.rates[i] = i >= first && i < first + count ? hot : cold;
    }
}

TEST(Engine, ASteadyHotSetComesNearAndThenNothingMovesAnyMore) {
    World world(2000);
    heat_up(world, 1000, 400, 300, 1);
    uint64_t moves_at_half = 0;
    world.at_time = [&](double now) {
        if (now < 30) moves_at_half = world.total_moves();
    };
    Trip run(world, config_with_limit(500));
    EXPECT_GT(world.near_share(), 0.97);
    EXPECT_LE(world.near_limit_seen, 500u);
    EXPECT_EQ(run.engine.stat(Stat::promoted) + run.engine.stat(Stat::demoted),
              world.total_moves());
    // What still moves is the lukewarm rest of the limit: few swaps among 1600 pages that are
    // alike.
    EXPECT_LE(world.total_moves() - moves_at_half, 100u);
    EXPECT_EQ(run.engine.stat(Stat::near_pages), 500u);
}

TEST(Engine, FollowsAHotSetThatJumps) {
    World world(2000);
    heat_up(world, 0, 400, 300, 0.2);
    double share_before = 0;
    world.at_time = [&](double now) {
        if (now < 40) share_before = world.near_share();
        if (now >= 40 && world.rates[0] > 1) heat_up(world, 1200, 400, 300, 0.2);
    };
    world.end_s = 100;
    Trip run(world, config_with_limit(450));
    EXPECT_GT(share_before, 0.97);
    EXPECT_GT(world.near_share(), 0.95);
    EXPECT_LE(world.near_limit_seen, 450u);
    EXPECT_GE(run.engine.stat(Stat::demoted), 350u);
}

TEST(Engine, TwoEqualPagesWithOneSlotDoNotPingPong) {
    for (double rate : {0.5, 20.0, 300.0, 5000.0}) {
        World world(2, 11);
        world.rates = {rate, rate};
        world.end_s = 3600;
        EngineConfig config = config_with_limit(1);
        config.cpu_share = 1;
        config.stay_s = 100000;  // as eager as it gets
        Trip run(world, config);
        EXPECT_GT(run.engine.stat(Stat::windows), 3000u);
        // One bit a window deceives now and then: at most six swaps in an hour of thousands of
        // windows.
        EXPECT_LE(world.total_moves(), 12u) << "rate " << rate;
    }
}

TEST(Engine, NeverFillsMoreThanTheLiveRoomAndSaysWhatDidNotFit) {
    World world(1000);
    heat_up(world, 0, 600, 300, 0.1);
    world.near_room_pages = 200;  // the limit would allow 800
    Trip run(world, config_with_limit(800));
    EXPECT_EQ(world.near_limit_seen, 200u);
    EXPECT_EQ(run.engine.stat(Stat::failed), 0u);  // it knew before it tried
}

TEST(Engine, TheDryMoverSamplesDecidesAndMovesNothing) {
    World world(1000);
    heat_up(world, 0, 200, 300, 0.1);
    DryMover mover(world);
    Engine engine(world, mover, world, world, config_with_limit(500));
    ASSERT_TRUE(engine.add({0, 1000}));
    engine.run();
    EXPECT_GT(engine.stat(Stat::wanted), 150u);
    EXPECT_EQ(world.total_moves(), 0u);
    EXPECT_EQ(engine.stat(Stat::promoted), 0u);
    EXPECT_GT(engine.reasons()[ECANCELED], 150u);
    EXPECT_EQ(world.near_share(), 0);
}

TEST(Engine, KeepsToItsCpuBudgetApartFromTheFirstWindowsAndNeverTakesMoreThanHalf) {
    World world(4000);
    heat_up(world, 0, 1000, 300, 5);
    world.window_cost_s = 0.012;
    world.fault_cost_ns = 4000;
    world.end_s = 600;
    KernelMover mover(world);
    Engine engine(world, mover, world, world, config_with_limit(1000));
    auto spent_s = [&] {
        return 1e-9 * double(engine.stat(Stat::thread_cpu_ns) + engine.stat(Stat::fault_cpu_ns));
    };
    double worst = 0, after_learning_s = 0, from_s = 0;
    world.at_time = [&](double now) {
        if (now > 1) worst = std::max(worst, spent_s() / now);
        if (from_s == 0 && engine.stat(Stat::windows) == 17) {
            from_s = now;
            after_learning_s = spent_s();
        }
    };
    ASSERT_TRUE(engine.add({0, 4000}));
    engine.run();
    EXPECT_LT(from_s, 10);
    EXPECT_LT((spent_s() - after_learning_s) / (600 - from_s), 0.0105);
    EXPECT_GT((spent_s() - after_learning_s) / (600 - from_s), 0.008);
    EXPECT_LT(worst, 0.52);
    EXPECT_GT(world.near_share(), 0.9);
}

TEST(Engine, TheMoveLimitIsKept) {
    World world(20000);
    heat_up(world, 0, 20000, 300, 300);
    EngineConfig config = config_with_limit(20000);
    config.move_limit_bytes_per_s = 100 * 4096;
    Trip run(world, config);
    // 60 s at 100 pages a second, and one batch that was under way.
    EXPECT_LE(world.total_moves(), 60 * 100 + move_batch + 100);
    EXPECT_GT(world.total_moves(), 3000u);
    EXPECT_GT(run.engine.stat(Stat::no_room), 0u);
}

TEST(Engine, ExpensiveMovesOfLukewarmPagesAreLeft) {
    World world(1000);
    heat_up(world, 0, 1000, 20, 20);
    heat_up(world, 0, 50, 1500, 20);
    world.move_cost_s = 0.002;  // admission at 2 ms a page: 111 touches a second
    Trip run(world, config_with_limit(1000));
    uint64_t hot_near = 0;
    for (size_t i = 0; i < 50; ++i) hot_near += world.nodes[i] == near_node;
    EXPECT_GE(hot_near, 48u);
    // Apart from the trials that tell what a move costs: at the start, and a minute later.
    EXPECT_LE(run.engine.stat(Stat::near_pages), 200u);
}

TEST(Engine, RangesAreCheckedAndNamed) {
    World world(100);
    KernelMover mover(world);
    Engine engine(world, mover, world, world, config_with_limit(10));
    EXPECT_EQ(engine.add({0, 0}).error().code, EINVAL);
    ASSERT_TRUE(engine.add({0, 50}));
    EXPECT_EQ(engine.add({49 * 4096, 10}).error().code, EEXIST);
    EXPECT_EQ(engine.remove(4096).error().code, ENOENT);
    EXPECT_EQ(engine.stat(Stat::tracked_bytes), 50u * 4096);
    ASSERT_TRUE(engine.remove(0));
    EXPECT_EQ(engine.stat(Stat::tracked_bytes), 0u);
    EXPECT_NE(engine.status().find("nothing is tracked"), std::string::npos);
}

// An exception out of run() would end the program whose thread it is.
TEST(Engine, LackOfMemoryEndsItAndIsTold) {
    World world(64);
    world.at_time = [](double now_s) {
        if (now_s > 1) throw std::bad_alloc();
    };
    Trip run(world, config_with_limit(16));
    EXPECT_NE(run.engine.status().find("ended for lack of memory"), std::string::npos)
        << run.engine.status();
    EXPECT_TRUE(run.engine.remove(0));  // no lock is left behind
}

TEST(Engine, ItsRecordingCanBeReplayed) {
    World world(64);
    heat_up(world, 0, 16, 300, 0.1);
    world.end_s = 10;
    std::stringstream file;
    KernelMover mover(world);
    Engine engine(world, mover, world, world, config_with_limit(16), &file);
    ASSERT_TRUE(engine.add({0, 64}));
    engine.run();
    auto lines = read_recording(file);
    ASSERT_TRUE(lines) << lines.error().sentence;
    RecordedSampler replay(*lines, 0);
    EXPECT_EQ(replay.pages(), 64u);
    uint64_t windows = 0;
    std::vector<Seen> seen;
    while (replay.scan({0, 64}, seen)) ++windows;
    EXPECT_EQ(windows, engine.stat(Stat::windows));
}

}  // namespace
}  // namespace libpool
