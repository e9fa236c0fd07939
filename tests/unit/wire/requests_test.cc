// SPDX-License-Identifier: Apache-2.0
// Which call a request is, for both APIs, and what is said about those that are none.
#include <gtest/gtest.h>

#include "server/api.h"
#include "server/host_api.h"

namespace cxlpool {
namespace {

Routed<Call> api(const char* method, const char* target, const char* body = "") {
    return route_api({method, target, body});
}

template <class T>
const T& as(const Routed<Call>& call) {
    EXPECT_TRUE(call.has_value()) << call.error().error.message;
    return std::get<T>(*call);
}

TEST(Api, RoutesEveryCall) {
    as<ShowFabric>(api("GET", "/v1/fabric"));
    as<ListHosts>(api("GET", "/v1/hosts"));
    EXPECT_EQ(as<ShowHost>(api("GET", "/v1/hosts/h1")).name.text, "h1");
    as<ListGrants>(api("GET", "/v1/grants"));
    EXPECT_EQ(as<ShowGrant>(api("GET", "/v1/grants/g-1")).name.text, "g-1");
    const auto wait = as<WaitGrant>(api("GET", "/v1/grants/g1/wait?for=settled&timeout=7"));
    EXPECT_EQ(wait.name.text, "g1");
    EXPECT_EQ(wait.timeout_ms, 7000);
    const auto events = as<ListEvents>(api("GET", "/v1/events?after=3&wait=2&limit=5"));
    EXPECT_EQ(events.after, 3u);
    EXPECT_EQ(events.wait_ms, 2000);
    EXPECT_EQ(events.limit, 5u);
    EXPECT_TRUE(std::holds_alternative<DoctorScan>(as<Do>(api("GET", "/v1/doctor")).intent));
}

TEST(Api, RoutesIntents) {
    const auto create =
        as<Do>(api("POST", "/v1/grants", R"({"name":"g1","hosts":["h1"],"size":5,"use":"dax"})"));
    const auto& intent = std::get<CreateGrant>(create.intent);
    EXPECT_EQ(create.success, 201);
    EXPECT_EQ(intent.name, GrantName("g1"));
    EXPECT_EQ(intent.size, 5u);
    EXPECT_EQ(intent.use, Use::dax);
    EXPECT_EQ(intent.mode, Mode::real);
    const auto release = as<Do>(api("DELETE", "/v1/grants/g1?dry_run=1"));
    EXPECT_EQ(std::get<ReleaseGrant>(release.intent).mode, Mode::dry_run);
    EXPECT_EQ(release.success, 200);
    EXPECT_EQ(as<Do>(api("DELETE", "/v1/grants/g1")).success, 202);
    const auto fence = as<Do>(api("POST", "/v1/hosts/h1/fence?dry_run"));
    EXPECT_EQ(std::get<FenceHost>(fence.intent).mode, Mode::dry_run);
}

TEST(Api, AWishThatIsNotReadIsRefused) {
    for (const auto& [method, target] :
         {std::pair{"DELETE", "/v1/grants/g1"}, {"POST", "/v1/hosts/h1/fence"}}) {
        const auto call = api(method, target, R"({"dry_run": true})");
        ASSERT_FALSE(call.has_value());
        EXPECT_EQ(call.error().status, 400);
        EXPECT_EQ(call.error().error.message,
                  std::string(method) + " takes no body; what it knows is ?dry_run=1");
    }
}

struct BadRequest {
    const char* method;
    const char* target;
    int status;
    const char* sentence;
};

class BadCall : public testing::TestWithParam<BadRequest> {};

TEST_P(BadCall, SaysWhatIsWrong) {
    const bool posts = std::string(GetParam().method) == "POST";
    const auto call = api(GetParam().method, GetParam().target, posts ? "{}" : "");
    ASSERT_FALSE(call.has_value());
    EXPECT_EQ(call.error().status, GetParam().status);
    EXPECT_EQ(call.error().error.message, GetParam().sentence);
}

INSTANTIATE_TEST_SUITE_P(
    Api, BadCall,
    testing::Values(
        BadRequest{"GET", "/", 404, "there is no GET /; see docs/API.md"},
        BadRequest{"GET", "/v2/grants", 404, "there is no GET /v2/grants; see docs/API.md"},
        BadRequest{"GET", "/v1/report", 404, "there is no GET /v1/report; see docs/API.md"},
        BadRequest{"GET", "/v1/grants/g1/x", 404,
                   "there is no GET /v1/grants/g1/x; see docs/API.md"},
        BadRequest{"PUT", "/v1/grants", 405, "/v1/grants takes GET or POST, not PUT"},
        BadRequest{"POST", "/v1/grants/g1", 405, "/v1/grants/g1 takes GET or DELETE, not POST"},
        BadRequest{"GET", "/v1/hosts/h1/fence", 405, "/v1/hosts/h1/fence takes POST, not GET"},
        BadRequest{"DELETE", "/v1/doctor", 405, "/v1/doctor takes GET, not DELETE"},
        BadRequest{"POST", "/v1/grants", 400, "hosts is missing"},
        BadRequest{"GET", "/v1/grants?x=1", 400, "x is not a known parameter of this call"},
        BadRequest{"GET", "/v1/grants/g1/wait?timeout=61", 400,
                   "the parameter timeout is 61; the most is 60"},
        BadRequest{"GET", "/v1/grants/g1/wait?timeout=-1", 400,
                   "the parameter timeout is not a whole number of 0 or more"},
        BadRequest{"GET", "/v1/grants/g1/wait?for=ever", 400,
                   "the parameter for can only be settled"},
        BadRequest{"GET", "/v1/events?after=1&after=2", 400, "the parameter after is there twice"},
        BadRequest{"DELETE", "/v1/grants/g1?dry_run=maybe", 400,
                   "the parameter dry_run is neither 1 nor 0"}));

TEST(Api, NamesInPathsAreJudged) {
    for (const char* target : {"/v1/grants/G1", "/v1/grants/%2e%2e", "/v1/hosts/h_1"}) {
        const auto call = api("GET", target);
        ASSERT_FALSE(call.has_value()) << target;
        EXPECT_EQ(call.error().status, 400) << target;
    }
}

TEST(HostApi, RoutesItsTwoCallsAndNothingElse) {
    const HostName h1("h1");
    const auto desired = route_host(h1, {"GET", "/v1/desired?after=4&wait=30", ""});
    ASSERT_TRUE(desired.has_value());
    EXPECT_EQ(std::get<AskDesired>(*desired).after, 4u);
    EXPECT_EQ(std::get<AskDesired>(*desired).wait_ms, 30'000);
    EXPECT_EQ(route_host(h1, {"GET", "/v1/desired?wait=31", ""}).error().status, 400);
    EXPECT_EQ(route_host(h1, {"GET", "/v1/report", ""}).error().status, 405);
    EXPECT_EQ(route_host(h1, {"POST", "/v1/report", "{}"}).error().error.message,
              "boot is missing");
    for (const char* target :
         {"/v1/grants", "/v1/fabric", "/v1/hosts/h2/fence", "/", "/v1/desired/x"})
        EXPECT_EQ(route_host(h1, {"POST", target, ""}).error().status, 404) << target;
}

}  // namespace
}  // namespace cxlpool
