// SPDX-License-Identifier: Apache-2.0
#include "tier/maps.h"

#include <fcntl.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>

#include "tier/descriptor.h"
#include "uapi.h"

namespace libpool::tier {

namespace {

// A number up to `stop`, which is taken too.
bool take_number(std::string_view& line, int base, char stop, uint64_t& value) {
    auto [end, error] = std::from_chars(line.data(), line.data() + line.size(), value, base);
    size_t length = size_t(end - line.data());
    if (error != std::errc() || length == 0) return false;
    if (length == line.size()) {
        line = {};
        return stop == ' ';  // the line may end where a space may follow
    }
    if (line[length] != stop) return false;
    line.remove_prefix(length + 1);
    return true;
}

bool take_permissions(std::string_view& line, Mapping& mapping) {
    if (line.size() < 5 || line[4] != ' ') return false;
    constexpr std::string_view letters = "rwxs";
    bool* flags[] = {&mapping.readable, &mapping.writable, &mapping.executable, &mapping.shared};
    for (size_t i = 0; i < 4; ++i) {
        if (line[i] != letters[i] && line[i] != (i == 3 ? 'p' : '-')) return false;
        *flags[i] = line[i] == letters[i];
    }
    line.remove_prefix(5);
    return true;
}

}  // namespace

bool parse_mapping(std::string_view line, Mapping& mapping) {
    mapping = {};
    uint64_t ignored = 0;
    if (!take_number(line, 16, '-', mapping.start) || !take_number(line, 16, ' ', mapping.end) ||
        !take_permissions(line, mapping) || !take_number(line, 16, ' ', ignored) ||
        !take_number(line, 16, ':', ignored) || !take_number(line, 16, ' ', ignored) ||
        !take_number(line, 10, ' ', mapping.inode)) {
        return false;
    }
    line.remove_prefix(std::min(line.find_first_not_of(' '), line.size()));
    mapping.name = line;
    return mapping.start < mapping.end && mapping.start % page_bytes == 0 &&
           mapping.end % page_bytes == 0;
}

std::vector<Mapping> parse_mappings(std::string_view text) {
    std::vector<Mapping> mappings;
    uint64_t after = 0;
    while (!text.empty()) {
        size_t length = std::min(text.find('\n'), text.size());
        Mapping mapping;
        if (parse_mapping(text.substr(0, length), mapping) && mapping.start >= after) {
            after = mapping.end;
            mappings.push_back(std::move(mapping));
        }
        text.remove_prefix(std::min(length + 1, text.size()));
    }
    return mappings;
}

Result<std::vector<Mapping>> read_mappings(pid_t pid) {
    std::string path = pid ? text("/proc/%d/maps", int(pid)) : "/proc/thread-self/maps";
    Descriptor file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!file) {
        int code = errno == ENOENT ? ESRCH : errno;
        return fail(code, "%s: %s", path.c_str(), errno_text(code).c_str());
    }
    std::string content;
    for (;;) {
        size_t filled = content.size();
        content.resize(filled + 65536);
        ssize_t got = 0;
        do got = read(file.get(), content.data() + filled, 65536);
        while (got < 0 && errno == EINTR);
        if (got < 0) return fail(errno, "%s: %s", path.c_str(), errno_text(errno).c_str());
        content.resize(filled + size_t(got));
        if (got == 0) break;
    }
    return parse_mappings(content);
}

bool is_private_memory(const Mapping& mapping) {
    bool special = mapping.name.starts_with('[') && mapping.name != "[heap]" &&
                   mapping.name != "[stack]" && !mapping.name.starts_with("[anon");
    return mapping.readable && mapping.writable && !mapping.shared && mapping.inode == 0 &&
           !special && !mapping.name.starts_with('/');
}

uint64_t machine_bytes() {
    struct sysinfo now;
    return sysinfo(&now) == 0 ? uint64_t(now.totalram) * now.mem_unit : UINT64_MAX;
}

bool is_sparse(const Mapping& mapping, uint64_t all_bytes) {
    return mapping.bytes() / 4 > all_bytes;
}

}  // namespace libpool::tier
