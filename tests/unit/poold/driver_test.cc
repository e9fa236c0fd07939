// SPDX-License-Identifier: Apache-2.0
// Reading what the kernel shows: recorded trees, and trees with rubbish in them.
#include "poold/driver.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <random>

#include "fake_tree.h"
#include "poold/report.h"

namespace poold {
namespace {

TEST(Extents, EachFieldIsTakenFromItsPlace) {
    std::string problem;
    auto extents = parse_extents(
        "0 268435456 plugged plugged ram dax0.0 1 -\n"
        "268435456 134217728 accepted - - - - 00112233445566778899aabbccddeeff \n"
        "402653184 2097152 plugged unplugged dax dax1.0 - - open by somebody: try later\n",
        problem);
    ASSERT_EQ(extents.size(), 3u);
    EXPECT_EQ(problem, "");
    EXPECT_EQ(extents[0], (Extent{0, 268435456, ExtentState::plugged, "plugged", Use::ram, "dax0.0",
                                  1, "", ""}));
    EXPECT_EQ(extents[1], (Extent{268435456, 134217728, ExtentState::accepted, "", std::nullopt, "",
                                  std::nullopt, "00112233445566778899aabbccddeeff", ""}));
    EXPECT_EQ(extents[2].want, "unplugged");
    EXPECT_EQ(extents[2].error, "open by somebody: try later");
}

TEST(Extents, ALineWithoutATagGoesOnWithTheError) {
    std::string problem;
    auto extents = parse_extents(
        "0 4096 plugged plugged ram dax0.0 1\n"
        "4096 4096 plugged plugged ram dax1.0 1 dead pages: trying again\n",
        problem);
    ASSERT_EQ(extents.size(), 2u);
    EXPECT_EQ(extents[0].error, "");
    EXPECT_EQ(extents[1].error, "dead pages: trying again");
    EXPECT_EQ(extents[1].tag, "");
}

TEST(Extents, ALineThatMakesNoSenseIsNamedAndTheOthersStay) {
    for (const char* bad :
         {"rubbish", "1 2 3", "0 0 accepted - - - - -", "-1 4096 accepted - - - - -",
          "0 4096 flying - - - - -", "0 4096 accepted maybe - - - -",
          "0 4096 accepted - disk - - -", "0 4096 accepted - - ../../x - -",
          "0 4096 accepted - - - 99999 -", "18446744073709551615 4096 accepted - - - - -",
          "0x 4096 accepted - - - - -"}) {
        std::string problem;
        auto extents =
            parse_extents(std::string(bad) + "\n4096 4096 accepted - - - - -\n", problem);
        EXPECT_EQ(extents.size(), 1u) << bad;
        EXPECT_NE(problem.find("cannot be understood"), std::string::npos) << bad;
    }
}

TEST(Extents, AnyBytesAtAll) {
    std::mt19937 random(20261122);
    const std::string alphabet = "0123456789 \n-abcdefplugged\t\xff\x01";
    for (int round = 0; round < 2000; ++round) {
        std::string content;
        for (size_t i = random() % 300; i > 0; --i) content += alphabet[random() % alphabet.size()];
        std::string problem;
        for (const Extent& extent : parse_extents(content, problem)) {
            EXPECT_GT(extent.len, 0u);
            EXPECT_GE(extent.dpa + extent.len, extent.dpa);
        }
        EXPECT_LT(problem.size(), 1200u);
    }
}

TEST(Extents, MoreThanTheLimitAreCutAndSaid) {
    std::string content;
    for (size_t i = 0; i < extent_limit + 5; ++i) {
        content += std::to_string(i * 4096) + " 4096 accepted - - - - -\n";
    }
    std::string problem;
    EXPECT_EQ(parse_extents(content, problem).size(), extent_limit);
    EXPECT_NE(problem.find("more than"), std::string::npos);
}

TEST(Extents, ATextThatWentAwayIsReadAgain) {
    int reads = 0;
    auto content = read_extents([&]() -> Result<std::string> {
        if (++reads < extents_tries) return fail(ESTALE, "stale");
        return "0 4096 accepted - - - -";
    });
    EXPECT_TRUE(content);
    EXPECT_EQ(reads, extents_tries);
    reads = 0;
    EXPECT_EQ(read_extents([&] {
                  ++reads;
                  return fail(ESTALE, "stale");
              })
                  .error()
                  .code,
              ESTALE);
    EXPECT_EQ(reads, extents_tries);
    reads = 0;
    EXPECT_EQ(read_extents([&] {
                  ++reads;
                  return fail(EIO, "no");
              })
                  .error()
                  .code,
              EIO);
    EXPECT_EQ(reads, 1);
}

// An unreadable list was once reported as an empty one: to fmd, all of it was unplugged.
TEST(Devices, ExtentsThatCannotBeReadAreNotReportedAsNone) {
    FakeTree fake;
    fake.add_host();
    fake.add_pooled();
    const std::string extents = FakeTree::device_folder() + "/dcd/extents";
    fake.remove(extents);
    fake.set(extents + "/a-folder", "");  // EISDIR
    Seen seen = look(fake.tree());
    EXPECT_EQ(seen.devices.at(0).state, "broken");
    EXPECT_NE(summarize(seen.devices).error.find("dcd/extents: Is a directory"), std::string::npos)
        << summarize(seen.devices).error;
    auto report = nlohmann::json::parse(report_json(seen, {}, 1));
    EXPECT_EQ(report["driver_state"], "broken");
    EXPECT_EQ(report["driver"], "00c0ffee00c0ffee");
    EXPECT_TRUE(report["devices"].empty());
}

TEST(Devices, OursIsReadWholeAndOthersByName) {
    FakeTree fake;
    fake.add_pooled("0000:0d:00.0", "0 268435456 accepted - - - - -\n");
    fake.add_function("0000:0e:00.0", "cxl_pci");
    fake.add_function("0000:0f:00.0", "");
    fake.set("/sys/bus/pci/devices/0000:00:00.0/class", "0x060000\n");
    auto devices = read_devices(fake.tree());
    ASSERT_EQ(devices.size(), 3u);
    const Device& ours = devices[0];
    EXPECT_EQ(ours.state, "ready");
    EXPECT_EQ(ours.serial, 1u);
    EXPECT_EQ(ours.region_len, 1073741824u);
    EXPECT_EQ(ours.dc_block, 2097152u);
    EXPECT_EQ(ours.window, (Window{4563402752, 4294967296, 1}));
    EXPECT_EQ(ours.problem, "");
    EXPECT_EQ(ours.extents.size(), 1u);
    EXPECT_EQ(devices[1].driver, "cxl_pci");
    EXPECT_EQ(devices[2].driver, "");
    EXPECT_EQ(summarize(devices).state, "ready");
    EXPECT_EQ(summarize(devices).instances, "00c0ffee00c0ffee");
}

TEST(Devices, ARegionThatDoesNotBeginAtZeroIsMappedFromItsBase) {
    Device device;
    device.region_base = 1 << 30;
    device.region_len = 1 << 30;
    device.window = Window{8ull << 30, 4ull << 30, 1};
    EXPECT_EQ(device.hpa_of(1 << 30), 8ull << 30);
    EXPECT_EQ(device.hpa_of((1 << 30) + 4096), (8ull << 30) + 4096);
    EXPECT_EQ(device.hpa_of(0), std::nullopt);
    EXPECT_EQ(device.hpa_of(2ull << 30), std::nullopt);
}

TEST(Devices, OneBrokenDeviceDoesNotHideTheOther) {
    FakeTree fake;
    fake.add_pooled("0000:0d:00.0");
    fake.add_pooled("0000:0e:00.0");
    const std::string dcd = FakeTree::device_folder("0000:0e:00.0") + "/dcd";
    fake.set(dcd + "/state", "broken\n");
    fake.set(dcd + "/error", "mailbox does not answer\n");
    fake.remove(dcd + "/region");
    DriverSummary summary = summarize(read_devices(fake.tree()));
    EXPECT_EQ(summary.state, "ready");
    EXPECT_EQ(summary.error, "0000:0e:00.0: mailbox does not answer");
}

TEST(Devices, RubbishInEachFileIsAProblemOfThatDevice) {
    for (const char* name : {"state", "serial", "region", "extents"}) {
        FakeTree fake;
        fake.add_pooled();
        fake.set(FakeTree::device_folder() + "/dcd/" + name, "\x7f\xff garbage -- 12\n");
        auto devices = read_devices(fake.tree());
        ASSERT_EQ(devices.size(), 1u);
        DriverSummary summary = summarize(devices);
        EXPECT_NE(summary.error, "") << name;
        // Whatever it shows, the report is well-formed.
        Seen seen{read_host(fake.tree()), devices};
        EXPECT_FALSE(
            nlohmann::json::parse(report_json(seen, {}, 1), nullptr, false).is_discarded());
    }
}

TEST(Summary, EachState) {
    FakeTree fake;
    EXPECT_EQ(summarize(read_devices(fake.tree())).state, "none");
    fake.add_function("0000:0d:00.0", "cxl_pci");
    EXPECT_EQ(summarize(read_devices(fake.tree())).state, "other:cxl_pci");
    fake.remove(FakeTree::device_folder());
    fake.add_pooled();
    const std::string dcd = FakeTree::device_folder() + "/dcd";
    fake.set(dcd + "/state", "broken\n");
    EXPECT_EQ(summarize(read_devices(fake.tree())).state, "broken");
    fake.set(dcd + "/state", "starting\n");
    EXPECT_EQ(summarize(read_devices(fake.tree())).state, "none");
    EXPECT_NE(summarize(read_devices(fake.tree())).error.find("starting"), std::string::npos);
}

TEST(Report, HasTheFieldsOfTheProtocolAndNoOthers) {
    FakeTree fake;
    fake.add_host();
    fake.add_pooled("0000:0d:00.0",
                    "0 268435456 plugged plugged ram dax0.0 1 -\n"
                    "268435456 2097152 accepted - - - - -\n");
    Notes notes;
    Held held{44040192, {{812, "python3", 32505856}}, 6291456};
    notes[Key{1, 0, 268435456}] = Note{"held", held};
    auto report = nlohmann::json::parse(report_json(look(fake.tree()), notes, 12));
    auto expected = nlohmann::json::parse(R"({
      "boot":"7b1e6f0a-0000-4000-8000-000000000001","driver":"00c0ffee00c0ffee","seq":12,
      "host":"h1","memory_block":134217728,"poold":"0.1.0","driver_state":"ready",
      "driver_error":"","online_policy":"offline",
      "devices":[{"serial":1,"region_base":0,"region_len":1073741824,"hpa":4563402752,
        "state":"ready","extents":[
        {"dpa":0,"len":268435456,"state":"plugged","use":"ram","node":1,"dax":"dax0.0",
         "error":"held","used":44040192,"held":[{"pid":812,"comm":"python3","bytes":32505856}],
         "held_kernel":6291456},
        {"dpa":268435456,"len":2097152,"state":"accepted","dax":"","error":""}]}],
      "pressure":{"some_avg10":1.25,"near_free":1572864000,"near_total":2097152000},
      "nodes":[{"node":0,"total":2097152000,"free":1572864000}]})");
    expected["pressure"]["near_free"] = 1500ull << 20;
    expected["pressure"]["near_total"] = 2000ull << 20;
    expected["nodes"][0] = {{"node", 0}, {"total", 2000ull << 20}, {"free", 1500ull << 20}};
    EXPECT_EQ(report, expected);
}

TEST(Report, AKernelThatCannotUseExtentsIsNotReady) {
    FakeTree fake;
    fake.add_host();
    fake.add_pooled("0000:0d:00.0", "");
    fake.remove("/sys/module/kmem");
    auto report = nlohmann::json::parse(report_json(look(fake.tree()), {}, 1));
    EXPECT_EQ(report["driver_state"], "broken");
    EXPECT_NE(report["driver_error"].get<std::string>().find("this kernel lacks kmem"),
              std::string::npos);
    fake.set("/lib/modules/7.3.4+deb13-amd64/modules.dep", "kernel/drivers/dax/kmem.ko.xz:\n");
    report = nlohmann::json::parse(report_json(look(fake.tree()), {}, 2));
    EXPECT_EQ(report["driver_state"], "ready");
}

TEST(Report, AHostThatShowsNothingIsStillReported) {
    FakeTree fake;
    auto report = nlohmann::json::parse(report_json(look(fake.tree()), {}, 1));
    EXPECT_EQ(report["driver_state"], "none");
    EXPECT_EQ(report["memory_block"], 0);
    EXPECT_TRUE(report["devices"].empty());
}

}  // namespace
}  // namespace poold
