// SPDX-License-Identifier: Apache-2.0
#include "run/ending.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>

namespace libpool::run {

namespace {

// A look takes some microseconds. Few programs end their first thread, and those soon end.
constexpr double usual_s = 0.5, near_the_end_s = 0.02;

}  // namespace

ThreadCount parse_thread_count(std::string_view line) {
    constexpr int between = 16;  // spaces, from behind the state to before the number of threads
    size_t at = line.rfind(')');
    if (at == line.npos || line.size() < at + 3) return {};
    const char state = line[at + 2];
    at += 3;
    for (int field = 0; field < between && at != line.npos; ++field) at = line.find(' ', at + 1);
    ThreadCount count;
    if (at == line.npos) return {};
    line.remove_prefix(at + 1);
    auto [end, error] = std::from_chars(line.data(), line.data() + line.size(), count.threads);
    if (error != std::errc() || end == line.data() + line.size()) return {};
    const size_t last = line.rfind(' ');
    if (last != line.npos) {
        std::from_chars(line.data() + last + 1, line.data() + line.size(), count.wait_status);
    }
    count.first_ended = state == 'Z' || state == 'X';
    return count;
}

double Ending::look(double now_s) {
    if (now_s < next_s_) return next_s_ - now_s;
    if (!file_) file_ = tier::Descriptor(open("/proc/self/stat", O_RDONLY | O_CLOEXEC));
    // Before the file is read: of ours that end meanwhile it may still count some, none too few.
    const unsigned ours = ours_;
    char line[512];
    const ssize_t got = file_ ? pread(file_.get(), line, sizeof line, 0) : -1;
    const ThreadCount count = parse_thread_count({line, size_t(std::max<ssize_t>(got, 0))});
    // While a thread of the program's lives, or is just being made by one, it is counted.
    if (count.first_ended && count.threads == ours + 1) {
        code_ = count.wait_status >> 8;
        over_ = true;
    }
    next_s_ = now_s + (count.first_ended ? near_the_end_s : usual_s);
    return next_s_ - now_s;
}

}  // namespace libpool::run
