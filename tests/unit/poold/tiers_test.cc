// SPDX-License-Identifier: Apache-2.0
// poold's side of tiering: the operator's file, who gets how much, and what Prometheus reads.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <random>
#include <set>

#include "poold/allot.h"
#include "poold/metrics.h"
#include "poold/options.h"
#include "poold/tenants_file.h"
#include "tier/control_client.h"

using namespace poold;
using namespace libpool::tier;

namespace {

std::string refusal(const std::string& lines) {
    auto file = parse_tenants(lines, "t.conf");
    return file ? "taken" : file.error().sentence;
}

// Touches all its pages alike, at a rate that pays.
TieredProcess process(int pid, const std::string& program, uint64_t pages, double rate = 100) {
    TieredProcess one;
    one.pid = pid;
    one.program = program;
    one.said.pid = one.said.target = pid;
    one.said.state = TieringState::tiered;
    one.said.loss_ns = 150;
    one.said.move_ns = 2000;
    one.benefit = {{pages, rate}};
    return one;
}

std::vector<uint64_t> pages_of(const TenantsFile& file, const std::vector<TieredProcess>& all,
                               uint64_t capacity_pages) {
    auto parts = allot(file, all, capacity_pages * 4096);
    EXPECT_TRUE(parts) << parts.error().sentence;
    std::vector<uint64_t> pages;
    for (const Allotment& one : *parts) pages.push_back(one.near_bytes / 4096);
    return pages;
}

TenantsFile rules(const std::string& lines) {
    auto file = parse_tenants(lines, "t.conf");
    EXPECT_TRUE(file) << file.error().sentence;
    return file.value_or(TenantsFile{});
}

}  // namespace

TEST(TenantsFile, EveryWord) {
    TenantsFile file = rules(
        "# of this host\ncapacity = 8G\n"
        "tenant cache program=redis-server label=c floor=1G cap=4G weight=200 # first\n"
        "tenant batch cgroup=/system.slice/batch.service/ pid=812\n");
    EXPECT_EQ(file.capacity_bytes, 8ull << 30);
    ASSERT_EQ(file.rules.size(), 2u);
    EXPECT_EQ(file.rules[0].program, "redis-server");
    EXPECT_EQ(file.rules[0].label, "c");
    EXPECT_EQ(file.rules[0].floor_bytes, 1u << 30);
    EXPECT_EQ(file.rules[0].cap_bytes, 4ull << 30);
    EXPECT_EQ(file.rules[0].weight, 200u);
    EXPECT_EQ(file.rules[1].cgroup, "/system.slice/batch.service");
    EXPECT_EQ(file.rules[1].pid, 812);
    EXPECT_EQ(file.rules[1].weight, 100u);
    EXPECT_FALSE(rules("capacity = auto\n").capacity_bytes);
}

TEST(TenantsFile, MistakesAreNamedWithTheirLine) {
    EXPECT_EQ(refusal("\nfoo\n"),
              "t.conf:2: \"foo\" is neither `capacity = SIZE` nor `tenant NAME word=value …`");
    EXPECT_EQ(refusal("tenant a flor=1G pid=1"),
              "t.conf:1: \"flor\" is nothing that a tenant has, did you mean floor?");
    EXPECT_EQ(refusal("tenant a weight=5"),
              "t.conf:1: tenant a says not whom it is about: program, cgroup, pid or label");
    EXPECT_EQ(refusal("tenant a pid=1 floor=2G cap=1G"),
              "t.conf:1: tenant a has a floor above its cap");
    EXPECT_EQ(refusal("tenant a pid=1\ntenant a pid=2"), "t.conf:2: tenant a is there twice");
    EXPECT_EQ(refusal("capacity = 1G\ncapacity = 2G"), "t.conf:2: capacity is there twice");
    EXPECT_EQ(refusal("capacity = auto\ncapacity = 2G"), "t.conf:2: capacity is there twice");
    EXPECT_EQ(refusal("tenant a pid=1 floor=99999999G\ncapacity = 1G"),
              "t.conf: tenant a has a floor of 97656.2 TiB, above the capacity of 1 GiB");
    for (const char* line : {"tenant", "tenant a/b pid=1", "tenant a pid=0", "tenant a pid=x",
                             "tenant a pid=1 pid=1", "tenant a pid=", "tenant a pid", "capacity",
                             "tenant a pid=1 weight=0", "tenant a pid=1 weight=10001",
                             "tenant a cgroup=x", "tenant a cgroup=/../etc", "capacity = much"}) {
        EXPECT_NE(refusal(line), "taken") << line;
    }
    EXPECT_EQ(read_tenants("/nowhere").error().sentence,
              "/nowhere cannot be read: No such file or directory");
    EXPECT_EQ(read_tenants("/").error().sentence, "/ cannot be read: Is a directory");
    EXPECT_EQ(read_tenants("/dev/zero").error().sentence, "/dev/zero is larger than 256 KiB");
}

TEST(TenantsFile, AnyTextIsAnswered) {
    const std::vector<std::string> pieces = {
        "tenant ",      "a",        "b ",        "pid=1", " ",        "floor=1G", "cap=1K",
        "weight=10000", "\n",       "#",         "=",     "capacity", " = ",      "auto",
        "\xff",         "cgroup=/", "program=x", "label="};
    std::mt19937_64 random(11);
    int taken = 0;
    for (int i = 0; i < 20000; ++i) {
        std::string text;
        for (size_t n = random() % 14; n > 0; --n) text += pieces[random() % pieces.size()];
        taken += parse_tenants(text, "t").has_value();
    }
    EXPECT_GT(taken, 500);
}

TEST(Allot, RulesAreTakenInOrderAndAllWordsMustHold) {
    TenantsFile file = rules(
        "tenant one program=a pid=1\ntenant two program=a\ntenant three cgroup=/x\n"
        "tenant four label=l\n");
    auto name = [&](TieredProcess one) {
        const TenantRule* rule = rule_of(file, one);
        return rule ? rule->name : "none";
    };
    EXPECT_EQ(name(process(1, "a", 1)), "one");
    EXPECT_EQ(name(process(2, "a", 1)), "two");
    EXPECT_EQ(name(process(1, "b", 1)), "none");
    TieredProcess inside = process(3, "b", 1);
    inside.cgroup = "/x/y";
    EXPECT_EQ(name(inside), "three");
    inside.cgroup = "/xy";
    EXPECT_EQ(name(inside), "none");
    inside.said.tenant = "l";
    EXPECT_EQ(name(inside), "four");
}

TEST(Allot, ByWeightAndWithinFloorAndCap) {
    TenantsFile file = rules(
        "tenant heavy program=a weight=300\ntenant light program=b weight=100\n"
        "tenant safe program=c floor=400K cap=400K weight=1\n");
    std::vector<TieredProcess> all = {process(1, "a", 10000), process(2, "b", 10000),
                                      process(3, "c", 10000)};
    EXPECT_EQ(pages_of(file, all, 500), (std::vector<uint64_t>{300, 100, 100}));
}

TEST(Allot, WhatNobodyUsesIsRoomForAll) {
    std::vector<TieredProcess> all = {process(1, "a", 100), process(2, "b", 100)};
    EXPECT_EQ(pages_of({}, all, 1000), (std::vector<uint64_t>{500, 500}));
    TenantsFile capped = rules("tenant a program=a cap=480K\n");  // 120 pages
    EXPECT_EQ(pages_of(capped, all, 1000), (std::vector<uint64_t>{120, 500}));
}

TEST(Allot, ProcessesOfATenantShareItsPart) {
    TenantsFile file = rules("tenant both program=a\n");
    std::vector<TieredProcess> all = {process(1, "a", 50), process(2, "a", 10000),
                                      process(3, "b", 10000)};
    EXPECT_EQ(pages_of(file, all, 1000), (std::vector<uint64_t>{50, 450, 500}));
}

TEST(Allot, PagesThatDoNotPayForTheirMoveDoNotCount) {
    // A move pays within a minute from 0.22 touches/s on.
    std::vector<TieredProcess> all = {process(1, "a", 10000, 0.1), process(2, "b", 10000, 10)};
    EXPECT_EQ(pages_of({}, all, 1000), (std::vector<uint64_t>{0, 1000}));
}

TEST(Allot, UntieredOnesAreLeftAlone) {
    std::vector<TieredProcess> all = {process(1, "a", 100), process(2, "b", 100)};
    all[0].said.state = TieringState::untiered;
    auto parts = allot({}, all, 100 * 4096);
    ASSERT_TRUE(parts);
    EXPECT_EQ(parts->at(0).tenant, "");
    EXPECT_EQ(parts->at(0).near_bytes, UINT64_MAX);
    EXPECT_EQ(parts->at(1).near_bytes, 100u * 4096);
}

TEST(Allot, NonsenseThatAProcessSaysHarmsNobodyElse) {
    std::vector<TieredProcess> all = {process(1, "a", UINT64_MAX, 1e300), process(2, "b", 100)};
    all[0].benefit.push_back({UINT64_MAX, 1e308});
    all[0].benefit.push_back({5, -1});
    all[0].benefit.push_back({5, NAN});
    all[0].said.loss_ns = NAN;
    EXPECT_EQ(pages_of({}, all, 1000)[1], 100u);
}

// divide() takes no such curve: all allotments lapsed by one process's word.
TEST(Allot, ACurveOfNegativeNumbersCostsOnlyItsOwner) {
    for (auto [move_ns, loss_ns] : {std::pair{-2000.0, 150.0},
                                    {2000.0, -150.0},
                                    {-2000.0, -150.0},
                                    {NAN, 150.0},
                                    {INFINITY, 1e-300},
                                    {-INFINITY, 150.0}}) {
        std::vector<TieredProcess> all = {process(1, "a", 100, -0.1), process(2, "b", 100)};
        all[0].benefit.push_back({100, -INFINITY});
        all[0].benefit.push_back({100, INFINITY});
        all[0].said.move_ns = move_ns;
        all[0].said.loss_ns = loss_ns;
        EXPECT_EQ(pages_of({}, all, 100), (std::vector<uint64_t>{0, 100})) << move_ns << loss_ns;
    }
}

TEST(Allot, AsManyProcessesAsAreAskedAreDividedAmong) {
    TenantsFile file = rules("tenant many program=a\ntenant one program=b weight=10000\n");
    std::vector<TieredProcess> all;
    for (int pid = 1; pid < int(process_limit); ++pid) {
        all.push_back(process(pid, pid % 2 ? "a" : "c", 10'000));
        all.back().benefit.assign(benefit_limit, {100, 50});
    }
    all.push_back(process(int(process_limit), "b", 1000));
    const std::vector<uint64_t> pages = pages_of(file, all, 100'000);
    EXPECT_EQ(pages.back(), 1000u);
    EXPECT_LE(std::accumulate(pages.begin(), pages.end(), uint64_t{0}), 100'000u);
    EXPECT_GT(pages[1], 0u);
}

TEST(Allot, NoMoreIsDividedThanTheNodesHave) {
    std::vector<TieredProcess> all = {process(1, "a", 1), process(2, "b", 1)};
    all[0].said.near_bytes = 1 << 20;
    all[1].said.near_bytes = 2 << 20;
    EXPECT_EQ(near_capacity(all, 4 << 20, 16 << 20), uint64_t{7} << 20);
    EXPECT_EQ(near_capacity(all, 4 << 20, 6 << 20), uint64_t{6} << 20);
    EXPECT_EQ(near_capacity(all, UINT64_MAX, 6 << 20), uint64_t{6} << 20);
    all[1].said.near_bytes = UINT64_MAX - (1 << 20);  // the sum would be 4 MiB less a byte
    EXPECT_EQ(near_capacity(all, 4 << 20, 16 << 20), uint64_t{16} << 20);
    EXPECT_EQ(near_capacity({}, 4 << 20, 16 << 20), uint64_t{4} << 20);
}

TEST(Allot, OverManyWorldsTheSumFits) {
    std::mt19937_64 random(5);
    TenantsFile file = rules(
        "tenant a program=a weight=7 floor=40K\ntenant b program=b cap=4M\ntenant c label=z "
        "weight=9999\n");
    for (int world = 0; world < 2000; ++world) {
        std::vector<TieredProcess> all;
        for (size_t n = random() % 9; n > 0; --n) {
            all.push_back(process(int(n), std::string(1, char('a' + random() % 4)), random() % 3000,
                                  double(random() % 50)));
            if (random() % 3 == 0) all.back().said.tenant = "z";
        }
        uint64_t capacity = random() % 5000, sum = 0;
        for (uint64_t pages : pages_of(file, all, capacity)) sum += pages;
        ASSERT_LE(sum, capacity);
    }
}

TEST(Metrics, TextFormat) {
    TieringPicture picture;
    picture.processes.push_back(process(812, "re\"dis\\\n\033", 1));
    picture.processes[0].said.near_bytes = 1 << 20;
    picture.processes[0].said.policy.near_share = 0.5;
    picture.processes[0].said.sampler = "rwp";
    picture.allotments.push_back({812, "cache", 4096, Limit::share});
    picture.silent = 2;
    std::string out = metrics_text(picture);
    std::string labels =
        R"({pid="812",program="re\"dis\\\\\\x0a\\x1b",tenant="cache",sampler="rwp"})";
    EXPECT_NE(out.find("# HELP cxlpool_tier_near_bytes Tracked memory in the near tier.\n"
                       "# TYPE cxlpool_tier_near_bytes gauge\n"
                       "cxlpool_tier_near_bytes" +
                       labels + " 1048576\n"),
              std::string::npos)
        << out;
    EXPECT_NE(out.find("cxlpool_tier_silent_processes 2\n"), std::string::npos);
    EXPECT_NE(out.find("cxlpool_tier_near_limit_bytes" + labels + " +Inf\n"), std::string::npos);
    EXPECT_NE(out.find("cxlpool_tier_near_hit_ratio" + labels + " 0.5\n"), std::string::npos);
    EXPECT_TRUE(out.ends_with("\n"));
    // Every sample follows its own TYPE line, and each name has one.
    std::set<std::string> typed;
    std::string current;
    std::istringstream lines(out);
    for (std::string line; std::getline(lines, line);) {
        if (line.starts_with("# TYPE ")) {
            current = line.substr(7, line.find(' ', 7) - 7);
            EXPECT_TRUE(typed.insert(current).second) << line;
            EXPECT_EQ(current.ends_with("_total"), line.ends_with(" counter")) << line;
        } else if (!line.starts_with("#")) {
            EXPECT_EQ(line.substr(0, line.find_first_of("{ ")), current) << line;
        }
    }
}

TEST(Metrics, ATenantIsTheSumOfItsProcessesAndItsShareIsOfTheirTouches) {
    TieringPicture picture;
    for (int pid : {1, 2, 3, 4}) {
        picture.processes.push_back(process(pid, "a", 1));
        picture.allotments.push_back({pid, pid < 4 ? "cache" : "batch", 4096, Limit::share});
        Snapshot& said = picture.processes.back().said;
        said.state = pid == 3 ? TieringState::untiered : TieringState::tiered;
        said.near_bytes = 100;
        said.policy.near_share = pid == 1 ? 0.8 : 0.2;
        said.policy.near_share_low = said.policy.near_share - (pid == 1 ? 0.04 : 0.09);
        said.policy.near_share_high = said.policy.near_share + 0.1;
        said.policy.touches_per_s = pid == 1 ? 3000 : 1000;
        said.policy.bank.balance_s = -pid;
    }
    const std::string out = metrics_text(picture);
    const std::string cache = R"({tenant="cache"} )", batch = R"({tenant="batch"} )";
    for (const std::string& line : {
             "processes" + cache + "2",
             "processes" + batch + "1",
             "near_bytes" + cache + "200",
             "near_hit_ratio" + cache + "0.65",        // (0.8 × 3 + 0.2) / 4
             "near_hit_ratio_low" + cache + "0.6125",  // by the root of 0.03² + 0.0225²
             "near_hit_ratio" + batch + "0.2",
             "bank_balance_seconds" + cache + "-3",
         }) {
        EXPECT_NE(out.find("\ncxlpool_tier_tenant_" + line + "\n"), std::string::npos)
            << line << " in " << out;
    }
}

TEST(Metrics, NobodyTieredIsSaidToo) {
    std::string out = metrics_text({});
    EXPECT_NE(out.find("cxlpool_tier_processes 0\n"), std::string::npos);
    EXPECT_EQ(out.find("near_bytes"), std::string::npos);
}

TEST(Metrics, TheFileIsReplacedAtOnce) {
    std::string folder = testing::TempDir() + "poold-metrics-" + std::to_string(getpid());
    std::filesystem::remove_all(folder);
    std::filesystem::create_directory(folder);
    std::string path = folder + "/pool.prom";
    std::ofstream(folder + "/.pool.prom.new") << "left by a killed one";
    ASSERT_TRUE(replace_file(path, "one\n"));
    std::ifstream open_before(path);
    ASSERT_TRUE(replace_file(path, "two\n"));
    std::string before, after;
    std::getline(open_before, before);
    std::ifstream now(path);
    std::getline(now, after);
    EXPECT_EQ(before, "one");
    EXPECT_EQ(after, "two");
    EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder), {}), 1);
    EXPECT_EQ(replace_file("/nowhere/x.prom", "x").error().sentence,
              "/nowhere/.x.prom.new cannot be written: No such file or directory");
    std::filesystem::create_directory(folder + "/dir.prom");
    EXPECT_FALSE(replace_file(folder + "/dir.prom", "x"));
    EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder), {}), 2);
    std::filesystem::remove_all(folder);
}

TEST(TiersOptions, BelongToTheDaemonAndToTiers) {
    auto refused = [](std::vector<std::string> words) {
        auto options = parse_options(words);
        return options ? "taken" : options.error().sentence;
    };
    EXPECT_EQ(refused({"tiers", "--once"}), "taken");
    EXPECT_EQ(refused({"--once", "tiers"}), "taken");
    EXPECT_EQ(refused({"--tenants", "f", "--metrics-file=x.prom"}), "taken");
    EXPECT_EQ(refused({"tiers"}),
              "tiers needs --metrics-file, --tenants or --once: else nothing is done");
    EXPECT_EQ(refused({"show", "--tenants", "f"}),
              "--metrics-file and --tenants belong to the daemon and to tiers");
    EXPECT_EQ(refused({"tiers", "--metrics-file", "x"}),
              "--metrics-file x: node_exporter reads only files called *.prom");
    EXPECT_EQ(refused({"tires"}),
              "unknown verb \"tires\", did you mean \"tiers\"?; see poold --help");
}
