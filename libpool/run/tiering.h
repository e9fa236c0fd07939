// SPDX-License-Identifier: Apache-2.0
// Tiering of the program that this library was preloaded into: one thread that looks each second
// what memory the program has, which nodes there are and what near memory saves, and runs the
// engine over it; and what the control socket is told.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "kernel.h"
#include "run/forks.h"
#include "run/ranges.h"
#include "tier/clock.h"
#include "tier/engine.h"
#include "tier/engine_control.h"
#include "tier/nodes.h"
#include "tier/probe.h"
#include "tier/sampler_choice.h"
#include "tier/settings.h"
#include "tier/snapshot.h"
#include "topology.h"

namespace libpool::run {

class Tiering final : public tier::Controlled {
  public:
    explicit Tiering(const tier::Settings& settings) : settings_(settings) {}

    // On the thread that will run it: are there tiers, and a sampler that works? With `wait` set,
    // tiers may come later. What takes milliseconds is left to run(), unless it was asked for.
    Result<void> prepare();
    // Until stop(), or until it cannot go on; the program's memory is then as if never tracked.
    void run() noexcept;
    void stop() { clock_.stop(); }
    bool ended() const { return ended_; }
    // Has something been changed in the system that has to be put back when the program ends?
    bool must_be_stopped() const { return must_be_stopped_; }
    void forked() { forks_.i_am_a_child(); }
    const std::string& chosen() const { return chosen_; }  // the sampler, and why not a better one

    tier::Snapshot status() override;
    Result<tier::PageAnswer> explain(uint64_t address) override;
    Result<void> set(const tier::Limits& limits) override;
    Result<tier::PageSlice> pages(uint64_t first, uint64_t pages, tier::Detail detail) override;
    Result<std::vector<tier::BenefitStep>> benefit() override;
    double settle() override;

  private:
    // The engine waits often and without its lock: the moments in which the program's memory is
    // looked through.
    class FollowingClock final : public tier::Clock {
      public:
        explicit FollowingClock(Tiering& owner) : owner_(owner) {}
        double now_s() override { return clock_.now_s(); }
        double thread_cpu_s() override { return clock_.thread_cpu_s(); }
        double program_cpu_s() override { return clock_.program_cpu_s(); }
        bool wait(double seconds) override {
            owner_.follow_if_due(clock_.now_s());
            return clock_.wait(seconds);
        }
        bool stopped() override { return clock_.stopped(); }
        void stop() { clock_.stop(); }

      private:
        Tiering& owner_;
        tier::SystemClock clock_;
    };

    Result<Topology> find_tiers() const;
    Result<void> take_sampler();
    bool wait_for_memory();
    void go_on();
    void begin(const Topology& topology);
    bool wait_for_tiers();
    std::unexpected<Error> not_yet();
    void look_at_nodes(double now_s);
    void follow_if_due(double now_s);
    void follow();

    const tier::Settings settings_;
    FollowingClock clock_{*this};
    Forks forks_;
    tier::EngineConfig config_;
    tier::SamplerChoice choice_;
    std::string chosen_;
    std::atomic<bool> must_be_stopped_ = false;
    std::unique_ptr<Kernel> kernel_;
    std::unique_ptr<Mover> mover_;
    std::unique_ptr<tier::TierPolicy> policy_;
    std::unique_ptr<tier::Engine> engine_;
    std::unique_ptr<tier::EngineControl> control_;
    std::atomic<tier::EngineControl*> tiered_ = nullptr;  // control_, once there are two tiers
    std::unique_ptr<tier::NodeBook> nodes_;
    tier::TierNodes told_;         // to the probe
    std::string nodes_in_kernel_;  // the list of those with memory, when last read
    std::unique_ptr<tier::LoadSource> loads_;
    std::unique_ptr<tier::LatencyProbe> probe_;  // none when the gain was given
    RangeBook book_;
    double next_follow_s_ = 0, followed_s_ = 0;
    std::string size_in_kernel_;  // of the program's address space, when its mappings were read
    std::atomic<bool> ended_ = false;

    mutable std::mutex lock_;   // guards what follows
    std::string why_untiered_;  // it waits for memory or a second tier, or no sampler works
    std::string left_out_;
    std::string trouble_;
};

}  // namespace libpool::run
