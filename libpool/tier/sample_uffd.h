// SPDX-License-Identifier: Apache-2.0
// The exact sampler over userfaultfd, for both kinds of protection (uffd.h). Closing the descriptor
// takes all protection away. What changes in the address space meanwhile (parts that are unmapped,
// moved, discarded, mapped anew, or registered by nobody) is reported absent, never an error; where
// memory of the program's own turns up at the place of a range that was added, it is taken in.
#pragma once

#include <map>
#include <optional>
#include <vector>

#include "tier/maps.h"
#include "tier/page_scan.h"
#include "tier/sampler.h"
#include "tier/uffd.h"

namespace libpool::tier {

class UffdSampler final : public Sampler {
  public:
    // pid 0: this process; a descriptor that the program closes is then made anew.
    UffdSampler(const UffdKind& kind, pid_t pid, Descriptor uffd, Descriptor pagemap)
        : kind_(kind), pid_(pid), uffd_(std::move(uffd)), pagemap_(std::move(pagemap)) {}

    Result<void> add(const AddressRun& range) override;
    void remove(const AddressRun& range) override;
    Result<void> arm(std::span<const AddressRun> runs) override;
    Result<Look> look(Sight rung) override;
    void disarm() override;
    SamplerInfo info() const override;

    // Arms and touches some pages of its own, which proves that the calls work together on this
    // kernel, and times them.
    Result<void> calibrate();
    void take_costs(const SamplerInfo& info) { costs_ = info.costs; }

  private:
    struct Span {  // what was protected in one go
        size_t run;
        size_t first_sight;  // of the run
        AddressRun pages;
    };

    Result<void> ensure_open();
    Result<void> arm_run(size_t run, size_t first_sight);
    // Sets the protection of a span, mapping by mapping where it must. What could not be protected
    // becomes absent. False: the descriptor was closed meanwhile.
    bool protect(const Span& span, uint64_t mode);
    // The sights of a part of a run.
    std::span<Sight> part(const Span& of, uint64_t start, uint64_t end);
    bool take_in(const Mapping& mapping);
    Result<void> see(const AddressRun& run, std::span<Sight> sights, Sight rung, Look& look);
    Result<SampleCosts> try_out(const AddressRun& pages);

    const UffdKind& kind_;
    pid_t pid_;
    Descriptor uffd_, pagemap_;
    SampleCosts costs_;
    std::map<uint64_t, uint64_t> ranges_;  // added: start → end

    // The cycle.
    std::vector<AddressRun> runs_;
    std::vector<Sight> sights_;
    std::vector<Span> spans_;
    double armed_at_s_ = 0;
    std::vector<Region> regions_;                   // of one scan
    std::optional<std::vector<Mapping>> mappings_;  // read when first needed
};

Result<std::unique_ptr<Sampler>> make_uffd_sampler(const UffdKind& kind);
Result<std::unique_ptr<Sampler>> make_uffd_sampler(const UffdKind& kind, pid_t pid,
                                                   Descriptor uffd);

}  // namespace libpool::tier
