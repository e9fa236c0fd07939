// SPDX-License-Identifier: Apache-2.0
#include "backend/fabric_file.h"

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "harness.h"

namespace cxlpool {
namespace {

using nlohmann::json;

json example() {
    return json::parse(R"({"version":1,"backend":"qmp",
      "devices":[{"name":"mem0","serial":1,"size":1073741824,"block":2097152,"pool_file":"/r/mem0.pool"},
                 {"name":"mem1","serial":2,"size":1073741824,"block":2097152,"pool_file":"/r/mem1.pool"}],
      "hosts":[{"name":"h1","socket":"/r/h1/fmd.sock","socket_uid":65534,"qmp":"/r/h1/qmp-fmd.sock",
                "devices":[{"device":"mem0","path":"/machine/peripheral/cxl-mem0","region":0},
                           {"device":"mem1","path":"/machine/peripheral/cxl-mem1","region":0}]},
               {"name":"h2","socket":"/r/h2/fmd.sock","qmp":"/r/h2/qmp-fmd.sock","devices":[]}]})");
}

std::string refusal(const json& document) {
    const auto file = parse_fabric_file(document.dump(), "fmd.json");
    return file ? "accepted" : file.error().message;
}

TEST(FabricFile, IsReadWhole) {
    const auto file = parse_fabric_file(example().dump(), "fmd.json");
    ASSERT_TRUE(file) << file.error().message;
    EXPECT_EQ(file->devices[1].pool_file, "/r/mem1.pool");
    EXPECT_EQ(file->hosts[0].socket_uid, 65534u);
    EXPECT_EQ(file->hosts[1].socket_uid, std::nullopt);
    EXPECT_EQ(file->hosts[0].devices[1].path, "/machine/peripheral/cxl-mem1");
    const Fabric fabric = file->fabric();
    EXPECT_EQ(fabric.devices.at(DeviceName("mem0")), (DeviceSpec{1, 1 * GiB, 2 * MiB, ""}));
    EXPECT_EQ(fabric.hosts.at(h1).devices.size(), 2u);
    EXPECT_TRUE(fabric.hosts.at(HostName("h2")).devices.empty());
}

// Each key in turn is left out, misspelt, and given a wrong type: always one sentence with its
// path.
TEST(FabricFile, EveryKeyIsChecked) {
    const json whole = example();
    int broken = 0;
    const auto check = [&](const json& document, const std::string& path) {
        ++broken;
        const std::string why = refusal(document);
        EXPECT_TRUE(why.starts_with("fabric file fmd.json: " + path)) << why << " for " << path;
    };
    const json flat = whole.flatten();
    for (const auto& [flat_path, value] : flat.items()) {
        json::json_pointer at(flat_path);
        const json::json_pointer parent = at.parent_pointer();
        std::string path;  // "/hosts/0/name" -> "hosts[0].name"
        for (json::json_pointer up = at; !up.empty(); up.pop_back()) {
            const std::string part = up.back();
            const bool index = std::isdigit(static_cast<unsigned char>(part[0]));
            path = (index ? "[" + part + "]" : "." + part) + path;
        }
        path.erase(0, 1);
        if (value.is_array()) continue;  // the one empty list
        json document = whole;
        document[at] = value.is_string() ? json(1) : json("x");
        check(document, path);
        if (at.back() == "socket_uid") continue;  // may be left out
        document[parent].erase(at.back());
        check(document, path + " is missing");
        document = whole;
        document[parent]["surplus"] = 1;
        check(document,
              path.substr(0, path.size() - at.back().size()) + "surplus is not a known key");
    }
    EXPECT_GT(broken, 70);
}

TEST(FabricFile, SaysWhatIsWrong) {
    const auto with = [](const char* where, const json& value) {
        json document = example();
        document[json::json_pointer(where)] = value;
        return refusal(document).substr(std::string("fabric file fmd.json: ").size());
    };
    EXPECT_EQ(with("/version", 2), "version is 2; this fmd reads 1");
    EXPECT_EQ(with("/backend", "sim"), "backend is 'sim', not 'qmp'");
    EXPECT_EQ(with("/devices", json::array()), "devices is empty: there is nothing to divide");
    EXPECT_EQ(with("/devices/0/size", 1000),
              "devices[0].size is 1000 B, not a multiple of the block of 2 MiB");
    EXPECT_EQ(with("/devices/0/size", 0).substr(0, 23), "devices[0].size is 0 B,");
    EXPECT_EQ(with("/devices/0/block", 0), "devices[0].block is not a power of 2");
    EXPECT_EQ(with("/devices/1/name", "mem0"), "devices[1].name 'mem0' is there twice");
    EXPECT_EQ(with("/devices/1/serial", 1), "devices[1].serial '1' is there twice");
    EXPECT_EQ(with("/devices/1/pool_file", "/r/mem0.pool"),
              "devices[1].pool_file '/r/mem0.pool' is there twice");
    EXPECT_EQ(with("/devices/0/pool_file", "mem0.pool"),
              "devices[0].pool_file 'mem0.pool' is not an absolute path");
    EXPECT_EQ(with("/hosts/1/qmp", "/r/h1/qmp-fmd.sock"),
              "hosts[1].qmp '/r/h1/qmp-fmd.sock' is there twice");
    EXPECT_EQ(with("/hosts/0/devices/1/device", "mem0"),
              "hosts[0].devices[1].device 'mem0' is there twice");
    EXPECT_EQ(with("/hosts/0/devices/1/device", "mem7"),
              "hosts[0].devices[1].device 'mem7' is not among the devices");
    EXPECT_EQ(with("/hosts/0/devices/0/region", 1),
              "hosts[0].devices[0].region is 1; only DC region 0 of a device is divided");
    EXPECT_EQ(with("/hosts/0/socket", "/" + std::string(120, 'x')),
              "hosts[0].socket has 121 bytes; the path of a Unix socket has at most 107");
    EXPECT_TRUE(with("/hosts/0/name", "H 1").starts_with("hosts[0].name is no name: "));
}

TEST(FabricFile, ThatCannotBeReadIsNamed) {
    TempDir folder;
    const std::string path = folder / "fmd.json";
    EXPECT_EQ(read_fabric_file(path).error().message,
              "fabric file " + path + " cannot be read: No such file or directory");
    std::ofstream(path) << R"({"version":1,)";
    EXPECT_EQ(read_fabric_file(path).error().message,
              "fabric file " + path + ": not JSON at byte 14");
    std::ofstream(path) << std::string(2 << 20, ' ');
    EXPECT_EQ(read_fabric_file(path).error().message,
              "fabric file " + path + " is larger than 1 MiB");
    std::ofstream(path) << example();
    EXPECT_TRUE(read_fabric_file(path));
}

}  // namespace
}  // namespace cxlpool
