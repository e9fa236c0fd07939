// SPDX-License-Identifier: Apache-2.0
// The words of the control socket, both ways, and what comes of words that are none.
#include "tier/control_json.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

using namespace libpool;
using namespace libpool::tier;

namespace {

Snapshot full() {
    Snapshot s;
    s.pid = 7;
    s.target = 8;
    s.program = "a \"quoted\"\n\xff name";
    s.tenant = "t";
    s.state = TieringState::tiered;
    s.sentence = "says";
    s.uptime_s = 1.5;
    s.sampler = "rwp";
    s.refused = {{"damon", "needs root"}, {"wp", "no"}};
    s.near_nodes = {0, 2};
    s.far_nodes = {1};
    s.tracked_bytes = UINT64_MAX;
    s.failures = {{16, 3}};
    s.numa_balancing = 2;
    s.policy.bank.balance_s = -0.25;
    s.policy.busy = true;
    s.policy.boundary_rate = INFINITY;
    s.ranges = 1;
    return s;
}

std::string refused_request(const char* request) {
    auto decoded = decode_request(request);
    return decoded ? "taken" : decoded.error().sentence;
}

}  // namespace

TEST(ControlJson, ASnapshotComesBackAsItWas) {
    auto back = decode_snapshot(encode_answer(full()));
    ASSERT_TRUE(back) << back.error().sentence;
    EXPECT_EQ(back->pid, 7);
    EXPECT_EQ(back->target, 8);
    EXPECT_EQ(back->program, "a \"quoted\"\n\xef\xbf\xbd name");  // ill-formed bytes are replaced
    EXPECT_EQ(back->state, TieringState::tiered);
    EXPECT_EQ(back->refused.size(), 2u);
    EXPECT_EQ(back->refused[1].why, "no");
    EXPECT_EQ(back->near_nodes, (std::vector{0, 2}));
    EXPECT_EQ(back->tracked_bytes, UINT64_MAX);
    EXPECT_EQ(back->near_limit_bytes, UINT64_MAX);
    EXPECT_EQ(back->failures[0].code, 16);
    EXPECT_EQ(back->numa_balancing, 2);
    EXPECT_DOUBLE_EQ(back->policy.bank.balance_s, -0.25);
    EXPECT_TRUE(back->policy.busy);
    EXPECT_TRUE(std::isnan(back->policy.boundary_rate));  // JSON has no infinity
    EXPECT_EQ(back->ranges, 1u);
    EXPECT_EQ(encode_answer(*back).find('\n'), std::string::npos);
}

TEST(ControlJson, PagesAndBenefitAndExplanation) {
    PageSlice slice{10,
                    3,
                    {0, 1234.5f, 0.001f, NAN},
                    {Place::near, Place::far, Place::nowhere, Place::near},
                    {{3, 0x10000000, 4}}};
    auto back = decode_slice(encode_answer(slice));
    ASSERT_TRUE(back);
    EXPECT_EQ(back->places, slice.places);
    ASSERT_EQ(back->ranges.size(), 1u);
    EXPECT_EQ(back->ranges[0].start, 0x10000000u);
    EXPECT_NEAR(back->rates[1], 1234.5, 5);
    EXPECT_NEAR(back->rates[2], 0.001, 1e-6);
    EXPECT_EQ(back->rates[3], 0);
    auto steps = decode_benefit(encode_answer(std::vector<BenefitStep>{{5, 2.5}, {1, 1}}));
    ASSERT_TRUE(steps);
    EXPECT_EQ(steps->at(0).pages, 5u);
    PageAnswer answer;
    answer.node = -2;
    answer.explanation.place = Place::far;
    answer.explanation.hint = Hint::pinned_near;
    auto told = decode_page_answer(encode_answer(answer));
    ASSERT_TRUE(told);
    EXPECT_EQ(told->node, -2);
    EXPECT_EQ(told->explanation.place, Place::far);
    EXPECT_EQ(told->explanation.hint, Hint::pinned_near);
}

TEST(ControlJson, RequestsComeBackAsTheyWere) {
    for (const Request& request :
         {Request(AskStatus{}), Request(AskBenefit{}), Request(AskExplain{UINT64_MAX}),
          Request(AskPages{5, 100, Detail::rates_and_places}),
          Request(AskSet{{.near_limit_bytes = 5,
          .allotted_bytes = {},
          .cpu_share = 0.02,
          .move_limit_bytes_per_s = {},
          .leaving_nodes = std::vector<int>{2, 5}}})}) {
        auto back = decode_request(encode_request(request));
        ASSERT_TRUE(back) << encode_request(request) << back.error().sentence;
        EXPECT_EQ(encode_request(*back), encode_request(request));
    }
}

TEST(ControlJson, RequestsThatAreNone) {
    EXPECT_EQ(refused_request(""), "the request is no JSON object");
    EXPECT_EQ(refused_request("[1]"), "the request is no JSON object");
    EXPECT_EQ(refused_request("{}"), "the request does not say what to do");
    EXPECT_EQ(refused_request("{\"do\":1}"), "the request does not say what to do");
    EXPECT_EQ(refused_request("{\"do\":\"stop\"}"),
              "the request asks for something that is not known here");
    EXPECT_EQ(refused_request("{\"do\":\"status\",\"x\":1}"),
              "the request has a member that is not known here");
    EXPECT_EQ(refused_request("{\"do\":\"explain\"}"), "explain needs an address");
    EXPECT_EQ(refused_request("{\"do\":\"explain\",\"address\":-1}"),
              "\"address\" is not of the form that was expected");
    EXPECT_EQ(refused_request("{\"do\":\"pages\",\"first\":0,\"pages\":0}"),
              "pages takes 1 to 32768 of them");
    EXPECT_EQ(refused_request("{\"do\":\"pages\",\"first\":0,\"pages\":40000}"),
              "pages takes 1 to 32768 of them");
    EXPECT_EQ(refused_request("{\"do\":\"set\"}"), "set names nothing to set");
    EXPECT_EQ(refused_request("{\"do\":\"set\",\"cpu_share\":9}"),
              "cpu_share 9 is not within 0.0001 and 0.5");
    EXPECT_EQ(refused_request("{\"do\":\"set\",\"cpu_share\":null}"),
              "cpu_share nan is not within 0.0001 and 0.5");
    EXPECT_NE(refused_request("{\"do\":\"set\",\"leaving_nodes\":2}"), "taken");
    EXPECT_NE(refused_request("{\"do\":\"set\",\"leaving_nodes\":[\"2\"]}"), "taken");
}

TEST(ControlJson, AnswersThatAreNone) {
    EXPECT_EQ(decode_done("x").error().sentence, "the answer is no JSON object");
    EXPECT_EQ(decode_done("{}").error().sentence, "the answer holds neither ok nor error");
    auto refusal = decode_snapshot(encode_refusal({EACCES, "only root"}));
    EXPECT_EQ(refusal.error().code, EACCES);
    EXPECT_EQ(refusal.error().sentence, "only root");
    EXPECT_EQ(decode_done("{\"error\":\"x\",\"code\":-1}").error().code, EPROTO);
    EXPECT_FALSE(decode_snapshot("{\"ok\":[]}"));
    EXPECT_FALSE(decode_snapshot("{\"ok\":{\"pid\":99999999999}}"));
    EXPECT_FALSE(decode_snapshot("{\"ok\":{\"policy\":7}}"));
    EXPECT_FALSE(decode_snapshot("{\"ok\":{\"state\":\"odd\"}}"));
    EXPECT_FALSE(decode_slice("{\"ok\":{\"rates\":[1],\"places\":\"nn\"}}"));
}

// Four megabytes of brackets took the parser more than a hundred times as much.
TEST(ControlJson, WhatIsNestedTooDeepIsNotParsed) {
    const std::string deep(100'000, '[');
    EXPECT_EQ(decode_snapshot(deep).error().sentence, "the answer is nested deeper than 8 levels");
    EXPECT_EQ(decode_slice("{\"ok\":{\"rates\":" + deep).error().code, EPROTO);
    EXPECT_EQ(refused_request(deep.c_str()), "the request is nested deeper than 8 levels");
    EXPECT_EQ(refused_request("{\"x\":[[[[[[[[]]]]]]]]}"),
              "the request is nested deeper than 8 levels");
    EXPECT_EQ(refused_request("{\"x\":[[[[[[[]]]]]]]}"), "the request does not say what to do");
    // Brackets that are words, or that have been closed, are none.
    Snapshot said = full();
    said.sentence = "\"[[[[[[[[[[\\\"{{{{{{{{{{\\";
    auto back = decode_snapshot(encode_answer(said));
    ASSERT_TRUE(back) << back.error().sentence;
    EXPECT_EQ(back->sentence, said.sentence);
    said.failures.assign(100, {5, 1});
    EXPECT_TRUE(decode_snapshot(encode_answer(said)));
}

// Well-formed lines with bytes changed, cut and doubled.
TEST(ControlJson, AnyLineIsAnswered) {
    const std::vector<std::string> lines = {
        encode_answer(full()),
        encode_request(AskSet{{.near_limit_bytes = 5,
                               .allotted_bytes = {},
                               .cpu_share = {},
                               .move_limit_bytes_per_s = {},
                               .leaving_nodes = std::vector<int>{2}}}),
        encode_request(AskPages{1, 2}), encode_answer(PageAnswer{}),
        encode_answer(PageSlice{2, 0, {1, 2}, {Place::near, Place::far}, {{0, 4096, 2}}})};
    std::mt19937_64 random(3);
    int requests = 0, snapshots = 0;
    for (int i = 0; i < 8000; ++i) {
        std::string line = lines[random() % lines.size()];
        for (size_t n = random() % 3; n > 0; --n) {
            size_t at = random() % line.size();
            switch (random() % 3) {
                case 0:
                    line[at] = char(random());
                    break;
                case 1:
                    line.erase(at, 1 + random() % 8);
                    break;
                default:
                    line.insert(at, line.substr(random() % line.size(), random() % 8));
            }
            if (line.empty()) line = "{";
        }
        requests += decode_request(line).has_value();
        if (auto snapshot = decode_snapshot(line)) {
            ++snapshots;
            (void)encode_answer(*snapshot);
        }
        (void)decode_page_answer(line);
        (void)decode_slice(line);
        (void)decode_benefit(line);
    }
    EXPECT_GT(requests, 200);
    EXPECT_GT(snapshots, 200);
}
