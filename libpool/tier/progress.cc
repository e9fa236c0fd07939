// SPDX-License-Identifier: Apache-2.0
#include "tier/progress.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace libpool::tier {

namespace {

constexpr double least_part = 0.1;  // of the wall clock's time
constexpr int halvings = 24;

}  // namespace

std::vector<double> program_times(const Pages& pages, const Reading& reading, double fault_ns,
                                  double slowest_fault) {
    std::array<uint64_t, rung_limit> touched{};
    std::array<uint64_t, belief_count> beliefs{}, huge_beliefs{};
    uint64_t present = 0, present_huge = 0;
    size_t at = 0;
    for (const Run& run : reading.runs) {
        bool huge = false;
        for (PageId page = run.first; page < run.end(); ++page, ++at) {
            const Sight sight = reading.sights[at];
            if (page == run.first || page % block_pages == 0) {
                const PageId block = page / block_pages * block_pages;
                huge = std::ranges::binary_search(reading.huge, block);
            }
            if (sight == page_absent || page >= pages.states.size()) continue;
            if (huge && page % block_pages != 0) continue;  // all of it is one fault
            ++(huge ? present_huge : present);
            ++(huge ? huge_beliefs : beliefs)[pages.belief(page)];
            if (sight < rung_limit) ++touched[sight];
        }
    }
    std::vector<double> times = reading.rungs_s;
    if (present + present_huge == 0) return times;
    const Prior rates = mixture_of(beliefs), huge_rates = mixture_of(huge_beliefs);
    auto expected = [&](double seconds) {
        return touched_within(rates, seconds) * double(present) +
               touched_within(huge_rates, seconds * block_pages) * double(present_huge);
    };
    double so_far = 0, before_s = 0;
    for (size_t rung = 0; rung < times.size(); ++rung) {
        so_far += double(touched[rung]);
        const double wall_s = times[rung], faults_s = so_far * fault_ns * 1e-9;
        const double least_s = std::max(wall_s - slowest_fault * faults_s, least_part * wall_s);
        const double most_s = std::max(wall_s - usual_fault * faults_s, least_s);
        double low_s = least_s, high_s = most_s;
        for (int i = 0; i < halvings && high_s > 1.02 * low_s; ++i) {
            const double middle_s = std::sqrt(low_s * high_s);
            const bool enough = expected(middle_s) >= so_far;
            (enough ? high_s : low_s) = middle_s;
        }
        times[rung] = std::max(std::sqrt(low_s * high_s), before_s * 1.02 + 1e-6);
        before_s = times[rung];
    }
    return times;
}

}  // namespace libpool::tier
