// SPDX-License-Identifier: Apache-2.0
// An engine as the control socket sees it, and what stands in for one where there is none.
#pragma once

#include <mutex>
#include <string>
#include <vector>

#include "tier/clock.h"
#include "tier/engine.h"
#include "tier/nodes.h"
#include "tier/sampler_choice.h"
#include "tier/snapshot.h"

namespace libpool::tier {

// What the engine does not know of itself.
struct About {
    pid_t target = 0;  // 0 = this process
    std::string tenant;
    std::vector<SamplerState> refused;  // samplers that would have come before this one
    TierNodes nodes;                    // to begin with
    double cpu_share = 0.01;
    double delta = 1e-3;
};

class EngineControl final : public Controlled {
  public:
    // All outlive it. The near limit and the nodes are the engine's own; from here on only this
    // object sets them.
    EngineControl(Engine& engine, Kernel& kernel, Clock& clock, About about,
                  uint64_t near_limit_bytes);

    // Nodes came or went.
    void set_nodes(TierNodes nodes);
    // Somebody else has moved many pages.
    void look_anew();
    // Those that the engine has: without the ones that leave.
    TierNodes nodes() const;

    Snapshot status() override;
    Result<PageAnswer> explain(uint64_t address) override;
    // EBUSY when only nodes would be left that leave; nothing is changed then.
    Result<void> set(const Limits& limits) override;
    Result<PageSlice> pages(uint64_t first, uint64_t pages, Detail detail) override;
    Result<std::vector<BenefitStep>> benefit() override;
    double settle() override;

  private:
    // Pages of a range, numbered for as long as somebody asks: [first, first + pages).
    struct Numbered {
        uint64_t start = 0, pages = 0, first = 0;
        std::vector<float> rates;  // of the last look; empty: gone
    };
    void look();
    void forget_numbers(double now_s);
    Place place_of(int node) const;
    void apply_limit();
    void apply_nodes();

    Engine& engine_;
    Kernel& kernel_;
    Clock& clock_;
    const About about_;
    const double started_s_;

    mutable std::mutex lock_;  // guards all below
    TierNodes all_nodes_;      // also those that leave
    TierNodes nodes_;          // as the engine was told
    std::vector<int> leaving_;
    double leaving_until_s_ = 0;
    double cpu_share_;
    uint64_t near_limit_bytes_;
    uint64_t allotted_bytes_ = UINT64_MAX;
    double allotted_until_s_ = 0;
    std::vector<Numbered> numbered_;  // by first
    uint64_t numbers_ = 0;
    double numbers_until_s_ = 0;  // unless somebody asks
};

// A process that is not tiered, and says why.
class UntieredControl : public Controlled {
  public:
    UntieredControl(std::string sentence, About about = {})
        : sentence_(std::move(sentence)), about_(std::move(about)) {}

    Snapshot status() override;
    Result<PageAnswer> explain(uint64_t) override { return refusal(); }
    Result<void> set(const Limits&) override { return refusal(); }
    Result<PageSlice> pages(uint64_t, uint64_t, Detail) override { return refusal(); }
    Result<std::vector<BenefitStep>> benefit() override { return refusal(); }
    double settle() override;

  private:
    std::unexpected<Error> refusal() const;
    const std::string sentence_;
    const About about_;
};

}  // namespace libpool::tier
