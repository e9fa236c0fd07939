// SPDX-License-Identifier: Apache-2.0
// fmd.json for QEMU guests: the fabric as its operator (or `testbed up`) wrote it down. Read
// strictly: an unknown or missing key is refused with its JSON path, so that a slip of the pen is
// never a silent default.
//   {"version":1,"backend":"qmp",
//    "devices":[{"name":"mem0","serial":1,"size":1073741824,"block":2097152,"pool_file":"/…"}],
//    "hosts":[{"name":"h1","socket":"/…","socket_uid":65534,"qmp":"/…",
//              "devices":[{"device":"mem0","path":"/machine/peripheral/cxl-mem0","region":0}]}]}
// (What the simulation reads is its own: backend/sim/config.h.)
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/fabric.h"
#include "core/result.h"

namespace cxlpool {

struct FabricFile {
    struct Device {
        DeviceName name;
        std::uint64_t serial = 0;
        Bytes size = 0;
        Bytes block = 0;
        std::string pool_file;  // absolute; what the guests' QEMUs map
    };
    struct Attachment {
        DeviceName device;
        std::string path;  // QOM path of the device in the host's QEMU
    };
    struct Host {
        HostName name;
        std::string socket;               // absolute; made by fmd for this host's poold
        std::optional<uid_t> socket_uid;  // who may connect to it; none: fmd's own user
        std::string qmp;                  // absolute; fmd's own QMP socket of the host's QEMU
        std::vector<Attachment> devices;
    };

    std::vector<Device> devices;
    std::vector<Host> hosts;

    Fabric fabric() const;  // without identities, which only a backend knows
};

Result<FabricFile> read_fabric_file(const std::filesystem::path& path);
// `name` is what errors call the text.
Result<FabricFile> parse_fabric_file(std::string_view text, const std::string& name);

}  // namespace cxlpool
