// SPDX-License-Identifier: Apache-2.0
// Result<T>: a value or an Error. Operator and world errors are values with one sentence that names
// the object and the numbers; programmer errors assert (CHECK), in release builds too.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <expected>
#include <string>
#include <utility>

namespace cxlpool {

// Why something was not done. One table maps a code to HTTP status and exit code (describe.h).
enum class Code {
    invalid,    // the request can never be right: bad size, bad name, unknown key
    not_found,  // names an object that does not exist
    conflict,   // the object exists but is in a state that forbids this; a name taken twice
    no_space,   // right, but the pool has not enough free capacity
    not_ready,  // the host cannot take it now: silent, no driver, fenced
    denied,     // the caller may not
    fabric,     // a device, a host or the backend failed
    timeout,    // the wait ended, the claim did not
    storage,    // the journal could not be written or read
};

struct Error {
    Code code = Code::invalid;
    std::string message;  // one sentence, no trailing newline

    friend bool operator==(const Error&, const Error&) = default;
};

template <class T>
using Result = std::expected<T, Error>;

inline std::unexpected<Error> fail(Code code, std::string message) {
    return std::unexpected<Error>(Error{code, std::move(message)});
}

}  // namespace cxlpool

// A broken invariant is a bug: stop before it reaches a device or the journal.
#define CXLPOOL_CHECK(condition)                                                                   \
    do {                                                                                           \
        if (!(condition)) [[unlikely]] {                                                           \
            std::fprintf(stderr, "%s:%d: broken invariant: %s\n", __FILE__, __LINE__, #condition); \
            std::abort();                                                                          \
        }                                                                                          \
    } while (false)
