// SPDX-License-Identifier: Apache-2.0
#include "exact_tiering.h"

#include <cstdio>
#include <thread>

#include "mover.h"
#include "tier/engine.h"
#include "tier/samplers.h"

namespace work {
namespace {

using namespace libpool::tier;

EngineConfig config_of(const ExactWish& wish) {
    EngineConfig config;
    config.near_nodes = {wish.near_node};
    config.far_nodes = {wish.far_node};
    config.near_limit_bytes = wish.near_limit_bytes;
    config.loss_ns = wish.loss_ns;
    return config;
}

TierConfig policy_of(const ExactWish& wish) {
    TierConfig config;
    config.cpu_share = wish.cpu_share;
    return config;
}

class Running final : public ExactTiering {
  public:
    Running(std::unique_ptr<Sampler> sampler, const ExactWish& wish)
        : kernel_(libpool::make_kernel()),
          mover_(*kernel_),
          sampler_(std::move(sampler)),
          policy_(make_tier_policy(policy_of(wish))),
          engine_(*sampler_, *policy_, mover_, *kernel_, clock_, config_of(wish)) {}
    ~Running() override {
        clock_.stop();
        if (thread_.joinable()) thread_.join();
    }
    libpool::Result<void> begin(const ExactWish& wish) {
        if (auto added = engine_.add({wish.data, wish.pages}); !added) return added;
        thread_ = std::thread([this] { engine_.run(); });
        return {};
    }

    std::string json() const override {
        EngineStatus s = engine_.status();
        char text[512];
        std::snprintf(
            text, sizeof text,
            "{\"windows\":%lu,\"promoted_pages\":%lu,\"demoted_pages\":%lu,\"failed_pages\":%lu,"
            "\"thread_s\":%.4f,\"moving_s\":%.4f,\"wanted_pages\":%lu,\"no_room_pages\":%lu,"
            "\"gain_ns\":%.0f,\"move_cost_ns\":%.0f,\"balance_s\":%.4f,\"changes\":%lu}",
            s.cycles, s.promoted_pages, s.demoted_pages, s.failed_pages, s.thread_cpu_s, s.move_s,
            s.wanted_pages, s.no_room_pages, s.loss_ns, s.move_ns, s.policy.bank.balance_s,
            s.policy.changes);
        return text;
    }

  private:
    std::unique_ptr<libpool::Kernel> kernel_;
    libpool::KernelMover mover_;
    std::unique_ptr<Sampler> sampler_;
    std::unique_ptr<TierPolicy> policy_;
    SystemClock clock_;
    Engine engine_;
    std::thread thread_;
};

}  // namespace

std::expected<std::unique_ptr<ExactTiering>, std::string> ExactTiering::start(
    const ExactWish& wish) {
    auto sampler = make_truth_sampler(wish.counters, 0);
    if (!sampler) return std::unexpected(sampler.error().sentence);
    auto running = std::make_unique<Running>(std::move(*sampler), wish);
    if (auto begun = running->begin(wish); !begun) return std::unexpected(begun.error().sentence);
    return running;
}

}  // namespace work
