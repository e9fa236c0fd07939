// SPDX-License-Identifier: Apache-2.0
#include "pooltrace/metrics.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <sstream>

#include "pooltrace/report.h"

namespace libpool::tier::trace {
namespace {

// Two pages, one of them hot; the other one from epoch 4 on.
struct Case {
    Trace trace;
    World world;
    Outcome outcome;

    Case() {
        trace.pages = 2;
        trace.epoch_ns = 500'000'000;
        for (int e = 0; e < 8; ++e)
            for (uint32_t page = 0; page < 2; ++page)
                trace.counts.push_back((e < 4) == (page == 0) ? 90 : 10);
        world.near_pages = 1;
        outcome.seconds = 4;
        for (double near : {90, 90, 90, 90, 10, 60, 85, 90}) {
            EpochRow row;
            row.near = near;
            row.far = 100 - near;
            size_t e = outcome.rows.size();
            row.base_near = e < 4 ? 90 : 10;
            row.base_far = 100 - row.base_near;
            row.overhead_ns = 1e6;
            outcome.rows.push_back(row);
        }
        outcome.rows[5].promoted = outcome.rows[5].demoted = 1;
    }
};

TEST(Metrics, AddUp) {
    Case c;
    Bound bound;
    bound.cost_ns = 16000;
    bound.near_share = 0.87;
    Summary s = summarize(c.trace, c.world, c.outcome, bound, std::vector<uint32_t>{4});
    EXPECT_DOUBLE_EQ(s.accesses, 800);
    EXPECT_DOUBLE_EQ(s.near_share, 605.0 / 800);
    EXPECT_DOUBLE_EQ(s.base_near_share, 0.5);
    EXPECT_DOUBLE_EQ(s.of_bound, 605.0 / 800 / 0.87);
    EXPECT_DOUBLE_EQ(s.cost_s, (195 * 150.0 + 2 * 2000 + 8e6) * 1e-9);
    EXPECT_DOUBLE_EQ(s.base_cost_s, 400 * 150e-9);
    EXPECT_DOUBLE_EQ(s.regret, (195 * 150.0 + 4000 - 16000) / 16000);
    EXPECT_DOUBLE_EQ(s.moved_bytes, 8192);
    EXPECT_DOUBLE_EQ(s.overhead_share, 0.002);
    // The best unchanging placement serves 90: from epoch 6 on we serve 90 % of it, from 7 on 95 %.
    EXPECT_EQ(s.recovery.to_90_s, 1.0);
    EXPECT_EQ(s.recovery.to_95_s, 1.5);
    c.outcome.rows[7].near = 50;
    s = summarize(c.trace, c.world, c.outcome, bound, std::vector<uint32_t>{4});
    EXPECT_EQ(s.recovery.to_90_s, std::nullopt);
}

TEST(Metrics, RegretAgainstABoundOfNothing) {
    Case c;
    Bound bound;
    bound.near_share = 1;
    EXPECT_TRUE(std::isinf(summarize(c.trace, c.world, c.outcome, bound, {}).regret));
}

TEST(Metrics, HarmIsTheWorstMomentAndNotTheEnd) {
    Case c;
    for (EpochRow& row : c.outcome.rows)
        row = {.near = 0, .far = 100, .base_near = 0, .base_far = 100};
    c.world.loss_ns = 1e6;
    c.outcome.rows[2].far = 200;  // 0.1 s lost…
    c.outcome.rows[5].far = 0;    // …and won back
    c.outcome.rows[3].overhead_ns = 50e6;
    // At the end of epoch 3 (2 s) 0.1 s are lost by placement and 0.05 s by overhead.
    Harm harm = harm_of(c.trace, c.world, c.outcome, 0.01, std::vector<Promise>{{0.1, 0.12}});
    EXPECT_NEAR(harm.lost_s, 0.1, 1e-12);
    EXPECT_NEAR(harm.worst_placement_s, -0.02, 1e-12);
    EXPECT_NEAR(harm.worst_s, 0.15 - 0.02 - 0.12, 1e-12);
    EXPECT_TRUE(harm.violated());
    EXPECT_FALSE(harm.placement_violated());
    auto broken = [&](const std::vector<Promise>& promises) {
        return harm_of(c.trace, c.world, c.outcome, 0.01, promises).violated();
    };
    EXPECT_FALSE(broken({{0.1, 0.14}}));
    // U is promised beside C, and a bound without it is not what is checked.
    harm = harm_of(c.trace, c.world, c.outcome, 0.01, std::vector<Promise>{{0.1, 0.12, 0.02}});
    EXPECT_NEAR(harm.worst_s, 0.15 - 0.02 - 0.14, 1e-12);
    EXPECT_FALSE(harm.violated());
    EXPECT_TRUE(harm.beyond_allowance());
    harm = harm_of(c.trace, c.world, c.outcome, 0.01, std::vector<Promise>{{0.1, 0.14, 0.02}});
    EXPECT_FALSE(harm.beyond_allowance());
    // What is promised later does not mend it, what was promised before does not count any more.
    EXPECT_TRUE(broken({{0.1, 0.12}, {2.1, 0.14}}));
    EXPECT_FALSE(broken({{0.1, 0.12}, {1.9, 0.14}}));
}

std::string content(const std::string& path) {
    std::ostringstream out;
    out << std::ifstream(path).rdbuf();
    return out.str();
}

TEST(Report, CsvHasALineAnEpochAndAPolicy) {
    Case c;
    std::string csv = epochs_csv(c.trace, c.outcome);
    EXPECT_EQ(std::ranges::count(csv, '\n'), 9);
    EXPECT_NE(csv.find("\n5,2.5,100,60,40,10,90,1,1,0,1e+06,0\n"), std::string::npos) << csv;
    Summary s = summarize(c.trace, c.world, c.outcome, {}, {});
    s.policy = "ours";
    s.workload = "hot";
    std::string summary = summary_csv({s});
    EXPECT_EQ(std::ranges::count(summary, '\n'), 2);
    auto fields = [](std::string_view line) { return std::ranges::count(line, ','); };
    size_t end = summary.find('\n');
    EXPECT_EQ(fields(summary.substr(0, end)), fields(summary.substr(end + 1)));
}

TEST(Report, APlotIsDrawnOrSaidToBeMissing) {
    Case c;
    char folder[] = "/tmp/pooltrace-plot-XXXXXX";
    ASSERT_NE(mkdtemp(folder), nullptr);
    std::string prefix = std::string(folder) + "/it's";
    auto said = plot(prefix, "hot; 'quoted'", c.trace, {{"ours", c.outcome}}, {});
    ASSERT_TRUE(said) << said.error().sentence;
    EXPECT_EQ(content(prefix + ".ours.csv"), epochs_csv(c.trace, c.outcome));
    bool drawn = *said == "Plot: " + prefix + ".svg.";
    if (drawn) {
        EXPECT_NE(content(prefix + ".svg").find("</svg>"), std::string::npos);
    } else {
        EXPECT_NE(said->find(prefix + ".gp is its script"), std::string::npos) << *said;
    }
    for (const char* end : {".gp", ".svg", ".ours.csv"}) unlink((prefix + end).c_str());
    EXPECT_EQ(rmdir(folder), 0);
    EXPECT_FALSE(plot("/nonexistent/x", "", c.trace, {{"ours", c.outcome}}, {}));
}

}  // namespace
}  // namespace libpool::tier::trace
