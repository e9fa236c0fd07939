// SPDX-License-Identifier: Apache-2.0
// Reads one JSON object strictly: every key that is asked for must be there and have its type, and
// every key that is there must have been asked for. The first thing wrong is kept as the end of a
// sentence that begins with the JSON path ("hosts[0].qmp is missing"); all after it is ignored, so
// that a parser reads like a list of fields. Header only; shared by all parsers of the fabric
// manager.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <utility>

namespace cxlpool {

class StrictObject {
  public:
    // `path` is empty for the whole document. `error` collects the first error of many objects.
    StrictObject(const nlohmann::json& value, std::string path, std::string& error)
        : value_(value), path_(std::move(path)), error_(error) {
        if (!value_.is_object()) report(path_.empty() ? "the text" : path_, "is not a JSON object");
    }

    // For keys that may be left out: ask before reading.
    bool has(const char* key) const { return value_.is_object() && value_.contains(key); }

    void read(const char* key, std::string& out) {
        const nlohmann::json* field = find(key);
        if (!field) return;
        if (!field->is_string()) return report(path_to(key), "is not a string");
        out = field->get_ref<const std::string&>();
    }

    void read(const char* key, std::uint64_t& out) {
        const nlohmann::json* field = find(key);
        if (!field) return;
        if (!field->is_number_unsigned()) {
            return report(path_to(key), "is not a whole number of 0 or more");
        }
        out = field->get<std::uint64_t>();
    }

    void read(const char* key, std::int64_t& out) {
        const nlohmann::json* field = find(key);
        if (!field) return;
        constexpr auto most = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
        if (!field->is_number_integer() ||
            (field->is_number_unsigned() && field->get<std::uint64_t>() > most)) {
            return report(path_to(key), "is not a whole number");
        }
        out = field->get<std::int64_t>();
    }

    void read(const char* key, bool& out) {
        const nlohmann::json* field = find(key);
        if (!field) return;
        if (!field->is_boolean()) return report(path_to(key), "is not true or false");
        out = field->get<bool>();
    }

    void read(const char* key, double& out) {
        const nlohmann::json* field = find(key);
        if (!field) return;
        if (!field->is_number()) return report(path_to(key), "is not a number");
        out = field->get<double>();
    }

    // A key that may be missing or null: then nothing is read, and false.
    template <class Value>
    bool read_if_there(const char* key, Value& out) {
        if (!is_there(key)) return false;
        read(key, out);
        return true;
    }

    bool is_there(const char* key) {
        asked_.insert(key);
        return value_.is_object() && value_.contains(key) && !value_.find(key)->is_null();
    }

    // Calls read_one(element, its path) for each element of the array.
    template <class ReadOne>
    void read_array(const char* key, ReadOne read_one) {
        const nlohmann::json* field = find(key);
        if (!field) return;
        if (!field->is_array()) return report(path_to(key), "is not an array");
        for (std::size_t i = 0; i < field->size(); ++i) {
            read_one((*field)[i], fmt::format("{}[{}]", path_to(key), i));
        }
    }

    // Calls read_one(value, its path) for the one value, of whatever type, below the key.
    template <class ReadOne>
    void read_value(const char* key, ReadOne read_one) {
        if (const nlohmann::json* field = find(key)) read_one(*field, path_to(key));
    }

    // To be called last: a key that nobody asked for is an error.
    void finish() {
        if (!value_.is_object()) return;
        for (const auto& [key, unused] : value_.items()) {
            if (!asked_.contains(key)) report(path_to(key.substr(0, 80)), "is not a known key");
        }
    }

    std::string path_to(const std::string& key) const {
        return path_.empty() ? key : path_ + "." + key;
    }

    void report(const std::string& where, const std::string& what) {
        if (error_.empty()) error_ = where + " " + what;
    }

  private:
    const nlohmann::json* find(const char* key) {
        asked_.insert(key);
        if (!value_.is_object()) return nullptr;
        const auto found = value_.find(key);
        if (found != value_.end()) return &*found;
        report(path_to(key), "is missing");
        return nullptr;
    }

    const nlohmann::json& value_;
    std::string path_;
    std::string& error_;
    std::set<std::string, std::less<>> asked_;
};

}  // namespace cxlpool
