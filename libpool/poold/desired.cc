// SPDX-License-Identifier: Apache-2.0
#include "poold/desired.h"

#include <nlohmann/json.hpp>
#include <set>

namespace poold {

using nlohmann::json;

namespace {

std::unexpected<Error> refuse(const std::string& what) {
    return fail(EPROTO, "fmd's list of wishes was not taken: %s", what.c_str());
}

const json* field(const json& object, const char* name) {
    auto found = object.find(name);
    return found == object.end() ? nullptr : &*found;
}

Result<uint64_t> number(const json& object, const char* name) {
    const json* value = field(object, name);
    if (!value || !value->is_number_unsigned()) {
        return refuse(text("\"%s\" is missing or not a number", name));
    }
    return value->get<uint64_t>();
}

Result<std::string> word(const json& object, const char* name) {
    const json* value = field(object, name);
    if (!value || !value->is_string()) {
        return refuse(text("\"%s\" is missing or not a text", name));
    }
    return value->get<std::string>();
}

Result<Wish> parse_wish(const json& object) {
    if (!object.is_object()) return refuse("an extent is not an object");
    auto serial = number(object, "serial"), dpa = number(object, "dpa"),
         len = number(object, "len");
    auto grant = word(object, "grant"), use = word(object, "use"), want = word(object, "want");
    for (auto* one : {&serial, &dpa, &len}) {
        if (!*one) return std::unexpected(one->error());
    }
    for (auto* one : {&grant, &use, &want}) {
        if (!*one) return std::unexpected(one->error());
    }
    if (*len == 0 || *dpa + *len < *dpa) return refuse("an extent has an impossible length");
    Wish wish{Key{*serial, *dpa, *len}, tame(*grant, 64), Use::ram, Want::plugged};
    if (*use == "dax")
        wish.use = Use::dax;
    else if (*use != "ram")
        return refuse(text("the use \"%s\" is unknown", tame(*use, 40).c_str()));
    if (*want == "unplugged")
        wish.want = Want::unplugged;
    else if (*want != "plugged") {
        return refuse(text("the want \"%s\" is unknown", tame(*want, 40).c_str()));
    }
    return wish;
}

}  // namespace

Result<Desired> parse_desired(const std::string& body) {
    json root = json::parse(body, nullptr, false);
    if (root.is_discarded() || !root.is_object()) {
        return refuse(text("it is not JSON: \"%s\"", tame(body, 60).c_str()));
    }
    auto rev = number(root, "rev");
    if (!rev) return std::unexpected(rev.error());
    const json* list = field(root, "extents");
    if (!list || !list->is_array()) return refuse("\"extents\" is missing or not a list");
    if (list->size() > wish_limit) {
        return refuse(text("it has %zu extents, more than %zu", list->size(), wish_limit));
    }
    Desired desired{*rev, {}};
    std::set<Key> known;
    for (const json& object : *list) {
        auto wish = parse_wish(object);
        if (!wish) return std::unexpected(wish.error());
        if (!known.insert(wish->key).second) {
            return refuse(describe(wish->key) + " is listed twice");
        }
        desired.wishes.push_back(std::move(*wish));
    }
    return desired;
}

}  // namespace poold
