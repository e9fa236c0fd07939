// SPDX-License-Identifier: Apache-2.0
// 200 threads on one engine while it runs: ranges come and go, everything is asked and set. What
// stands for the machine is not made for threads where the engine promises to call it from one at a
// time, so that ThreadSanitizer (`make tsan-tier`) sees a broken promise. THREADS_SECONDS=N:
// longer.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <random>
#include <thread>

#include "tier/engine.h"
#include "tier/engine_control.h"

namespace libpool::tier {
namespace {

constexpr size_t thread_count = 200, pages_each = 700, slot_pages = 1024;

// No lock, no atomics: Sampler is called by one thread at a time.
class OneAtATime final : public Sampler {
  public:
    Result<void> add(const AddressRun& range) override {
        added_ += range.pages;
        return {};
    }
    void remove(const AddressRun& range) override { added_ -= range.pages; }
    Result<void> arm(std::span<const AddressRun> runs) override {
        pages_ = 0;
        for (const AddressRun& run : runs) pages_ += run.pages;
        return {};
    }
    Result<Look> look(Sight rung) override {
        Look look;
        look.at_s = 0.0001 * (rung + 1);
        for (uint64_t i = 0; i < pages_; ++i) {
            look.sights.push_back(random_() % 3 ? not_touched : Sight(random_() % (rung + 1)));
        }
        return look;
    }
    void disarm() override { pages_ = 0; }
    SamplerInfo info() const override {
        SamplerInfo info;
        info.name = "simulated";
        info.costs = {10, 100, 100, 2};
        return info;
    }
    uint64_t added() const { return added_; }

  private:
    uint64_t added_ = 0, pages_ = 0;
    std::minstd_rand random_;
};

// Pages are where they were moved last. The kernel itself is asked by any thread.
class Machine final : public Kernel {
  public:
    long move_pages(pid_t, std::span<const uint64_t> pages, std::span<const int> targets,
                    std::span<int> status) override {
        for (size_t i = 0; i < pages.size(); ++i) {
            std::atomic<int>& node = nodes_[pages[i] / 4096 % nodes_.size()];
            if (!targets.empty()) node = targets[i];
            status[i] = node;
        }
        return 0;
    }
    Result<uint64_t> room_bytes(int) override { return uint64_t(1) << 28; }

  private:
    std::vector<std::atomic<int>> nodes_ = std::vector<std::atomic<int>>(thread_count * slot_pages);
};

void torture(Engine& engine, EngineControl& control, size_t which, const std::atomic<bool>& stop) {
    std::minstd_rand random(static_cast<unsigned>(which) + 1);
    const AddressRun own{which * slot_pages * 4096, pages_each};
    while (!stop) {
        ASSERT_TRUE(engine.add(own));
        ASSERT_FALSE(engine.add(own));  // it is there
        for (int i = 0; i < 4; ++i) {
            switch (random() % 9) {
                case 0:
                    EXPECT_TRUE(engine.explain(own.start + random() % pages_each * 4096));
                    break;
                case 1:
                    EXPECT_TRUE(engine.hint({own.start, 8}, Hint(random() % 3)));
                    break;
                case 2:
                    EXPECT_GE(control.status().tracked_bytes, own.pages * 4096);
                    break;
                case 3:
                    EXPECT_TRUE(control.benefit());
                    break;
                case 4:
                    EXPECT_TRUE(control.pages(0, slice_limit_pages, Detail::rates));
                    break;
                case 5: {
                    Limits limits;
                    limits.near_limit_bytes = (random() % 64) << 20;
                    limits.cpu_share = 0.01;
                    EXPECT_TRUE(control.set(limits));
                    break;
                }
                case 6:
                    engine.set_loss_ns(100 + double(random() % 100));
                    break;
                case 7: {
                    if (random() % 16 != 0) break;
                    Limits limits;
                    limits.leaving_nodes.emplace();
                    if (random() % 2 == 0) limits.leaving_nodes->push_back(1);
                    EXPECT_TRUE(control.set(limits));
                    break;
                }
                default:
                    control.settle();
            }
            std::this_thread::sleep_for(
                std::chrono::microseconds(random() % 20000));  // or all wait for one lock
        }
        ASSERT_TRUE(engine.remove(own.start));
    }
}

TEST(Threads, TwoHundredOnARunningEngine) {
    const char* given = std::getenv("THREADS_SECONDS");
    const double seconds = given ? std::atof(given) : 1.0;
    OneAtATime sampler;
    Machine machine;
    SystemClock clock;
    KernelMover mover(machine);
    TierConfig policy_config;
    policy_config.cpu_share = 0.2;
    auto policy = make_tier_policy(policy_config);
    EngineConfig config;
    config.near_nodes = {0};
    config.far_nodes = {1};
    Engine engine(sampler, *policy, mover, machine, clock, config);
    About about;
    about.nodes = {{0}, {1}};
    EngineControl control(engine, machine, clock, about, UINT64_MAX);

    std::atomic<bool> stop = false;
    std::thread runs([&] { engine.run(); });
    std::vector<std::thread> threads;
    for (size_t i = 0; i < thread_count; ++i) {
        threads.emplace_back([&, i] { torture(engine, control, i, stop); });
    }
    std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
    stop = true;
    for (std::thread& thread : threads) thread.join();
    clock.stop();
    runs.join();
    EXPECT_EQ(sampler.added(), 0u);
    EXPECT_EQ(engine.status().ranges, 0u);
    EXPECT_EQ(engine.status().near_bytes + engine.status().far_bytes, 0u);
    std::printf("%llu cycles\n", static_cast<unsigned long long>(engine.status().cycles));
}

// The engine's thread and the control socket's ask one kernel.
TEST(Threads, TheKernelIsAskedByAny) {
    auto kernel = make_kernel();
    std::vector<std::thread> threads;
    for (int i = 0; i < 8; ++i) {
        threads.emplace_back([&] {
            for (int k = 0; k < 50; ++k) {
                EXPECT_TRUE(kernel->room_bytes(0));
                EXPECT_TRUE(kernel->deficit_bytes(0));
            }
        });
    }
    for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace libpool::tier
