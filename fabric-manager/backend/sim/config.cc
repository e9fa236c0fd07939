// SPDX-License-Identifier: Apache-2.0
#include "backend/sim/config.h"

#include <fmt/format.h>

#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <string>

namespace cxlpool::sim {

namespace {

using nlohmann::json;
using Setter = std::function<Result<void>(const json& value, const std::string& path)>;

std::unexpected<Error> wrong(const std::string& path, std::string_view expected) {
    return fail(Code::invalid, fmt::format("fabric file: {} must be {}", path, expected));
}

Setter into(bool& target) {
    return [&target](const json& value, const std::string& path) -> Result<void> {
        if (!value.is_boolean()) return wrong(path, "true or false");
        target = value.get<bool>();
        return {};
    };
}

Setter into(std::string& target) {
    return [&target](const json& value, const std::string& path) -> Result<void> {
        if (!value.is_string()) return wrong(path, "a string");
        target = value.get<std::string>();
        return {};
    };
}

Setter into(Millis& target) {
    return [&target](const json& value, const std::string& path) -> Result<void> {
        if (!value.is_number_unsigned() || value.get<std::uint64_t>() > 86'400'000) {
            return wrong(path, "a number of milliseconds up to 86400000");
        }
        target = value.get<Millis>();
        return {};
    };
}

Setter into(std::uint64_t& target) {
    return [&target](const json& value, const std::string& path) -> Result<void> {
        if (!value.is_number_unsigned()) return wrong(path, "a whole number");
        target = value.get<std::uint64_t>();
        return {};
    };
}

Setter size_into(Bytes& target) {
    return [&target](const json& value, const std::string& path) -> Result<void> {
        if (value.is_number_unsigned()) {
            target = value.get<Bytes>();
            return {};
        }
        if (!value.is_string()) return wrong(path, "a number of bytes or a size such as \"128M\"");
        auto size = parse_size(value.get<std::string>());
        if (!size) return wrong(path, "a size: " + size.error().message);
        target = *size;
        return {};
    };
}

template <class Enum>
Setter one_of(Enum& target, std::map<std::string, Enum> words) {
    return [&target, words](const json& value, const std::string& path) -> Result<void> {
        const auto found = value.is_string() ? words.find(value.get<std::string>()) : words.end();
        if (found == words.end()) {
            std::string all;
            for (const auto& [word, meaning] : words) all += (all.empty() ? "" : ", ") + word;
            return wrong(path, "one of " + all);
        }
        target = found->second;
        return {};
    };
}

Result<void> read_object(const json& object, const std::string& path,
                         const std::map<std::string, Setter>& keys) {
    if (!object.is_object()) return wrong(path, "an object");
    for (const auto& [key, value] : object.items()) {
        const auto found = keys.find(key);
        if (found == keys.end()) {
            return fail(Code::invalid, fmt::format("fabric file: unknown key {}.{}", path, key));
        }
        if (auto ok = found->second(value, path + "." + key); !ok) return ok;
    }
    return {};
}

Result<void> read_behaviour(const json& object, const std::string& path, Behaviour& behaviour) {
    Behaviour& b = behaviour;
    auto ok = read_object(
        object, path,
        {{"driver", one_of(b.driver, std::map<std::string, Driver>{{"ready", Driver::ready},
                                                                   {"none", Driver::none},
                                                                   {"other", Driver::other},
                                                                   {"broken", Driver::broken}})},
         {"other_driver", into(b.other_driver)},
         {"online_policy", into(b.online_policy)},
         {"silent", into(b.silent)},
         {"hung", into(b.hung)},
         {"unreachable", into(b.unreachable)},
         {"never_accepts", into(b.never_accepts)},
         {"rejects", into(b.rejects)},
         {"never_returns", into(b.never_returns)},
         {"lie", one_of(b.lie, std::map<std::string, Lie>{{"none", Lie::none},
                                                          {"plugged", Lie::claims_plugged},
                                                          {"unplugged", Lie::claims_unplugged},
                                                          {"nothing", Lie::claims_nothing},
                                                          {"others", Lie::claims_others},
                                                          {"nonsense", Lie::claims_nonsense}})},
         {"accept_ms", into(b.accept_ms)},
         {"plug_ms", into(b.plug_ms)},
         {"unplug_ms", into(b.unplug_ms)},
         {"report_ms", into(b.report_ms)},
         {"boot_ms", into(b.boot_ms)},
         {"memory_block", size_into(b.memory_block)},
         {"held", size_into(b.held)},
         {"held_ms", into(b.held_ms)}});
    if (!ok) return ok;
    if (b.report_ms == 0) return wrong(path + ".report_ms", "at least 1");
    return {};
}

Result<void> read_sim(const json& object, RackConfig& rack) {
    const Setter hosts = [&rack](const json& value, const std::string& path) -> Result<void> {
        if (!value.is_object()) return wrong(path, "an object");
        for (const auto& [name, behaviour] : value.items()) {
            if (!rack.fabric.hosts.contains(HostName{name})) {
                return fail(Code::invalid,
                            fmt::format("fabric file: {} names no host: {}", path, name));
            }
            auto ok = read_behaviour(behaviour, path + "." + name, rack.behaviour[HostName{name}]);
            if (!ok) return ok;
        }
        return {};
    };
    return read_object(object, "sim",
                       {{"seed", into(rack.seed)},
                        {"old_bytes", into(rack.old_bytes)},
                        {"offer_ms", into(rack.offer_ms)},
                        {"scrub_ms", into(rack.scrub_ms)},
                        {"hosts", hosts}});
}

Setter ignored() {
    return [](const json&, const std::string&) -> Result<void> { return {}; };
}

Result<void> read_device(const json& object, const std::string& path, Fabric& fabric) {
    DeviceSpec spec;
    std::string name;
    auto ok = read_object(object, path,
                          {{"name", into(name)},
                           {"serial", into(spec.serial)},
                           {"size", size_into(spec.size)},
                           {"block", size_into(spec.block)},
                           {"pool_file", ignored()}});
    if (!ok) return ok;
    if (auto good = parse_name("device", name); !good)
        return wrong(path + ".name", good.error().message);
    if (spec.block == 0 || spec.size == 0 || spec.size % spec.block != 0) {
        return wrong(path + ".size", "a multiple of the device's block, more than 0");
    }
    if (spec.size > kMostDeviceBytes)
        return wrong(path + ".size", fmt::format("at most {}", describe_size(kMostDeviceBytes)));
    spec.identity = "sim:" + name;
    if (!fabric.devices.emplace(DeviceName{name}, spec).second) {
        return fail(Code::invalid, fmt::format("fabric file: {} names {} twice", path, name));
    }
    return {};
}

Result<void> read_host(const json& object, const std::string& path, Fabric& fabric) {
    HostSpec spec;
    std::string name;
    const Setter devices = [&](const json& value, const std::string& at) -> Result<void> {
        if (!value.is_array()) return wrong(at, "a list");
        for (std::size_t i = 0; i < value.size(); ++i) {
            const std::string here = fmt::format("{}[{}]", at, i);
            std::string device;
            auto read =
                value[i].is_string()
                    ? into(device)(value[i], here)
                    : read_object(
                          value[i], here,
                          {{"device", into(device)}, {"path", ignored()}, {"region", ignored()}});
            if (!read) return read;
            if (!fabric.devices.contains(DeviceName{device}))
                return wrong(here, "a device of \"devices\"");
            spec.devices.insert(DeviceName{device});
        }
        return {};
    };
    auto ok = read_object(object, path,
                          {{"name", into(name)},
                           {"devices", devices},
                           {"socket", ignored()},
                           {"socket_uid", ignored()},
                           {"qmp", ignored()}});
    if (!ok) return ok;
    if (auto good = parse_name("host", name); !good)
        return wrong(path + ".name", good.error().message);
    if (!fabric.hosts.emplace(HostName{name}, spec).second) {
        return fail(Code::invalid, fmt::format("fabric file: {} names {} twice", path, name));
    }
    return {};
}

template <class Read>
Setter list_of(Fabric& fabric, Read read) {
    return [&fabric, read](const json& value, const std::string& path) -> Result<void> {
        if (!value.is_array()) return wrong(path, "a list");
        for (std::size_t i = 0; i < value.size(); ++i) {
            if (auto ok = read(value[i], fmt::format("{}[{}]", path, i), fabric); !ok) return ok;
        }
        return {};
    };
}

}  // namespace

Result<RackConfig> parse_rack(std::string_view json_text) {
    const json file = json::parse(json_text, nullptr, false);
    if (file.is_discarded()) return fail(Code::invalid, "fabric file: it is not JSON");
    if (!file.is_object()) return fail(Code::invalid, "fabric file: it must be an object");
    RackConfig rack;
    if (!file.contains("devices") && !file.contains("hosts")) rack = default_rack();
    std::string backend = "sim", name;
    std::uint64_t version = 1;
    // Devices before hosts before their behaviour, whatever the order in the file.
    const std::vector<std::map<std::string, Setter>> passes = {
        {{"devices", list_of(rack.fabric, read_device)}},
        {{"hosts", list_of(rack.fabric, read_host)}},
        {{"sim", [&rack](const json& value, const std::string&) { return read_sim(value, rack); }}},
        {{"version", into(version)}, {"backend", into(backend)}, {"name", into(name)}}};
    std::size_t known = 0;
    for (const auto& pass : passes) {
        for (const auto& [key, setter] : pass) {
            if (!file.contains(key)) continue;
            ++known;
            if (auto ok = setter(file[key], key); !ok) return std::unexpected(ok.error());
        }
    }
    if (known != file.size()) {
        for (const auto& [key, value] : file.items()) {
            bool found = false;
            for (const auto& pass : passes) found = found || pass.contains(key);
            if (!found) return fail(Code::invalid, fmt::format("fabric file: unknown key {}", key));
        }
    }
    if (version != 1) return wrong("version", "1");
    if (backend != "sim") return wrong("backend", "\"sim\" for a simulated rack");
    return rack;
}

}  // namespace cxlpool::sim
