// SPDX-License-Identifier: Apache-2.0
// How values are read from JSON, for wire_requests.cc and wire_answers.cc only. A reader is a
// function that lists its fields; json/strict_object.h keeps the first thing wrong.
#pragma once

#include <fmt/format.h>

#include <climits>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/extents.h"
#include "json/strict_object.h"
#include "server/wire.h"

namespace cxlpool::wire {

using Json = nlohmann::json;

enum class Unknown { refused, skipped };  // keys that nobody asked for

// Text → JSON within the limits of wire.h, or a sentence.
Result<Json> parse(std::string_view text);

// One object, with the types that we read.
class Object : public StrictObject {
  public:
    using StrictObject::read;
    using StrictObject::read_if_there;
    using StrictObject::StrictObject;

    std::string text(const char* key) {
        std::string out;
        read(key, out);
        return out;
    }
    std::string text_if_there(const char* key) {
        std::string out;
        read_if_there(key, out);
        return out;
    }
    std::uint64_t number(const char* key) {
        std::uint64_t out = 0;
        read(key, out);
        return out;
    }
    bool flag_if_there(const char* key) {
        bool out = false;
        read_if_there(key, out);
        return out;
    }

    template <class Tag>
    void read(const char* key, Name<Tag>& out) {
        read(key, out.text);
    }

    // A whole number that fits an int.
    void read(const char* key, int& out) {
        std::int64_t wide = 0;
        StrictObject::read(key, wide);
        if (wide < INT_MIN || wide > INT_MAX) return report(path_to(key), "is out of range");
        out = static_cast<int>(wide);
    }

    template <class T>
    void read(const char* key, std::optional<T>& out) {
        T value{};
        if (is_there(key)) {
            read(key, value);
            out = value;
        }
    }

    // One word of an enum, by the parser of core.
    template <class T>
    void read_word(const char* key, T& out, Result<T> (*parse_word)(std::string_view)) {
        std::string word;
        read(key, word);
        const Result<T> parsed = parse_word(word);
        if (parsed)
            out = *parsed;
        else
            report(path_to(key), "is wrong: " + parsed.error().message);
    }

    // DPA and length of a range: not empty, and its end is a number too.
    Range range() {
        const Range out{number("dpa"), number("len")};
        if (out.length > UINT64_MAX - out.dpa) report(path_to("len"), "ends beyond 16 EiB");
        return out;
    }
};

inline std::vector<std::string> texts(Object& object, const char* key) {
    std::vector<std::string> out;
    object.read_array(key, [&](const Json& entry, const std::string& path) {
        if (!entry.is_string()) return object.report(path, "is not a string");
        out.push_back(entry.get<std::string>());
    });
    return out;
}

inline std::vector<HostName> hosts_of(Object& object, const char* key) {
    std::vector<HostName> out;
    for (std::string& name : texts(object, key)) out.emplace_back(std::move(name));
    return out;
}

// Everything an object reader needs to open the objects below it.
struct Context {
    std::string& error;
    Unknown unknown;
};

template <class T>
T read_object(const Json& json, std::string path, Context context,
              void (*read)(Object&, T&, Context)) {
    T out{};
    Object object(json, std::move(path), context.error);
    read(object, out, context);
    if (context.unknown == Unknown::refused) object.finish();
    return out;
}

template <class T>
std::vector<T> read_list(Object& object, const char* key, Context context,
                         void (*read)(Object&, T&, Context)) {
    std::vector<T> out;
    object.read_array(key, [&](const Json& entry, const std::string& path) {
        out.push_back(read_object(entry, path, context, read));
    });
    return out;
}

template <class T>
Result<T> decode(std::string_view text, Unknown unknown, void (*read)(Object&, T&, Context)) {
    const auto json = parse(text);
    if (!json) return std::unexpected(json.error());
    std::string error;
    T out = read_object(*json, "", Context{error, unknown}, read);
    if (!error.empty()) return fail(Code::invalid, error);
    return out;
}

template <class T>
Result<std::vector<T>> decode_list(std::string_view text, void (*read)(Object&, T&, Context)) {
    const auto json = parse(text);
    if (!json) return std::unexpected(json.error());
    if (!json->is_array()) return fail(Code::invalid, "the text is not a JSON array");
    std::string error;
    std::vector<T> out;
    for (std::size_t i = 0; i < json->size(); ++i)
        out.push_back(read_object((*json)[i], fmt::format("[{}]", i),
                                  Context{error, Unknown::skipped}, read));
    if (!error.empty()) return fail(Code::invalid, error);
    return out;
}

}  // namespace cxlpool::wire
