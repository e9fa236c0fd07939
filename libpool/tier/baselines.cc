// SPDX-License-Identifier: Apache-2.0
#include "tier/baselines.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>

namespace libpool::tier {

namespace {

// MEMTIS and ARMS allow themselves 3 % of a CPU for sampling; so may everyone here.
constexpr double baseline_cpu_share = 0.03;

// What the sampling baselines have in common: where pages are, a cycle over all of them, and a
// pause that keeps to the CPU budget.
class Sampling : public Policy {
  public:
    explicit Sampling(double period_s) : period_s_(period_s) {}

    void track(Run run) override {
        runs_.push_back(run);
        std::ranges::sort(runs_, {}, &Run::first);
        if (places_.size() < run.end()) {
            places_.resize(run.end(), Place::nowhere);
            grow(run.end());
        }
    }
    void forget(Run run) override {
        std::erase(runs_, run);
        for (PageId page = run.first; page < run.end(); ++page) leave(page);
    }
    void place(std::span<const PageId> pages, Place where) override {
        for (PageId page : pages) {
            if (where == Place::nowhere) {
                leave(page);
            } else {
                places_[page] = where;
            }
        }
    }
    Aim aim(const Situation& situation) override {
        Aim aim;
        aim.rungs_s = looks();
        aim.runs = runs_;
        double pages = 0;
        for (const Run& run : runs_) pages += run.pages;
        const SampleCosts& c = situation.costs;
        double cost_s =
            1e-9 * (pages * (c.arm_page_ns + c.look_page_ns * double(aim.rungs_s.size())) +
                    double(runs_.size()) * c.arm_run_ns + double(touched_) * c.fault_ns);
        aim.pause_s =
            std::max(std::max(period_s_, cost_s / baseline_cpu_share) - aim.rungs_s.back(), 0.0);
        return aim;
    }
    void observe(const Reading& reading, const Situation& situation) override {
        touched_ = 0;
        elapsed_s_ = situation.now_s - last_s_;
        last_s_ = situation.now_s;
        const Sight last = Sight(reading.rungs_s.size() - 1);
        size_t i = 0;
        for (const Run& run : reading.runs) {
            for (PageId page = run.first; page < run.end(); ++page, ++i) {
                Sight sight = reading.sights[i];
                if (places_[page] == Place::nowhere || sight == page_absent) continue;
                bool touched = reading.counts.empty() ? sight < rung_limit : reading.counts[i] > 0;
                touched_ += touched;
                see(page, touched ? std::min(sight, last) : not_touched, rate_of(reading, i));
            }
        }
    }

  protected:
    virtual void grow(PageId pages) = 0;
    virtual void see(PageId page, Sight sight, double rate) = 0;  // not_touched, or a look
    virtual std::vector<double> looks() const = 0;

    std::vector<Place> places_;
    double elapsed_s_ = 0;  // between the last two readings

  private:
    void leave(PageId page) { places_[page] = Place::nowhere; }

    // A first touch between two looks: at their geometric mean, say.
    static double rate_of(const Reading& reading, size_t i) {
        if (!reading.counts.empty()) return reading.counts[i] / reading.rungs_s.back();
        Sight sight = reading.sights[i];
        if (sight >= reading.rungs_s.size()) return 0;
        double to = reading.rungs_s[sight], from = sight == 0 ? to / 4 : reading.rungs_s[sight - 1];
        return 1 / std::sqrt(from * to);
    }

    std::vector<Run> runs_;
    double period_s_, last_s_ = 0;
    uint64_t touched_ = 0;
};

class FirstTouch : public Policy {
  public:
    void track(Run) override {}
    void forget(Run) override {}
    void place(std::span<const PageId>, Place) override {}
    Aim aim(const Situation&) override { return {.pause_s = 1, .runs = {}, .rungs_s = {}}; }
    void observe(const Reading&, const Situation&) override {}
    Plan decide(const Situation&) override { return {}; }
};

class Tpp : public Sampling {
  public:
    Tpp() : Sampling(1.0) {}  // numa_balancing scans that often

    Plan decide(const Situation& s) override {
        Plan plan;
        uint64_t watermark = std::max<uint64_t>(1, s.near_pages / 50);
        std::vector<PageId> hot;
        for (PageId page = 0; page < places_.size(); ++page)
            if (places_[page] == Place::far && in_a_row_[page] >= 2) hot.push_back(page);
        // Faults come in the order of first touches.
        std::ranges::stable_sort(hot, std::less{}, [&](PageId page) { return age_[page]; });
        uint64_t wanted = hot.size() + watermark;  // reclaim runs beside promotion
        if (s.near_room_pages < wanted) {
            std::vector<PageId> inactive;
            for (PageId page = 0; page < places_.size(); ++page)
                if (places_[page] == Place::near && age_[page] > 0) inactive.push_back(page);
            std::ranges::stable_sort(inactive, std::greater{}, [&](PageId p) { return age_[p]; });
            inactive.resize(std::min<uint64_t>(
                {inactive.size(), wanted - s.near_room_pages, s.far_room_pages, s.move_pages / 2}));
            plan.demote = std::move(inactive);
        }
        hot.resize(std::min<uint64_t>({hot.size(), s.near_room_pages + plan.demote.size(),
                                       s.move_pages - plan.demote.size()}));
        plan.promote = std::move(hot);
        return plan;
    }

  protected:
    void grow(PageId pages) override {
        in_a_row_.resize(pages, 0);
        age_.resize(pages, 0);
    }
    void see(PageId page, Sight sight, double) override {
        bool touched = sight < rung_limit;
        in_a_row_[page] = touched ? uint8_t(std::min(in_a_row_[page] + 1, 255)) : 0;
        age_[page] = touched ? sight : uint8_t(std::min(age_[page] + rung_limit, size_t{255}));
    }
    // Under pressure reclaim comes round faster, until some pages were not referenced since: the
    // shorter looks say which.
    std::vector<double> looks() const override { return {0.002, 0.03, 0.5}; }

  private:
    std::vector<uint8_t> in_a_row_;  // scans
    std::vector<uint8_t> age_;       // 0: active; a later look, then scans without a touch
};

class Histogram : public Sampling {
  public:
    Histogram() : Sampling(0.5) {}

    Plan decide(const Situation& s) override {
        std::array<uint64_t, bins> count{};
        for (PageId page = 0; page < places_.size(); ++page)
            if (places_[page] != Place::nowhere) ++count[bin_of(page)];
        size_t threshold = bins;
        uint64_t above = 0;
        while (threshold > 1 && above + count[threshold - 1] <= s.near_pages)
            above += count[--threshold];
        Plan plan;
        std::vector<PageId> hot, cold;
        for (PageId page = 0; page < places_.size(); ++page) {
            if (places_[page] == Place::far && bin_of(page) >= threshold) hot.push_back(page);
            if (places_[page] == Place::near && bin_of(page) < threshold) cold.push_back(page);
        }
        auto heat = [&](PageId page) { return heat_[page]; };
        std::ranges::stable_sort(hot, std::greater{}, heat);
        std::ranges::stable_sort(cold, std::less{}, heat);
        uint64_t wanted = std::min<uint64_t>(hot.size(), s.near_room_pages + cold.size());
        uint64_t out = wanted > s.near_room_pages ? wanted - s.near_room_pages : 0;
        out = std::min({out, s.far_room_pages, s.move_pages / 2});
        cold.resize(out);
        hot.resize(std::min({wanted, s.near_room_pages + out, s.move_pages - out}));
        plan.demote = std::move(cold);
        plan.promote = std::move(hot);
        if (++cycle_ % cooling_cycles == 0)
            for (float& h : heat_) h /= 2;
        return plan;
    }

  protected:
    void grow(PageId pages) override { heat_.resize(pages, 0); }
    void see(PageId page, Sight, double rate) override { heat_[page] += float(rate); }
    std::vector<double> looks() const override { return {0.001, 0.004, 0.016, 0.064, 0.256}; }

  private:
    static constexpr size_t bins = 16;  // as MEMTIS
    static constexpr uint32_t cooling_cycles = 8;

    size_t bin_of(PageId page) const {
        return std::min<size_t>(bins - 1, size_t(std::bit_width(uint32_t(heat_[page]))));
    }

    std::vector<float> heat_;
    uint32_t cycle_ = 0;
};

class TwoEwma : public Sampling {
  public:
    TwoEwma() : Sampling(0.5) {}

    Plan decide(const Situation& s) override {
        std::vector<PageId> hot, cold;
        for (PageId page = 0; page < places_.size(); ++page) {
            if (places_[page] == Place::far && score(page) > 0) hot.push_back(page);
            if (places_[page] == Place::near) cold.push_back(page);
        }
        auto by_score = [&](PageId page) { return score(page); };
        uint64_t most = std::min<uint64_t>({hot.size(), s.near_pages, s.move_pages});
        std::ranges::partial_sort(hot, hot.begin() + ptrdiff_t(most), std::greater{}, by_score);
        hot.resize(most);
        std::ranges::partial_sort(cold,
                                  cold.begin() + ptrdiff_t(std::min<uint64_t>(most, cold.size())),
                                  std::less{}, by_score);
        Plan plan;
        uint64_t room = s.near_room_pages, far_room = s.far_room_pages;
        size_t victim = 0;
        for (PageId page : hot) {
            double saved = score(page), moves = 1;
            if (room == 0) {
                if (victim == std::min<size_t>(most, cold.size()) || far_room == 0) break;
                saved -= score(cold[victim]);
                moves = 2;
            }
            // The longer it has been among the hot, the longer it will stay there.
            double horizon_s = hot_for_s_[page] + elapsed_s_;
            if (saved * horizon_s * s.loss_ns <= moves * s.move_ns) continue;
            if (plan.demote.size() + plan.promote.size() + uint64_t(moves) > s.move_pages) break;
            if (room == 0) {
                plan.demote.push_back(cold[victim++]);
                --far_room;
            } else {
                --room;
            }
            plan.promote.push_back(page);
        }
        return plan;
    }

  protected:
    void grow(PageId pages) override {
        short_.resize(pages, 0);
        long_.resize(pages, 0);
        hot_for_s_.resize(pages, 0);
    }
    void see(PageId page, Sight sight, double rate) override {
        short_[page] += 0.5f * (float(rate) - short_[page]);
        long_[page] += 0.1f * (float(rate) - long_[page]);
        hot_for_s_[page] = sight < rung_limit ? hot_for_s_[page] + float(elapsed_s_) : 0;
    }
    std::vector<double> looks() const override { return {0.001, 0.004, 0.016, 0.064, 0.256}; }

  private:
    double score(PageId page) const { return std::max(short_[page], long_[page]); }

    std::vector<float> short_, long_;  // touches/s
    std::vector<float> hot_for_s_;     // touched in each reading for so long
};

}  // namespace

std::unique_ptr<Policy> make_first_touch() { return std::make_unique<FirstTouch>(); }
std::unique_ptr<Policy> make_tpp() { return std::make_unique<Tpp>(); }
std::unique_ptr<Policy> make_histogram() { return std::make_unique<Histogram>(); }
std::unique_ptr<Policy> make_two_ewma() { return std::make_unique<TwoEwma>(); }

std::vector<std::string_view> policy_names() {
    return {"first-touch", "tpp", "histogram", "two-ewma", "ours"};
}

Result<std::unique_ptr<Policy>> make_policy(std::string_view name, const TierConfig& config) {
    if (name == "first-touch") return make_first_touch();
    if (name == "tpp") return make_tpp();
    if (name == "histogram") return make_histogram();
    if (name == "two-ewma") return make_two_ewma();
    if (name == "ours") return make_tier_policy(config);
    std::string names;
    for (std::string_view known : policy_names()) names.append(" ").append(known);
    return fail(EINVAL, "There is no policy \"%.*s\"; there are:%s.",
                int(std::min<size_t>(name.size(), 40)), name.data(), names.c_str());
}

}  // namespace libpool::tier
