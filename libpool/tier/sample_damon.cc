// SPDX-License-Identifier: Apache-2.0
// DAMON knows how often a region was found accessed, and nothing of its pages. Of each page that is
// there, the time of its first touch after arming is drawn from its region's rate, so that whoever
// makes rates of sights gets the region's rate back. What a region saw before arming stands for
// what it does after.

#include <algorithm>
#include <cmath>
#include <random>

#include "steady.h"
#include "tier/damon.h"
#include "tier/presence.h"
#include "tier/samplers.h"
#include "uapi.h"

namespace libpool::tier {

namespace {

constexpr double reading_share = 0.01;  // of a CPU

class DamonSampler final : public Sampler {
  public:
    DamonSampler(Damon damon, Presence presence, const DamonIntervals& intervals)
        : damon_(std::move(damon)), presence_(std::move(presence)), intervals_(intervals) {}

    Result<void> add(const AddressRun&) override { return {}; }
    void remove(const AddressRun&) override {}

    Result<void> arm(std::span<const AddressRun> runs) override {
        if (steady_now_s() >= read_again_s_) {
            if (auto read = read_regions(); !read) return read;
        }
        auto sights = presence_.arm(runs);
        if (!sights) return std::unexpected(sights.error());
        runs_.assign(runs.begin(), runs.end());
        sights_ = std::move(*sights);
        draw_first_touches();
        armed_at_s_ = steady_now_s();
        return {};
    }

    Result<Look> look(Sight rung) override {
        Look look;
        look.at_s = steady_now_s() - armed_at_s_;
        if (auto seen = presence_.look(runs_, sights_, look.huge); !seen) {
            return std::unexpected(seen.error());
        }
        for (size_t i = 0; i < sights_.size(); ++i) {
            if (sights_[i] == not_touched && first_touch_s_[i] <= look.at_s) sights_[i] = rung;
        }
        look.sights = sights_;
        return look;
    }

    void disarm() override {
        runs_.clear();
        sights_.clear();
        first_touch_s_.clear();
    }

    SamplerInfo info() const override {
        return {"damon",
                text("DAMON, regions sampled each %.0f ms and counted each %.0f ms",
                     double(intervals_.sample_us) / 1000, double(intervals_.aggregate_us) / 1000),
                // Not nothing, which would mean counts from outside; what it costs is measured.
                {0, 0, 0, 1},
                false,
                false};
    }

  private:
    // A thousand regions are three thousand files. They are read as rarely as keeps that below a
    // hundredth of a CPU, whatever the schedule wants; in between they stand for what is now.
    Result<void> read_regions() {
        const double cpu_s = clock_s(CLOCK_THREAD_CPUTIME_ID);
        auto regions = damon_.regions();
        if (!regions) return std::unexpected(regions.error());
        regions_ = std::move(*regions);
        const double spent_s = clock_s(CLOCK_THREAD_CPUTIME_ID) - cpu_s;
        read_again_s_ = steady_now_s() +
                        std::max(double(intervals_.aggregate_us) * 1e-6, spent_s / reading_share);
        return {};
    }

    // Touches/s of each page, from the share of samples that found the accessed bit set. All of
    // them: no more can be known than that it is above what leaves half a sample.
    double rate(const DamonRegion& region) const {
        double samples = std::max(1.0, double(intervals_.aggregate_us) /
                                           double(std::max<uint64_t>(1, intervals_.sample_us)));
        double share = std::min(double(region.accesses) / samples, 1 - 0.5 / samples);
        return -std::log1p(-share) / (double(intervals_.sample_us) * 1e-6);
    }

    void draw_first_touches() {
        constexpr double never = HUGE_VAL;
        first_touch_s_.assign(sights_.size(), static_cast<float>(never));
        std::exponential_distribution<double> draw(1.0);
        size_t first = 0;
        for (const AddressRun& run : runs_) {
            auto region = std::ranges::upper_bound(regions_, run.start, {}, &DamonRegion::end);
            for (; region != regions_.end() && region->start < run.end(); ++region) {
                double per_s = rate(*region);
                if (per_s <= 0) continue;
                uint64_t from = std::max(region->start, run.start) - run.start;
                uint64_t to = std::min(region->end, run.end()) - run.start;
                for (uint64_t at = from / page_bytes; at < to / page_bytes; ++at) {
                    first_touch_s_[first + at] = static_cast<float>(draw(random_) / per_s);
                }
            }
            first += run.pages;
        }
    }

    Damon damon_;
    Presence presence_;
    DamonIntervals intervals_;
    std::vector<DamonRegion> regions_;
    std::vector<AddressRun> runs_;
    std::vector<Sight> sights_;
    std::vector<float> first_touch_s_;
    std::minstd_rand random_;
    double armed_at_s_ = 0, read_again_s_ = 0;
};

}  // namespace

Result<std::unique_ptr<Sampler>> make_damon_sampler(pid_t pid, const DamonIntervals& intervals) {
    auto damon = Damon::start("", pid, intervals);
    if (!damon) return std::unexpected(damon.error());
    auto pagemap = open_pagemap(pid);
    if (!pagemap) return std::unexpected(pagemap.error());
    return std::make_unique<DamonSampler>(std::move(*damon), Presence(std::move(*pagemap)),
                                          intervals);
}

}  // namespace libpool::tier
