// SPDX-License-Identifier: Apache-2.0
// What one side writes the other reads as the same value, for every value; and nothing else is
// read.
#include "server/wire.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "core/describe.h"

namespace cxlpool::wire {
namespace {

using nlohmann::json;

// ---- arbitrary values ----

rc::Gen<std::string> gen_text() {  // any UTF-8, control characters included
    return rc::gen::map(
        rc::gen::container<std::vector<char32_t>>(
            rc::gen::weightedOneOf<char32_t>({{6, rc::gen::inRange<char32_t>(0, 0x80)},
                                              {1, rc::gen::inRange<char32_t>(0x80, 0xd800)},
                                              {1, rc::gen::inRange<char32_t>(0xe000, 0x110000)}})),
        [](const std::vector<char32_t>& points) {
            std::string out;
            for (const char32_t c : points) {
                const auto put = [&](unsigned long byte) { out += static_cast<char>(byte); };
                if (c < 0x80) {
                    put(c);
                } else if (c < 0x800) {
                    put(0xc0 | (c >> 6)), put(0x80 | (c & 0x3f));
                } else if (c < 0x10000) {
                    put(0xe0 | (c >> 12)), put(0x80 | ((c >> 6) & 0x3f)), put(0x80 | (c & 0x3f));
                } else {
                    put(0xf0 | (c >> 18)), put(0x80 | ((c >> 12) & 0x3f)),
                        put(0x80 | ((c >> 6) & 0x3f)), put(0x80 | (c & 0x3f));
                }
            }
            return out;
        });
}

std::string text() { return *gen_text(); }
std::string name() {
    return *rc::gen::nonEmpty(rc::gen::resize(
        20, rc::gen::container<std::string>(rc::gen::elementOf(std::string("abz059-")))));
}
std::uint64_t number() { return *rc::gen::arbitrary<std::uint64_t>(); }
bool coin() { return *rc::gen::arbitrary<bool>(); }
int small(int below) { return *rc::gen::inRange(0, below); }
double real() { return *rc::gen::inRange(-1'000'000, 1'000'000) / 64.0; }
Range range() {
    const std::uint64_t dpa = number() / 2;
    return {dpa, number() / 2};
}
Use use() { return coin() ? Use::ram : Use::dax; }

template <class Make>
auto list(Make make) {
    std::vector<decltype(make())> out;
    for (int i = small(4); i > 0; --i) out.push_back(make());
    return out;
}

template <class Make>
auto maybe(Make make) {
    return coin() ? std::optional<decltype(make())>(make()) : std::nullopt;
}

HostName host() { return HostName(name()); }
Extent extent() { return {DeviceName(name()), range()}; }

HostReport report() {
    HostReport out;
    out.host = HostName("h1");
    out.boot = name();
    out.driver = text();
    out.seq = number();
    out.memory_block = number();
    out.driver_state = text();
    out.driver_error = text();
    out.online_policy = text();
    out.poold_version = text();
    out.pressure_some_avg10 = real();
    out.devices = list([] {
        ReportedDevice device;
        device.serial = number();
        device.region_base = number();
        device.region_len = number();
        device.hpa = number();
        device.state = text();
        device.extents = list([] {
            ReportedExtent e;
            e.range = range();
            e.state = text();
            e.use = maybe(use);
            e.node = maybe([] { return small(1024); });
            e.dax = text();
            if (e.dax == "-") e.dax.clear();  // the driver's sign for none
            e.error = text();
            e.used = maybe(number);
            e.held = list([] {
                return ReportedExtent::Holder{*rc::gen::arbitrary<std::int64_t>(), text(),
                                              number()};
            });
            e.held_kernel = number();
            return e;
        });
        return device;
    });
    out.nodes = list([] { return ReportedNode{small(1024), number(), number()}; });
    return out;
}

GrantView grant() {
    GrantView out;
    out.id.value = number();
    out.name = GrantName(name());
    out.hosts = list(host);
    out.use = use();
    out.size = number();
    out.state = static_cast<GrantState>(small(9));
    out.reason = text();
    out.waits_for = text();
    out.extents = list(extent);
    out.seen = list([] { return SeenOn{host(), list([] { return small(64); }), list(text)}; });
    out.timeline = list([] {
        return TimelineEntry{text(), *rc::gen::arbitrary<std::int64_t>(), real()};
    });
    out.latency_ms = maybe(real);
    return out;
}

HostView host_view() {
    HostView out;
    out.name = host();
    out.state = static_cast<HostState>(small(5));
    out.state_text = text();
    out.granted = number();
    out.used = maybe(number);
    out.pressure = maybe(real);
    out.memory_block = maybe(number);
    out.last_seen_ms = maybe([] { return *rc::gen::arbitrary<std::int64_t>(); });
    out.boot = text();
    out.driver = text();
    return out;
}

// ---- what one side writes, the other reads ----

template <class T, class Make>
void round_trip(const char* what, Make make, Result<T> (*decode)(std::string_view)) {
    EXPECT_TRUE(rc::check(what, [&] {
        const std::string written = encode(make());
        const auto read = decode(written);
        RC_ASSERT(read.has_value());
        RC_ASSERT(encode(*read) == written);
    }));
}

TEST(WireProperty, AnswersComeBackAsTheyWere) {
    round_trip("a grant", grant, decode_grant);
    round_trip(
        "grants", [] { return list(grant); }, decode_grants);
    round_trip("a host", host_view, decode_host);
    round_trip(
        "hosts", [] { return list(host_view); }, decode_hosts);
    round_trip(
        "a fabric",
        [] {
            return FabricInfo{text(),
                              text(),
                              {list([] {
                                   return DeviceView{DeviceName(name()), number(),   number(),
                                                     number(),           number(),   number(),
                                                     number(),           list(host), text()};
                               }),
                               list(host)}};
        },
        decode_fabric);
    round_trip(
        "a plan",
        [] {
            return Plan{GrantName(name()), list(extent), list(text)};
        },
        decode_plan);
    round_trip(
        "a doctor",
        [] {
            return DoctorView{coin(), list([] {
                                  return DoctorRow{extent(), text(), text(), text(), text(),
                                                   text(),   text(), coin(), text()};
                              })};
        },
        decode_doctor);
    round_trip(
        "events",
        [] {
            return list([] {
                // Years 1970 to 5000: what four digits of a year can say.
                const auto time = static_cast<std::int64_t>(number() % 95'000'000'000'000'000u);
                return EventView{number(), time, text(), text(), text(), text()};
            });
        },
        decode_events);
    round_trip(
        "a desired list",
        [] {
            return Desired{
                number(), list([] {
                    return DesiredExtent{number(), range(), GrantName(name()), use(), coin()};
                })};
        },
        decode_desired);
}

TEST(WireProperty, ReportComesBackEqual) {
    EXPECT_TRUE(rc::check([] {
        const HostReport sent = report();
        const auto read = decode_report(HostName("h1"), encode(sent));
        RC_ASSERT(read.has_value());
        RC_ASSERT(read->report == sent);
    }));
}

TEST(WireProperty, CreateComesBackEqual) {
    EXPECT_TRUE(rc::check([] {
        CreateGrant sent;
        if (coin()) sent.name = GrantName(name());
        sent.hosts = list(host);
        sent.size = number();
        sent.use = use();
        sent.mode = coin() ? Mode::dry_run : Mode::real;
        const auto read = decode_create(encode(sent));
        RC_ASSERT(read.has_value());
        RC_ASSERT(encode(*read) == encode(sent));
    }));
}

TEST(Wire, ErrorKeepsItsCodeAndSentence) {
    const Error sent{Code::no_space, "h1 wants 2 GiB; 1 GiB is free"};
    EXPECT_EQ(decode_error(encode(sent)), sent);
}

// ---- what is not ours is refused, with the key that is wrong ----

// Every node of the document below `at`, as JSON pointers.
void pointers(const json& at, const json::json_pointer& here,
              std::vector<json::json_pointer>& out) {
    out.push_back(here);
    if (at.is_object())
        for (const auto& [key, value] : at.items()) pointers(value, here / key, out);
    if (at.is_array())
        for (std::size_t i = 0; i < at.size(); ++i) pointers(at[i], here / i, out);
}

TEST(WireProperty, DamagedReportIsRefusedWithASentence) {
    EXPECT_TRUE(rc::check([] {
        json document = json::parse(encode(report()));
        std::vector<json::json_pointer> all;
        pointers(document, json::json_pointer(), all);
        json& victim = document[*rc::gen::elementOf(all)];
        // Something of a type that is right nowhere, or a key that nobody knows.
        if (victim.is_object() && coin())
            victim["no-such-key"] = 1;
        else
            victim = victim.is_boolean() ? json("x") : json(true);
        const auto read = decode_report(HostName("h1"), document.dump());
        RC_ASSERT(!read.has_value());
        RC_ASSERT(read.error().code == Code::invalid);
        RC_ASSERT(!read.error().message.empty());
    }));
}

TEST(WireProperty, AnyBytesAreReadOrRefusedNeverWorse) {
    EXPECT_TRUE(rc::check([](const std::string& bytes) {
        RC_ASSERT(!decode_report(HostName("h1"), bytes).has_value());
        RC_ASSERT(!decode_create(bytes).has_value());
    }));
}

TEST(WireProperty, TruncatedRequestIsMalformed) {
    EXPECT_TRUE(rc::check([] {
        const std::string whole = encode(report());
        const auto cut = static_cast<std::size_t>(small(static_cast<int>(whole.size())));
        RC_ASSERT(!decode_report(HostName("h1"), whole.substr(0, cut)).has_value());
    }));
}

struct Bad {
    const char* body;
    const char* sentence;
};

class BadCreate : public testing::TestWithParam<Bad> {};

TEST_P(BadCreate, SaysWhatIsWrong) {
    const auto read = decode_create(GetParam().body);
    ASSERT_FALSE(read.has_value());
    EXPECT_EQ(read.error().message, GetParam().sentence);
    EXPECT_EQ(read.error().code, Code::invalid);
}

INSTANTIATE_TEST_SUITE_P(
    Wire, BadCreate,
    testing::Values(
        Bad{"", "the body is empty; a JSON object is expected"},
        Bad{"{", "malformed JSON near byte 2"},
        Bad{R"({"hosts":["h1"],"size":1}x)", "malformed JSON near byte 26"},
        Bad{"\"\xff\"", "malformed JSON near byte 2"}, Bad{"[]", "the text is not a JSON object"},
        Bad{"7", "the text is not a JSON object"}, Bad{R"({"size":1})", "hosts is missing"},
        Bad{R"({"hosts":["h1"]})", "size is missing"},
        Bad{R"({"hosts":"h1","size":1})", "hosts is not an array"},
        Bad{R"({"hosts":["h1",2],"size":1})", "hosts[1] is not a string"},
        Bad{R"({"hosts":["h1"],"size":-1})", "size is not a whole number of 0 or more"},
        Bad{R"({"hosts":["h1"],"size":1.5})", "size is not a whole number of 0 or more"},
        Bad{R"({"hosts":["h1"],"size":"1"})", "size is not a whole number of 0 or more"},
        Bad{R"({"hosts":["h1"],"size":18446744073709551616})",
            "size is not a whole number of 0 or more"},
        Bad{R"({"hosts":["h1"],"size":1,"colour":"red"})", "colour is not a known key"},
        Bad{R"({"hosts":["h1"],"size":1,"size":2})", "size is there twice"},
        Bad{R"({"hosts":["h1"],"size":1,"dry_run":"yes"})", "dry_run is not true or false"},
        Bad{"[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]", "the JSON nests deeper than 16 levels"}));

TEST(Wire, BadNamesNameTheirKey) {
    const auto host = decode_create(R"({"hosts":["h1","H 2"],"size":1})");
    ASSERT_FALSE(host.has_value());
    EXPECT_TRUE(host.error().message.starts_with("hosts[1] is wrong: ")) << host.error().message;
    const auto grant = decode_create(R"({"hosts":["h1"],"size":1,"name":"../g"})");
    ASSERT_FALSE(grant.has_value());
    EXPECT_TRUE(grant.error().message.starts_with("name is wrong: ")) << grant.error().message;
}

TEST(Wire, RangeThatWrapsIsRefused) {
    HostReport bad;
    bad.boot = "b";
    bad.devices = {{1, 0, 0, 0, {{}}}};
    bad.devices[0].extents[0].range = {UINT64_MAX, 2};
    const auto read = decode_report(HostName("h1"), encode(bad));
    ASSERT_FALSE(read.has_value());
    EXPECT_EQ(read.error().message, "devices[0].extents[0].len ends beyond 16 EiB");
}

TEST(Wire, NameInAReportIsNotBelieved) {
    HostReport honest;
    honest.boot = "b";
    json message = json::parse(encode(honest));
    message["host"] = "h2";
    const auto read = decode_report(HostName("h1"), message.dump());
    ASSERT_TRUE(read.has_value());
    EXPECT_EQ(read->report.host, HostName("h1"));
    EXPECT_EQ(read->claimed_host, "h2");
}

TEST(Wire, AnswerOfANewerFmdIsStillRead) {
    json message = json::parse(encode(Plan{GrantName("g1"), {}, {"step"}}));
    message["new"] = {1, 2};
    EXPECT_TRUE(decode_plan(message.dump()).has_value());
}

TEST(Wire, PrettyIsAsciiWhateverCameIn) {
    const std::string text = pretty(encode(Error{Code::invalid, "h\x1b[2J \xff \xc2\x9b é"}));
    for (const char c : text) EXPECT_TRUE(c == '\n' || (c >= ' ' && c < 0x7f)) << text;
}

}  // namespace
}  // namespace cxlpool::wire
