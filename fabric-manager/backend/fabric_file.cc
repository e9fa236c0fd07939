// SPDX-License-Identifier: Apache-2.0
#include "backend/fabric_file.h"

#include <fmt/format.h>
#include <sys/un.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <set>

#include "core/units.h"
#include "json/strict_object.h"

namespace cxlpool {
namespace {

constexpr Bytes kMostBytes = 1 * MiB;     // of the file
constexpr std::size_t kMostItems = 1024;  // devices, hosts, devices of a host
constexpr std::size_t kMostSocketPath = sizeof(sockaddr_un::sun_path) - 1;

// One object of the file with what it takes to read it.
struct Reader {
    StrictObject& object;

    void refuse(const char* key, const std::string& what) {
        object.report(object.path_to(key), what);
    }

    void name(const char* what, const char* key, std::string& out) {
        object.read(key, out);
        if (const auto ok = parse_name(what, out); !ok) {
            refuse(key, fmt::format("is no name: {}", ok.error().message));
        }
    }

    void absolute(const char* key, std::string& out) {
        object.read(key, out);
        if (!out.starts_with('/')) refuse(key, fmt::format("'{}' is not an absolute path", out));
    }

    void socket(const char* key, std::string& out) {
        absolute(key, out);
        if (out.size() > kMostSocketPath) {
            refuse(key, fmt::format("has {} bytes; the path of a Unix socket has at most {}",
                                    out.size(), kMostSocketPath));
        }
    }
};

// Objects of one array, none of which may repeat another's name.
template <class T, class ReadOne>
void read_list(StrictObject& from, const char* key, std::string& error, std::vector<T>& out,
               ReadOne read_one) {
    from.read_array(key, [&](const nlohmann::json& value, const std::string& path) {
        if (out.size() == kMostItems) {
            return from.report(from.path_to(key),
                               fmt::format("has more than {} entries", kMostItems));
        }
        StrictObject object(value, path, error);
        read_one(object, out.emplace_back());
        object.finish();
    });
}

// Says once which key repeats the value of an earlier object.
class Unique {
  public:
    explicit Unique(const char* key) : key_(key) {}
    void add(StrictObject& object, const std::string& value) {
        if (!value.empty() && !seen_.insert(value).second) {
            object.report(object.path_to(key_), fmt::format("'{}' is there twice", value));
        }
    }

  private:
    const char* key_;
    std::set<std::string> seen_;
};

void read_device(Reader reader, FabricFile::Device& device) {
    reader.name("device", "name", device.name.text);
    reader.object.read("serial", device.serial);
    reader.object.read("size", device.size);
    reader.object.read("block", device.block);
    reader.absolute("pool_file", device.pool_file);
    if (device.serial == 0) reader.refuse("serial", "is 0, which names no device");
    const bool power_of_2 = device.block != 0 && (device.block & (device.block - 1)) == 0;
    if (!power_of_2) return reader.refuse("block", "is not a power of 2");
    if (device.size > kMostDeviceBytes) {
        reader.refuse("size",
                      fmt::format("is {}, more than the {} that a device may have",
                                  describe_size(device.size), describe_size(kMostDeviceBytes)));
    } else if (device.size == 0 || device.size % device.block != 0) {
        reader.refuse("size", fmt::format("is {}, not a multiple of the block of {}",
                                          describe_size(device.size), describe_size(device.block)));
    }
}

void read_attachment(Reader reader, FabricFile::Attachment& attachment) {
    reader.object.read("device", attachment.device.text);
    reader.absolute("path", attachment.path);
    std::uint64_t region = 0;
    reader.object.read("region", region);
    if (region != 0) {
        reader.refuse("region",
                      fmt::format("is {}; only DC region 0 of a device is divided", region));
    }
}

void read_host(Reader reader, std::string& error, FabricFile::Host& host) {
    reader.name("host", "name", host.name.text);
    reader.socket("socket", host.socket);
    if (reader.object.has("socket_uid")) {
        std::uint64_t uid = 0;
        reader.object.read("socket_uid", uid);
        constexpr uid_t none = static_cast<uid_t>(-1);
        if (uid >= none) reader.refuse("socket_uid", "is no user number");
        host.socket_uid = static_cast<uid_t>(uid);
    }
    reader.socket("qmp", host.qmp);
    Unique names("device"), paths("path");
    read_list(reader.object, "devices", error, host.devices,
              [&](StrictObject& object, FabricFile::Attachment& attachment) {
                  read_attachment({object}, attachment);
                  names.add(object, attachment.device.text);
                  paths.add(object, attachment.path);
              });
}

// Every device a host names is described.
void check_attachments(const FabricFile& file, std::string& error) {
    std::set<DeviceName> known;
    for (const auto& device : file.devices) known.insert(device.name);
    for (std::size_t i = 0; i < file.hosts.size(); ++i) {
        const auto& devices = file.hosts[i].devices;
        for (std::size_t j = 0; j < devices.size(); ++j) {
            if (known.contains(devices[j].device) || !error.empty()) continue;
            error = fmt::format("hosts[{}].devices[{}].device '{}' is not among the devices", i, j,
                                devices[j].device.text);
        }
    }
}

void read_document(StrictObject& object, std::string& error, FabricFile& file) {
    std::uint64_t version = 0;
    object.read("version", version);
    if (version != 1) object.report("version", fmt::format("is {}; this fmd reads 1", version));
    std::string backend;
    object.read("backend", backend);
    if (backend != "qmp") {
        object.report("backend", fmt::format("is '{}', not 'qmp'", backend));
    }
    Unique device_names("name"), serials("serial"), pool_files("pool_file");
    read_list(object, "devices", error, file.devices,
              [&](StrictObject& inner, FabricFile::Device& device) {
                  read_device({inner}, device);
                  device_names.add(inner, device.name.text);
                  serials.add(inner, std::to_string(device.serial));
                  pool_files.add(inner, device.pool_file);
              });
    Unique host_names("name"), sockets("socket"), qmps("qmp");
    read_list(object, "hosts", error, file.hosts, [&](StrictObject& inner, FabricFile::Host& host) {
        read_host({inner}, error, host);
        host_names.add(inner, host.name.text);
        sockets.add(inner, host.socket);
        qmps.add(inner, host.qmp);
    });
    if (file.devices.empty()) object.report("devices", "is empty: there is nothing to divide");
    object.finish();
    check_attachments(file, error);
}

}  // namespace

Fabric FabricFile::fabric() const {
    Fabric fabric;
    for (const Device& device : devices) {
        fabric.devices[device.name] = {device.serial, device.size, device.block, ""};
    }
    for (const Host& host : hosts) {
        HostSpec& spec = fabric.hosts[host.name];
        for (const Attachment& attachment : host.devices) spec.devices.insert(attachment.device);
    }
    return fabric;
}

Result<FabricFile> parse_fabric_file(std::string_view text, const std::string& name) {
    const auto refuse = [&](const std::string& why) {
        return fail(Code::invalid, fmt::format("fabric file {}: {}", name, why));
    };
    nlohmann::json document;
    try {
        document = nlohmann::json::parse(text);
    } catch (const nlohmann::json::parse_error& error) {
        return refuse(fmt::format("not JSON at byte {}", error.byte));
    } catch (const nlohmann::json::out_of_range&) {  // 1e999: well formed, and no double
        return refuse("a number is out of range");
    }
    FabricFile file;
    std::string error;
    StrictObject object(document, "", error);
    read_document(object, error, file);
    if (!error.empty()) return refuse(error);
    return file;
}

Result<FabricFile> read_fabric_file(const std::filesystem::path& path) {
    errno = 0;
    std::ifstream in(path, std::ios::binary);
    std::string text(kMostBytes + 1, '\0');
    in.read(text.data(), static_cast<std::streamsize>(text.size()));
    const auto length = static_cast<std::size_t>(in.gcount());
    if (!in.eof() && length <= kMostBytes) {
        const int error = errno;
        return fail(error == EACCES ? Code::denied : Code::invalid,
                    fmt::format("fabric file {} cannot be read: {}", path.string(),
                                error ? std::strerror(error) : "no such file"));
    }
    if (length > kMostBytes) {
        return fail(Code::invalid,
                    fmt::format("fabric file {} is larger than 1 MiB", path.string()));
    }
    text.resize(length);
    return parse_fabric_file(text, path.string());
}

}  // namespace cxlpool
