// SPDX-License-Identifier: Apache-2.0
#include "tier/control_json.h"

#include <algorithm>
#include <climits>
#include <cmath>
#include <nlohmann/json.hpp>

namespace libpool::tier {

namespace {

using nlohmann::json;

constexpr size_t list_limit = 4096;
constexpr size_t string_limit_bytes = 4096;

constexpr const char* place_names[] = {"nowhere", "near", "far"};
constexpr const char* hint_names[] = {"none", "hot", "cold", "pinned_near", "stream"};
constexpr const char* detail_names[] = {"rates", "rates_and_places"};
constexpr const char* split_names[] = {"whole", "trial", "worthless", "worth"};
constexpr const char* state_names[] = {"tiered", "untiered"};

// Each struct lists its members once, for both directions.
template <typename V>
void members(V& v, Refusal& x) {
    v("sampler", x.sampler);
    v("why", x.why);
}

template <typename V>
void members(V& v, MoveFailure& x) {
    v("code", x.code);
    v("pages", x.pages);
}

template <typename V>
void members(V& v, BenefitStep& x) {
    v("pages", x.pages);
    v("rate", x.rate);
}

template <typename V>
void members(V& v, BankStatus& x) {
    v("allowance_s", x.allowance_s);
    v("allowance_bytes", x.allowance_bytes);
    v("earned_s", x.earned_s);
    v("lost_s", x.lost_s);
    v("spent_s", x.spent_s);
    v("margin_s", x.margin_s);
    v("unused_s", x.unused_s);
    v("unnoticed_s", x.unnoticed_s);
    v("reserve_s", x.reserve_s);
    v("balance_s", x.balance_s);
    v("resolved_rate", x.resolved_rate);
    v("guests", x.guests);
    v("exiles", x.exiles);
    v("returned_pages", x.returned_pages);
}

template <typename V>
void members(V& v, SplitStatus& x) {
    v("state", x.state, split_names);
    v("huge_blocks", x.huge_blocks);
    v("asked_blocks", x.asked_blocks);
    v("parts_share", x.parts_share);
    v("whole_share", x.whole_share);
}

template <typename V>
void members(V& v, TierStatus& x) {
    v("bank", x.bank);
    v("near_pages", x.near_pages);
    v("far_pages", x.far_pages);
    v("near_share", x.near_share);
    v("near_share_low", x.near_share_low);
    v("near_share_high", x.near_share_high);
    v("touches_per_s", x.touches_per_s);
    v("boundary_rate", x.boundary_rate);
    v("cycles", x.cycles);
    v("changes", x.changes);
    v("contested_blocks", x.contested_blocks);
    v("blocks", x.blocks);
    v("busy", x.busy);
    v("split", x.split);
    v("memory_bytes", x.memory_bytes);
}

template <typename V>
void members(V& v, Snapshot& x) {
    v("pid", x.pid);
    v("target", x.target);
    v("program", x.program);
    v("tenant", x.tenant);
    v("state", x.state, state_names);
    v("sentence", x.sentence);
    v("uptime_s", x.uptime_s);
    v("sampler", x.sampler);
    v("sampler_describes", x.sampler_describes);
    v("writes_only", x.writes_only);
    v("refused", x.refused);
    v("near_nodes", x.near_nodes);
    v("far_nodes", x.far_nodes);
    v("tracked_bytes", x.tracked_bytes);
    v("near_bytes", x.near_bytes);
    v("far_bytes", x.far_bytes);
    v("near_limit_bytes", x.near_limit_bytes);
    v("allotted_bytes", x.allotted_bytes);
    v("near_room_bytes", x.near_room_bytes);
    v("cpu_share", x.cpu_share);
    v("move_limit_bytes_per_s", x.move_limit_bytes_per_s);
    v("numa_balancing", x.numa_balancing);
    v("promoted_pages", x.promoted_pages);
    v("demoted_pages", x.demoted_pages);
    v("failed_pages", x.failed_pages);
    v("moved_bytes", x.moved_bytes);
    v("failures", x.failures);
    v("split_blocks", x.split_blocks);
    v("unsplit_blocks", x.unsplit_blocks);
    v("split_s", x.split_s);
    v("split_note", x.split_note);
    v("overhead_cpu_s", x.overhead_cpu_s);
    v("moving_s", x.moving_s);
    v("program_cpu_s", x.program_cpu_s);
    v("overhead_share", x.overhead_share);
    v("loss_ns", x.loss_ns);
    v("move_ns", x.move_ns);
    v("delta", x.delta);
    v("policy", x.policy);
    v("ranges", x.ranges);
}

template <typename V>
void members(V& v, Explanation& x) {
    v("place", x.place, place_names);
    v("baseline", x.baseline, place_names);
    v("hint", x.hint, hint_names);
    v("huge", x.huge);
    v("rate_low", x.rate_low);
    v("rate", x.rate);
    v("rate_high", x.rate_high);
    v("admission_rate", x.admission_rate);
    v("boundary_rate", x.boundary_rate);
    v("victim_rate_high", x.victim_rate_high);
    v("stay_s", x.stay_s);
    v("credit_share", x.credit_share);
    v("bank_balance_s", x.bank_balance_s);
    v("verdict", x.verdict);
}

template <typename V>
void members(V& v, PageAnswer& x) {
    v("target", x.target);
    v("address", x.address);
    v("range", x.range);
    v("node", x.node);
    v("loss_ns", x.loss_ns);
    v("move_ns", x.move_ns);
    v("explanation", x.explanation);
}

template <typename V>
void members(V& v, PageRange& x) {
    v("first", x.first);
    v("start", x.start);
    v("pages", x.pages);
}

// Places travel as text, "nfff-": a character a page.
template <typename V>
void members(V& v, PageSlice& x) {
    v("total_pages", x.total_pages);
    v("first", x.first);
    v("rates", x.rates);
    v("places", x.places);
    v("ranges", x.ranges);
}

template <typename V>
void members(V& v, Limits& x) {
    v("near_limit_bytes", x.near_limit_bytes);
    v("allotted_bytes", x.allotted_bytes);
    v("cpu_share", x.cpu_share);
    v("move_limit_bytes_per_s", x.move_limit_bytes_per_s);
    v("leaving_nodes", x.leaving_nodes);
}

// What a request may hold besides "do".
template <typename V>
void members(V& v, AskExplain& x) {
    v("address", x.address);
}
template <typename V>
void members(V& v, AskPages& x) {
    v("first", x.first);
    v("pages", x.pages);
    v("detail", x.detail, detail_names);
}
template <typename V>
void members(V& v, AskSet& x) {
    members(v, x.limits);
}
template <typename V>
void members(V&, AskStatus&) {}
template <typename V>
void members(V&, AskBenefit&) {}
template <typename V>
void members(V&, AskDescriptor&) {}

struct Benefit {
    std::vector<BenefitStep> steps;
};
template <typename V>
void members(V& v, Benefit& x) {
    v("steps", x.steps);
}

class Writer {
  public:
    explicit Writer(json& out) : out_(out) { out_ = json::object(); }

    template <typename T>
    void operator()(const char* name, const T& value) {
        out_[name] = form(value);
    }
    template <typename T>
    void operator()(const char* name, const std::optional<T>& value) {
        if (value) out_[name] = form(*value);
    }
    template <typename E, size_t n>
    void operator()(const char* name, E value, const char* const (&names)[n]) {
        out_[name] = names[std::min(static_cast<size_t>(value), n - 1)];
    }

  private:
    template <typename T>
    static json form(const T& value) {
        if constexpr (std::is_arithmetic_v<T> || std::is_same_v<T, std::string>) {
            return value;
        } else {
            json out;
            Writer writer(out);
            members(writer, const_cast<T&>(value));  // a writer only reads
            return out;
        }
    }
    template <typename T>
    static json form(const std::vector<T>& values) {
        json out = json::array();
        for (const T& value : values) out.push_back(form(value));
        return out;
    }
    static json form(const std::vector<float>& rates) {
        json out = json::array();
        // Three digits are more than an estimate deserves, and keep the line short.
        for (float rate : rates) {
            double scale = rate > 0 ? std::pow(10, 2 - std::floor(std::log10(rate))) : 1;
            double short_rate = std::round(rate * scale) / scale;
            out.push_back(rate > 0 && std::isfinite(short_rate) ? json(short_rate) : json(0));
        }
        return out;
    }
    static json form(const std::vector<Place>& places) {
        std::string out;
        for (Place place : places) {
            out += place == Place::near ? 'n' : place == Place::far ? 'f' : '-';
        }
        return out;
    }
    json& out_;
};

class Reader {
  public:
    Reader(const json& in, std::string& trouble) : in_(in), trouble_(trouble) {
        if (!in_.is_object()) complain("the answer");
    }

    template <typename T>
    void operator()(const char* name, T& value) {
        if (const json* member = find(name)) take(name, *member, value);
    }
    template <typename T>
    void operator()(const char* name, std::optional<T>& value) {
        if (const json* member = find(name)) take(name, *member, value.emplace());
    }
    template <typename E, size_t n>
    void operator()(const char* name, E& value, const char* const (&names)[n]) {
        const json* member = find(name);
        if (!member) return;
        for (size_t i = 0; i < n; ++i) {
            if (*member == names[i]) {
                value = static_cast<E>(i);
                return;
            }
        }
        complain(name);
    }

  private:
    const json* find(const char* name) const {
        if (!in_.is_object()) return nullptr;
        auto at = in_.find(name);
        return at == in_.end() ? nullptr : &*at;
    }
    void complain(const char* name) {
        if (trouble_.empty()) trouble_ = name;
    }
    void take(const char* name, const json& in, uint64_t& value) {
        in.is_number_unsigned() ? void(value = in.get<uint64_t>()) : complain(name);
    }
    void take(const char* name, const json& in, int& value) {
        bool fits =
            in.is_number_integer() && !(in.is_number_unsigned() && in > INT_MAX) && in >= INT_MIN;
        fits ? void(value = in.get<int>()) : complain(name);
    }
    void take(const char* name, const json& in, double& value) {
        if (in.is_null())
            value = NAN;  // JSON has no infinity
        else if (in.is_number())
            value = in.get<double>();
        else
            complain(name);
    }
    void take(const char* name, const json& in, bool& value) {
        in.is_boolean() ? void(value = in.get<bool>()) : complain(name);
    }
    void take(const char* name, const json& in, std::string& value) {
        if (!in.is_string()) return complain(name);
        value = in.get_ref<const std::string&>().substr(0, string_limit_bytes);
    }
    template <typename T>
    void take(const char* name, const json& in, std::vector<T>& values) {
        if (!in.is_array() || in.size() > list_limit) return complain(name);
        values.clear();
        for (const json& one : in) take(name, one, values.emplace_back());
    }
    void take(const char* name, const json& in, std::vector<float>& rates) {
        if (!in.is_array() || in.size() > slice_limit_pages) return complain(name);
        rates.clear();
        for (const json& one : in) {
            double rate = 0;
            take(name, one, rate);
            rates.push_back(
                std::isfinite(rate) && rate >= 0 && rate < 1e30f ? static_cast<float>(rate) : 0);
        }
    }
    void take(const char* name, const json& in, std::vector<Place>& places) {
        if (!in.is_string() || in.get_ref<const std::string&>().size() > slice_limit_pages) {
            return complain(name);
        }
        places.clear();
        for (char c : in.get_ref<const std::string&>()) {
            places.push_back(c == 'n' ? Place::near : c == 'f' ? Place::far : Place::nowhere);
        }
    }
    template <typename T>
    requires std::is_class_v<T>
    void take(const char*, const json& in, T& value) {
        Reader reader(in, trouble_);
        members(reader, value);
    }
    const json& in_;
    std::string& trouble_;
};

// Ill-formed UTF-8 (the name of a program, say) is replaced, not thrown at.
std::string line_of(const json& object) {
    return object.dump(-1, ' ', false, json::error_handler_t::replace);
}

template <typename T>
json object_of(const T& value) {
    json out;
    Writer writer(out);
    members(writer, const_cast<T&>(value));
    return out;
}

template <typename T>
std::string answer_of(const T& value) {
    json out = json::object();
    out["ok"] = object_of(value);
    return line_of(out);
}

// Nothing said here is, and each level would cost the parser a hundred times the one byte that
// opens it. As far as the line is JSON at all: behind the first mistake the parser reads no
// further.
bool too_deep(std::string_view line) {
    int depth = 0;
    bool in_string = false;
    for (size_t i = 0; i < line.size(); ++i) {
        const char c = line[i];
        if (c == '"') {
            in_string = !in_string;
        } else if (in_string) {
            i += c == '\\';  // with what it escapes
        } else if (c == '[' || c == '{') {
            if (++depth > depth_limit) return true;
        } else if (c == ']' || c == '}') {
            --depth;
        }
    }
    return false;
}

// The "ok" of an answer.
Result<json> opened(std::string_view line) {
    if (too_deep(line)) {
        return fail(EPROTO, "the answer is nested deeper than %d levels", depth_limit);
    }
    json answer = json::parse(line, nullptr, false);
    if (answer.is_discarded() || !answer.is_object()) {
        return fail(EPROTO, "the answer is no JSON object");
    }
    if (auto error = answer.find("error"); error != answer.end() && error->is_string()) {
        auto code = answer.find("code");
        bool known =
            code != answer.end() && code->is_number_unsigned() && *code > 0 && *code < 4096;
        return std::unexpected(Error{known ? code->get<int>() : EPROTO,
                                     error->get<std::string>().substr(0, string_limit_bytes)});
    }
    auto ok = answer.find("ok");
    if (ok == answer.end()) return fail(EPROTO, "the answer holds neither ok nor error");
    return std::move(*ok);
}

template <typename T>
Result<T> read_as(const json& object) {
    T value{};
    std::string trouble;
    Reader reader(object, trouble);
    members(reader, value);
    if (!trouble.empty()) {
        return fail(EPROTO, "\"%s\" is not of the form that was expected", trouble.c_str());
    }
    return value;
}

template <typename T>
Result<T> decode_as(std::string_view line) {
    auto object = opened(line);
    if (!object) return std::unexpected(std::move(object.error()));
    return read_as<T>(*object);
}

constexpr const char* verb_names[] = {"status", "benefit", "explain", "pages", "set", "descriptor"};

template <typename T>
Result<Request> read_request(const json& object) {
    auto request = read_as<T>(object);
    if (!request) return std::unexpected(std::move(request.error()));
    json known = object_of(*request);
    for (const auto& [name, value] : object.items()) {
        if (name != "do" && !known.contains(name)) {
            return fail(EINVAL, "the request has a member that is not known here");
        }
    }
    return *request;
}

Result<void> check_limits(const Limits& limits) {
    if (!limits.near_limit_bytes && !limits.allotted_bytes && !limits.cpu_share &&
        !limits.move_limit_bytes_per_s && !limits.leaving_nodes) {
        return fail(EINVAL, "set names nothing to set");
    }
    if (limits.cpu_share && !(*limits.cpu_share >= 1e-4 && *limits.cpu_share <= 0.5)) {
        return fail(EINVAL, "cpu_share %g is not within 0.0001 and 0.5", *limits.cpu_share);
    }
    return {};
}

}  // namespace

std::string encode_request(const Request& request) {
    json out = std::visit([](const auto& one) { return object_of(one); }, request);
    out["do"] = verb_names[request.index()];
    return line_of(out);
}

Result<Request> decode_request(std::string_view line) {
    if (too_deep(line)) {
        return fail(EINVAL, "the request is nested deeper than %d levels", depth_limit);
    }
    json object = json::parse(line, nullptr, false);
    if (object.is_discarded() || !object.is_object()) {
        return fail(EINVAL, "the request is no JSON object");
    }
    auto verb = object.find("do");
    if (verb == object.end() || !verb->is_string()) {
        return fail(EINVAL, "the request does not say what to do");
    }
    if (*verb == "status") return read_request<AskStatus>(object);
    if (*verb == "benefit") return read_request<AskBenefit>(object);
    if (*verb == "descriptor") return read_request<AskDescriptor>(object);
    if (*verb == "explain") {
        if (!object.contains("address")) return fail(EINVAL, "explain needs an address");
        return read_request<AskExplain>(object);
    }
    if (*verb == "pages") {
        auto request = read_request<AskPages>(object);
        if (!request) return request;
        auto [first, pages, detail] = std::get<AskPages>(*request);
        if (pages == 0 || pages > slice_limit_pages || first > UINT32_MAX) {
            return fail(EINVAL, "pages takes 1 to %llu of them",
                        static_cast<unsigned long long>(slice_limit_pages));
        }
        return request;
    }
    if (*verb == "set") {
        auto request = read_request<AskSet>(object);
        if (!request) return request;
        auto checked = check_limits(std::get<AskSet>(*request).limits);
        if (!checked) return std::unexpected(checked.error());
        return request;
    }
    return fail(EINVAL, "the request asks for something that is not known here");
}

std::string encode_answer(const Snapshot& snapshot) { return answer_of(snapshot); }
std::string encode_answer(const PageAnswer& answer) { return answer_of(answer); }
std::string encode_answer(const PageSlice& slice) { return answer_of(slice); }

std::string encode_answer(const std::vector<BenefitStep>& steps) {
    return answer_of(Benefit{steps});
}

std::string encode_done() { return "{\"ok\":{}}"; }

std::string encode_refusal(const Error& error) {
    return line_of(json{{"error", error.sentence}, {"code", error.code}});
}

Result<Snapshot> decode_snapshot(std::string_view line) { return decode_as<Snapshot>(line); }
Result<PageAnswer> decode_page_answer(std::string_view line) { return decode_as<PageAnswer>(line); }

Result<PageSlice> decode_slice(std::string_view line) {
    auto slice = decode_as<PageSlice>(line);
    if (slice && !slice->places.empty() && slice->rates.size() != slice->places.size()) {
        return fail(EPROTO, "the answer has %zu rates and %zu places", slice->rates.size(),
                    slice->places.size());
    }
    return slice;
}

Result<std::vector<BenefitStep>> decode_benefit(std::string_view line) {
    auto benefit = decode_as<Benefit>(line);
    if (!benefit) return std::unexpected(std::move(benefit.error()));
    return std::move(benefit->steps);
}

Result<void> decode_done(std::string_view line) {
    auto object = opened(line);
    if (!object) return std::unexpected(std::move(object.error()));
    return {};
}

std::string json_of(const Snapshot& snapshot) { return line_of(object_of(snapshot)); }
std::string json_of(const PageAnswer& answer) { return line_of(object_of(answer)); }

}  // namespace libpool::tier
