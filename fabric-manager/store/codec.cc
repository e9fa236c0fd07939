// SPDX-License-Identifier: Apache-2.0
#include "store/codec.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <type_traits>

#include "json/strict_object.h"

namespace cxlpool {
namespace {

using Json = nlohmann::ordered_json;

// One list of fields a kind, used for both directions: they cannot differ.
template <class R>
constexpr const char* kind_of = nullptr;

// clang-format off
#define CXLPOOL_RECORD(Type, kind, ...)                   \
    template <>                                           \
    constexpr const char* kind_of<Type> = kind;           \
    template <class Fields, class R>                      \
        requires std::is_same_v<std::remove_const_t<R>, Type> \
    void fields(Fields& f, R& r) {                        \
        __VA_ARGS__                                       \
    }

CXLPOOL_RECORD(DeviceAdopted, "device-adopted",
               f("device", r.device); f("serial", r.serial); f("size", r.size);
               f("block", r.block); f("identity", r.identity);)
CXLPOOL_RECORD(HostSeen, "host-seen", f("host", r.host); f("instance", r.instance);)
CXLPOOL_RECORD(HostDead, "host-dead", f("host", r.host); f("instance", r.instance);)
CXLPOOL_RECORD(FenceStarted, "fence-started", f("host", r.host); f("instance", r.instance);)
CXLPOOL_RECORD(GrantCreated, "grant-created",
               f("id", r.id); f("name", r.name); f("hosts", r.hosts); f("use", r.use);
               f("extents", r.extents);)
CXLPOOL_RECORD(OfferStarted, "offer-started",
               f("id", r.id); f("host", r.host); f("device", r.device);)
CXLPOOL_RECORD(OfferTaken, "offer-taken",
               f("id", r.id); f("host", r.host); f("device", r.device);)
CXLPOOL_RECORD(OfferAccepted, "offer-accepted",
               f("id", r.id); f("host", r.host); f("device", r.device);)
CXLPOOL_RECORD(GrantActive, "grant-active", f("id", r.id);)
CXLPOOL_RECORD(GrantReleased, "grant-released", f("id", r.id);)
CXLPOOL_RECORD(ReturnStarted, "return-started",
               f("id", r.id); f("host", r.host); f("device", r.device);)
CXLPOOL_RECORD(Returned, "returned", f("id", r.id); f("host", r.host); f("device", r.device);)
CXLPOOL_RECORD(GrantFailed, "grant-failed", f("id", r.id); f("reason", r.reason);)
CXLPOOL_RECORD(GrantGone, "grant-gone", f("id", r.id);)
CXLPOOL_RECORD(ScrubStarted, "scrub-started", f("extent", r.extent);)
CXLPOOL_RECORD(ScrubDone, "scrub-done", f("extent", r.extent); f("bytes_read", r.bytes_read);)
CXLPOOL_RECORD(ForeignSeen, "foreign-seen", f("host", r.host); f("extent", r.extent);)
#undef CXLPOOL_RECORD
// clang-format on

// ---- writing ----

Json to_json(const std::string& text) { return text; }
Json to_json(std::uint64_t number) { return number; }
Json to_json(Use use) { return use == Use::ram ? "ram" : "dax"; }

template <class Tag>
Json to_json(const Name<Tag>& name) {
    return name.text;
}

template <class Tag>
Json to_json(const Number<Tag>& number) {
    return number.value;
}

Json to_json(const Extent& extent) {
    return {
        {"device", extent.device.text}, {"dpa", extent.range.dpa}, {"length", extent.range.length}};
}

template <class T>
Json to_json(const std::vector<T>& list) {
    Json array = Json::array();
    for (const T& element : list) array.push_back(to_json(element));
    return array;
}

struct Writer {
    Json& out;

    template <class T>
    void operator()(const char* key, const T& value) {
        out[key] = to_json(value);
    }
};

// ---- reading ----

void read(StrictObject& from, const char* key, std::string& out) { from.read(key, out); }
void read(StrictObject& from, const char* key, std::uint64_t& out) { from.read(key, out); }

template <class Tag>
void read(StrictObject& from, const char* key, Name<Tag>& out) {
    from.read(key, out.text);
}

template <class Tag>
void read(StrictObject& from, const char* key, Number<Tag>& out) {
    from.read(key, out.value);
}

void read(StrictObject& from, const char* key, Use& out) {
    std::string word;
    from.read(key, word);
    if (word == "ram") {
        out = Use::ram;
    } else if (word == "dax") {
        out = Use::dax;
    } else {
        from.report(from.path_to(key), fmt::format("is '{}', not 'ram' or 'dax'", word));
    }
}

void read_element(const nlohmann::json& value, const std::string& path, std::string& error,
                  Extent& out) {
    StrictObject object(value, path, error);
    object.read("device", out.device.text);
    object.read("dpa", out.range.dpa);
    object.read("length", out.range.length);
    if (out.range.end() < out.range.dpa) object.report(path + ".length", "reaches past 2^64");
    object.finish();
}

void read_element(const nlohmann::json& value, const std::string& path, std::string& error,
                  HostName& out) {
    if (value.is_string()) {
        out.text = value.get<std::string>();
    } else if (error.empty()) {
        error = path + " is not a string";
    }
}

struct Reader {
    StrictObject& from;
    std::string& error;

    template <class T>
    void operator()(const char* key, T& out) {
        read(from, key, out);
    }

    template <class T>
    void operator()(const char* key, std::vector<T>& out) {
        from.read_array(key, [&](const nlohmann::json& element, const std::string& path) {
            read_element(element, path, error, out.emplace_back());
        });
    }

    void operator()(const char* key, Extent& out) {
        from.read_value(key, [&](const nlohmann::json& value, const std::string& path) {
            read_element(value, path, error, out);
        });
    }
};

template <std::size_t... I>
bool read_body(const std::string& kind, RecordBody& body, Reader reader,
               std::index_sequence<I...>) {
    const auto try_kind = [&](auto fresh) {
        if (kind != kind_of<decltype(fresh)>) return false;
        fields(reader, fresh);
        body = std::move(fresh);
        return true;
    };
    return (try_kind(std::variant_alternative_t<I, RecordBody>{}) || ...);
}

}  // namespace

std::string encode(const Record& record) {
    Json out;
    out["seq"] = record.seq.value;
    out["time_us"] = record.time_us;
    std::visit(
        [&](const auto& body) {
            out["kind"] = kind_of<std::decay_t<decltype(body)>>;
            Writer writer{out};
            fields(writer, body);
        },
        record.body);
    return out.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Result<Record> decode(Seq seq, std::string_view text) {
    const auto refuse = [&](const std::string& why) {
        return fail(Code::storage,
                    fmt::format("record {} of the journal cannot be read: {}", seq.value, why));
    };
    const nlohmann::json document = nlohmann::json::parse(text, nullptr, false);
    if (document.is_discarded()) return refuse("it is not JSON");

    Record record;
    std::string error;
    StrictObject object(document, "", error);
    std::string kind;
    object.read("seq", record.seq.value);
    object.read("time_us", record.time_us);
    object.read("kind", kind);
    if (!error.empty()) return refuse(error);
    if (record.seq != seq)
        return refuse(fmt::format("it says that it is record {}", record.seq.value));

    constexpr auto kinds = std::make_index_sequence<std::variant_size_v<RecordBody>>{};
    if (!read_body(kind, record.body, Reader{object, error}, kinds)) {
        return refuse(fmt::format("its kind '{}' is not known to this version", kind));
    }
    object.finish();
    if (!error.empty()) return refuse(error);
    return record;
}

}  // namespace cxlpool
