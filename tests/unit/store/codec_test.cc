// SPDX-License-Identifier: Apache-2.0
#include "store/codec.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <nlohmann/json.hpp>

#include "record_gen.h"

namespace cxlpool {
namespace {

std::string refusal(const std::string& text, std::uint64_t seq = 17) {
    const auto record = decode(Seq{seq}, text);
    return record ? "accepted" : record.error().message;
}

TEST(Codec, EveryRecordOfEveryKindSurvivesTheDisk) {
    for (std::size_t kind = 0; kind < std::variant_size_v<RecordBody>; ++kind) {
        const bool ok = rc::check("record -> text -> record", [kind] {
            const Record record{Seq{*gen_number()}, *rc::gen::arbitrary<std::int64_t>(),
                                any_body(kind)};
            RC_ASSERT(record.body.index() == kind);
            const auto again = decode(record.seq, encode(record));
            RC_ASSERT(again.has_value());
            RC_ASSERT(*again == record);
        });
        EXPECT_TRUE(ok) << "kind " << kind;
    }
}

// What is on disks today must be readable tomorrow: these texts never change.
TEST(Codec, TheTextOnDiskIsAsDocumented) {
    const Record offer{Seq{17}, 1795334400000000,
                       OfferStarted{GrantId{4}, HostName("h1"), DeviceName("mem0")}};
    EXPECT_EQ(encode(offer),
              R"({"seq":17,"time_us":1795334400000000,"kind":"offer-started","id":4,"host":"h1",)"
              R"("device":"mem0"})");
    const Record grant{Seq{1}, 2,
                       GrantCreated{GrantId{3},
                                    GrantName("g1"),
                                    {HostName("h1"), HostName("h2")},
                                    Use::dax,
                                    {{DeviceName("mem0"), {4096, 8192}}}}};
    EXPECT_EQ(
        encode(grant),
        R"({"seq":1,"time_us":2,"kind":"grant-created","id":3,"name":"g1","hosts":["h1","h2"],)"
        R"("use":"dax","extents":[{"device":"mem0","dpa":4096,"length":8192}]})");
}

// Drops, renames and retypes each key of each kind in turn, at every depth: never accepted.
void break_each_key(const nlohmann::json& node,
                    const std::function<void(nlohmann::json)>& rebuilt) {
    if (node.is_object()) {
        for (const auto& [key, value] : node.items()) {
            nlohmann::json without = node;
            without.erase(key);
            rebuilt(without);
            without[key + "x"] = value;
            rebuilt(without);
            nlohmann::json surplus = node;
            surplus["surplus"] = 1;
            rebuilt(surplus);
            nlohmann::json retyped = node;
            retyped[key] = value.is_string() ? nlohmann::json(1) : nlohmann::json("1");
            rebuilt(retyped);
            retyped[key] = nullptr;
            rebuilt(retyped);
            break_each_key(value, [&](nlohmann::json inner) {
                nlohmann::json outer = node;
                outer[key] = std::move(inner);
                rebuilt(std::move(outer));
            });
        }
    } else if (node.is_array()) {
        for (std::size_t i = 0; i < node.size(); ++i) {
            break_each_key(node[i], [&](nlohmann::json inner) {
                nlohmann::json outer = node;
                outer[i] = std::move(inner);
                rebuilt(std::move(outer));
            });
        }
    }
}

TEST(Codec, NothingButWhatWasWrittenIsRead) {
    const Extent extent{DeviceName("mem0"), {4096, 8192}};
    const HostName host("h1");
    std::vector<RecordBody> bodies = {
        DeviceAdopted{DeviceName("mem0"), 1, 2, 3, "inode 5"},
        HostSeen{host, "1:2"},
        GrantCreated{GrantId{3}, GrantName("g1"), {host}, Use::dax, {extent}},
        OfferStarted{GrantId{3}, host, DeviceName("mem0")},
        GrantFailed{GrantId{3}, "why"},
        ScrubDone{extent, 8192}};
    int broken = 0;
    for (const RecordBody& body : bodies) {
        const std::string text = encode({Seq{17}, 5, body});
        ASSERT_TRUE(decode(Seq{17}, text)) << text;
        break_each_key(nlohmann::json::parse(text), [&](const nlohmann::json& bad) {
            ++broken;
            const std::string why = refusal(bad.dump());
            EXPECT_NE(why, "accepted") << bad;
            EXPECT_TRUE(why.starts_with("record 17 of the journal cannot be read: ")) << why;
        });
    }
    EXPECT_GT(broken, 100);
}

TEST(Codec, SaysWhatIsWrongAndWhere) {
    const std::string start = "record 17 of the journal cannot be read: ";
    EXPECT_EQ(refusal("{"), start + "it is not JSON");
    EXPECT_EQ(refusal("[]"), start + "the text is not a JSON object");
    EXPECT_EQ(refusal(R"({"seq":18,"time_us":1,"kind":"grant-gone","id":1})"),
              start + "it says that it is record 18");
    EXPECT_EQ(refusal(R"({"seq":17,"time_us":1,"kind":"grant-lost","id":1})"),
              start + "its kind 'grant-lost' is not known to this version");
    EXPECT_EQ(refusal(R"({"seq":17,"time_us":1,"kind":"grant-gone","id":-1})"),
              start + "id is not a whole number of 0 or more");
    EXPECT_EQ(refusal(R"({"seq":17,"time_us":1,"kind":"grant-gone","id":1,"note":""})"),
              start + "note is not a known key");
    EXPECT_EQ(refusal(R"({"seq":17,"time_us":1,"kind":"scrub-started",)"
                      R"("extent":{"device":"mem0","dpa":18446744073709551615,"length":2}})"),
              start + "extent.length reaches past 2^64");
    EXPECT_EQ(refusal(R"({"seq":17,"time_us":18446744073709551615,"kind":"grant-gone","id":1})"),
              start + "time_us is not a whole number");
}

TEST(Codec, BytesThatAreNotUtf8AreReplacedNotFatal) {
    const Record record{Seq{1}, 0, GrantFailed{GrantId{1}, "odd \xff byte"}};
    const auto again = decode(Seq{1}, encode(record));
    ASSERT_TRUE(again);
    EXPECT_EQ(std::get<GrantFailed>(again->body).reason, "odd \xef\xbf\xbd byte");
}

}  // namespace
}  // namespace cxlpool
