// SPDX-License-Identifier: Apache-2.0
// Errors of the library's inside: a positive errno and one sentence that names the object. They
// become (negative errno, thread-local sentence) at the C face and nowhere else.
#pragma once

#include <cerrno>
#include <cstdarg>
#include <expected>
#include <string>

namespace libpool {

struct Error {
    int code;              // positive errno
    std::string sentence;  // what, which object, what to do
};

template <typename T>
using Result = std::expected<T, Error>;

// printf into a string. Not std::format: g++ 12 has none, and the library links nothing but
// libnuma.
[[gnu::format(printf, 1, 2)]] std::string text(const char* format, ...);

// An Error to return: fail(EINVAL, "size 0 …").
[[gnu::format(printf, 2, 3)]] std::unexpected<Error> fail(int code, const char* format, ...);

// "Operation not permitted": what strerror says, without its static buffer.
std::string errno_text(int code);

}  // namespace libpool
