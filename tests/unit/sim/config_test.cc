// SPDX-License-Identifier: Apache-2.0
#include "backend/sim/config.h"

#include <gtest/gtest.h>

namespace cxlpool::sim {
namespace {

std::string refused(std::string_view text) {
    const auto rack = parse_rack(text);
    return rack ? "accepted" : rack.error().message;
}

TEST(SimConfig, WithoutDevicesItIsTheDefaultRack) {
    const auto rack = parse_rack(R"({"version":1,"backend":"sim"})");
    ASSERT_TRUE(rack);
    EXPECT_EQ(rack->fabric.devices.size(), 2u);
    EXPECT_EQ(rack->fabric.hosts.size(), 3u);
    EXPECT_EQ(rack->fabric.devices.at(DeviceName{"mem1"}).size, 4 * GiB);
}

TEST(SimConfig, ReadsWhatTheTestbedWritesAndHowHostsBehave) {
    const auto rack = parse_rack(R"({
        "version":1, "backend":"sim",
        "devices":[{"name":"mem0","serial":1,"size":1073741824,"block":2097152,"pool_file":"/x"}],
        "hosts":[{"name":"h1","socket":"/s","socket_uid":65534,"qmp":"/q",
                  "devices":[{"device":"mem0","path":"/machine/peripheral/cxl-mem0","region":0}]},
                 {"name":"h2","devices":["mem0"]}],
        "sim":{"hosts":{"h1":{"driver":"none"},
                        "h2":{"silent":true,"held":"37M","accept_ms":90000,"online_policy":"online",
                              "memory_block":"256M","lie":"plugged"}}}})");
    ASSERT_TRUE(rack) << rack.error().message;
    EXPECT_EQ(rack->fabric.devices.at(DeviceName{"mem0"}).size, GiB);
    EXPECT_EQ(rack->behaviour.at(HostName{"h1"}).driver, Driver::none);
    const Behaviour& h2 = rack->behaviour.at(HostName{"h2"});
    EXPECT_TRUE(h2.silent);
    EXPECT_EQ(h2.held, 37 * MiB);
    EXPECT_EQ(h2.accept_ms, 90'000);
    EXPECT_EQ(h2.memory_block, 256 * MiB);
    EXPECT_EQ(h2.lie, Lie::claims_plugged);
}

TEST(SimConfig, RefusesWithThePath) {
    EXPECT_EQ(refused("{"), "fabric file: it is not JSON");
    EXPECT_EQ(refused(R"({"sim":{"hosts":{"h9":{}}}})"),
              "fabric file: sim.hosts names no host: h9");
    EXPECT_EQ(refused(R"({"sim":{"hosts":{"h1":{"drivr":1}}}})"),
              "fabric file: unknown key sim.hosts.h1.drivr");
    EXPECT_EQ(refused(R"({"sim":{"hosts":{"h1":{"driver":"best"}}}})"),
              "fabric file: sim.hosts.h1.driver must be one of broken, none, other, ready");
    EXPECT_EQ(refused(R"({"devices":[{"name":"mem0","size":5}]})"),
              "fabric file: devices[0].size must be a multiple of the device's block, more than 0");
    EXPECT_EQ(refused(R"({"backend":"qmp"})"),
              "fabric file: backend must be \"sim\" for a simulated rack");
    EXPECT_EQ(refused(R"({"colour":1})"), "fabric file: unknown key colour");
    EXPECT_EQ(refused(R"({"version":2})"), "fabric file: version must be 1");
}

}  // namespace
}  // namespace cxlpool::sim
