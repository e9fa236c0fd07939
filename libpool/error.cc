// SPDX-License-Identifier: Apache-2.0
#include "error.h"

#include <cstdio>
#include <cstring>

namespace libpool {

namespace {
std::string vtext(const char* format, va_list args) {
    va_list again;
    va_copy(again, args);
    int length = std::vsnprintf(nullptr, 0, format, args);
    std::string out(length > 0 ? static_cast<size_t>(length) : 0, '\0');
    std::vsnprintf(out.data(), out.size() + 1, format, again);
    va_end(again);
    return out;
}
}  // namespace

std::string text(const char* format, ...) {
    va_list args;
    va_start(args, format);
    std::string out = vtext(format, args);
    va_end(args);
    return out;
}

std::unexpected<Error> fail(int code, const char* format, ...) {
    va_list args;
    va_start(args, format);
    std::string sentence = vtext(format, args);
    va_end(args);
    return std::unexpected(Error{code, std::move(sentence)});
}

std::string errno_text(int code) {
    const char* description = strerrordesc_np(code);
    return description ? description : text("error %d", code);
}

}  // namespace libpool
