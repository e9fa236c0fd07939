// SPDX-License-Identifier: Apache-2.0
#include "tier/sample_recorded.h"

#include <algorithm>
#include <utility>

#include "pooltrace/touches.h"
#include "uapi.h"

namespace libpool::tier {

namespace {

class RecordedSampler final : public Sampler {
  public:
    RecordedSampler(Recording recording, Clock& clock)
        : recording_(std::move(recording)),
          births_(trace::births(recording_.trace)),
          touches_(recording_.trace, births_, recording_.seed),
          clock_(clock),
          begun_at_s_(clock.now_s()) {}

    Result<void> add(const AddressRun&) override { return {}; }
    void remove(const AddressRun&) override {}

    Result<void> arm(std::span<const AddressRun> runs) override {
        pages_ = 0;
        parts_.clear();
        cycle_ = {};
        for (const AddressRun& run : runs) {
            const uint64_t first = recording_.first_address;
            const uint64_t from = std::max(run.start, first);
            const uint64_t to = std::min(run.end(), first + recording_.trace.pages * page_bytes);
            if (from < to) {
                parts_.push_back(pages_ + (from - run.start) / page_bytes);
                cycle_.runs.push_back(
                    {PageId((from - first) / page_bytes), uint32_t((to - from) / page_bytes)});
            }
            pages_ += run.pages;
        }
        cycle_.start_s = clock_.now_s() - begun_at_s_;
        return {};
    }

    // All looks so far anew: what was found is found again.
    Result<Look> look(Sight) override {
        Look look;
        look.at_s = clock_.now_s() - begun_at_s_ - cycle_.start_s;
        cycle_.rungs_s.push_back(look.at_s);
        const auto which =
            cycle_.rungs_s.size() == 1 ? trace::Touches::Cycle::next : trace::Touches::Cycle::same;
        const bool exact = recording_.shows == Recording::Shows::counts;
        if (exact)
            count(which);
        else
            touches_.look(cycle_, which);
        look.sights.assign(pages_, page_absent);
        look.counts.assign(exact ? pages_ : 0, 0);
        size_t at = 0;
        for (size_t i = 0; i < parts_.size(); ++i) {
            const uint32_t pages = cycle_.runs[i].pages;
            std::copy_n(cycle_.sights.begin() + ptrdiff_t(at), pages,
                        look.sights.begin() + ptrdiff_t(parts_[i]));
            if (exact)
                std::copy_n(cycle_.counts.begin() + ptrdiff_t(at), pages,
                            look.counts.begin() + ptrdiff_t(parts_[i]));
            at += pages;
        }
        return look;
    }

    void disarm() override { parts_.clear(), pages_ = 0, cycle_ = {}; }

    SamplerInfo info() const override {
        const bool exact = recording_.shows == Recording::Shows::counts;
        return {"recorded",
                text("a recorded trace of %u pages and %zu epochs", recording_.trace.pages,
                     recording_.trace.epochs()),
                recording_.costs, false, exact};
    }

  private:
    void count(trace::Touches::Cycle which) {
        touches_.count(cycle_, which);
        const auto now = uint32_t(cycle_.start_s / recording_.trace.epoch_s());
        size_t at = 0;
        for (const Run& run : cycle_.runs)
            for (PageId page = run.first; page < run.end(); ++page, ++at)
                if (births_[page] > now) cycle_.sights[at] = page_absent;
    }

    const Recording recording_;
    const std::vector<uint32_t> births_;
    trace::Touches touches_;
    Clock& clock_;
    const double begun_at_s_;
    Reading cycle_;              // in the trace's time and pages: what of the runs lies in it
    std::vector<size_t> parts_;  // where each of cycle_.runs begins among the armed pages
    size_t pages_ = 0;           // armed
};

}  // namespace

std::unique_ptr<Sampler> make_recorded_sampler(Recording recording, Clock& clock) {
    return std::make_unique<RecordedSampler>(std::move(recording), clock);
}

}  // namespace libpool::tier
