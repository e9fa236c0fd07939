// SPDX-License-Identifier: Apache-2.0
#include <set>

#include "server/wire_reader.h"

namespace cxlpool::wire {

// nlohmann keeps the last of two equal keys and nests without limit:
// both are refused here, where every key passes by.
Result<Json> parse(std::string_view text) {
    if (text.empty()) return fail(Code::invalid, "the body is empty; a JSON object is expected");
    std::vector<std::set<std::string>> open_objects;
    std::string wrong;
    const auto note = [&wrong](std::string sentence) {
        if (wrong.empty()) wrong = std::move(sentence);
    };
    const auto watch = [&](int depth, Json::parse_event_t event, Json& value) {
        using Event = Json::parse_event_t;
        if (depth > most_depth) {
            note(fmt::format("the JSON nests deeper than {} levels", most_depth));
            return false;
        }
        if (event == Event::object_start) open_objects.emplace_back();
        if (event == Event::object_end) open_objects.pop_back();
        if (event == Event::key) {
            const auto& name = value.get_ref<const std::string&>();
            if (!open_objects.back().insert(name).second)
                note(fmt::format("{} is there twice", name));
        }
        if (event == Event::value && value.is_string() &&
            value.get_ref<const std::string&>().size() > most_text_bytes)
            note(fmt::format("a string is longer than {} bytes", most_text_bytes));
        if (event == Event::array_end && value.size() > most_list_entries)
            note(fmt::format("an array has more than {} entries", most_list_entries));
        return true;
    };
    try {
        Json json = Json::parse(text, watch);
        if (!wrong.empty()) return fail(Code::invalid, wrong);
        return json;
    } catch (const Json::parse_error& error) {
        return fail(Code::invalid, fmt::format("malformed JSON near byte {}", error.byte));
    } catch (const Json::out_of_range&) {  // 1e999: well formed, and no double
        return fail(Code::invalid, "malformed JSON: a number is out of range");
    }
}

}  // namespace cxlpool::wire
