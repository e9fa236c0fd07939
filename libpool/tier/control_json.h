// SPDX-License-Identifier: Apache-2.0
// The words of the control socket: one JSON object a line, both ways.
//
//   request  = { "do": "status" | "benefit" | "descriptor" }
//            | { "do": "explain", "address": N }
//            | { "do": "pages", "first": N, "pages": N, "detail": "rates" | "rates_and_places" }
//            | { "do": "set", "near_limit_bytes": N, "allotted_bytes": N, "cpu_share": X,
//                "move_limit_bytes_per_s": N, "leaving_nodes": [ N … ] }
//   answer   = { "ok": { … } } | { "error": "sentence", "code": errno }
//
// To "descriptor" the answer is {}, and the descriptor comes with its first byte (SCM_RIGHTS).
// Names of members are those of snapshot.h. A reader takes what it knows and checks its type;
// members that are missing keep their defaults, so either side may be older. Nothing here throws
// but std::bad_alloc.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>

#include "tier/snapshot.h"

namespace libpool::tier {

struct AskStatus {};
struct AskBenefit {};
struct AskExplain {
    uint64_t address = 0;
};
struct AskPages {
    uint64_t first = 0, pages = 0;
    Detail detail = Detail::rates;
};
struct AskSet {
    Limits limits;
};
struct AskDescriptor {};
using Request = std::variant<AskStatus, AskBenefit, AskExplain, AskPages, AskSet, AskDescriptor>;

inline constexpr size_t request_limit_bytes = 4096;
// Parsed, an answer can take fifty times its length, and many processes are asked at once: only who
// was asked for pages may tell much.
inline constexpr size_t answer_limit_bytes = 64 << 10;
inline constexpr size_t pages_answer_limit_bytes = 2 << 20;
inline constexpr int depth_limit = 8;  // of objects and lists in each other, both ways

// One line, without its end.
std::string encode_request(const Request& request);
Result<Request> decode_request(std::string_view line);

std::string encode_answer(const Snapshot& snapshot);
std::string encode_answer(const PageAnswer& answer);
std::string encode_answer(const PageSlice& slice);
std::string encode_answer(const std::vector<BenefitStep>& steps);
std::string encode_done();
std::string encode_refusal(const Error& error);

// An {"error": …} becomes that Error.
Result<Snapshot> decode_snapshot(std::string_view line);
Result<PageAnswer> decode_page_answer(std::string_view line);
Result<PageSlice> decode_slice(std::string_view line);
Result<std::vector<BenefitStep>> decode_benefit(std::string_view line);
Result<void> decode_done(std::string_view line);

// The object alone, for --json.
std::string json_of(const Snapshot& snapshot);
std::string json_of(const PageAnswer& answer);

}  // namespace libpool::tier
