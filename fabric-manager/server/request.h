// SPDX-License-Identifier: Apache-2.0
// An HTTP request and answer as plain values: what the routers (api, host_api) see of HTTP.
#pragma once

#include <expected>
#include <string>
#include <utility>
#include <vector>

#include "core/describe.h"
#include "core/result.h"
#include "server/wire.h"

namespace cxlpool {

struct Request {
    std::string method;  // "GET"
    std::string target;  // "/v1/grants/g1?dry_run=1"
    std::string body;
};

struct Response {
    int status = 200;
    std::string body;  // JSON, or empty (204)
};

// Why a request is not carried out. Most codes have one HTTP status; HTTP's own troubles (405, 413,
// …) bring theirs.
struct Refusal {
    int status = 400;
    Error error;
};

inline Refusal refusal(Error error) {
    const int status = http_status(error.code);
    return {status, std::move(error)};
}

inline Response answer(const Refusal& refused) {
    return {refused.status, wire::encode(refused.error)};
}

template <class T>
using Routed = std::expected<T, Refusal>;

// A target split at '/', '?' and '&'. Percent signs are not decoded: nothing that we name has one.
struct Target {
    std::vector<std::string> path;                           // {"v1", "grants", "g1"}
    std::vector<std::pair<std::string, std::string>> query;  // in order, as written
};

Target split_target(const std::string& target);

// Reads the query of one call: every parameter that is there must be asked for, once.
class Query {
  public:
    explicit Query(const Target& target) : query_(target.query) {}

    // The number, or `otherwise` when absent; more than `most` is refused.
    std::uint64_t number(const std::string& key, std::uint64_t otherwise, std::uint64_t most);
    bool flag(const std::string& key);  // 1, true, yes, or the key alone; 0, false, no
    std::string word(const std::string& key, const std::string& otherwise);

    // The first thing wrong, a parameter that nobody asked for included; call last.
    Result<void> finish();

  private:
    const std::string* take(const std::string& key);
    void report(std::string sentence) {
        if (wrong_.empty()) wrong_ = std::move(sentence);
    }

    std::vector<std::pair<std::string, std::string>> query_;
    std::string taken_;
    std::string wrong_;
};

// 404 for a path that nobody serves, 405 when only the method is wrong.
Refusal no_such_call(const Request& request);
Refusal wrong_method(const Request& request, std::string_view allowed);

}  // namespace cxlpool
