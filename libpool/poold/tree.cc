// SPDX-License-Identifier: Apache-2.0
#include "poold/tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <sstream>

#include "poold/fd.h"

namespace poold {

using libpool::errno_text;

Result<std::string> Tree::read(const std::string& path, size_t limit_bytes) const {
    std::string full = at(path);
    Fd file(open(full.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    if (!file) return fail(errno, "%s: %s", full.c_str(), errno_text(errno).c_str());
    std::string content;
    char part[4096];
    while (true) {
        ssize_t got = ::read(file.get(), part, sizeof part);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return fail(errno, "%s: %s", full.c_str(), errno_text(errno).c_str());
        if (got == 0) break;
        content.append(part, static_cast<size_t>(got));
        if (content.size() > limit_bytes) {
            return fail(EFBIG, "%s is longer than %zu bytes", full.c_str(), limit_bytes);
        }
    }
    content.erase(content.find_last_not_of(" \t\r\n") + 1);
    return content;
}

std::string Tree::read_or_empty(const std::string& path) const {
    auto content = read(path);
    return content ? *content : "";
}

Result<void> Tree::write(const std::string& path, const std::string& content) const {
    std::string full = at(path);
    Fd file(open(full.c_str(), O_WRONLY | O_CLOEXEC));
    if (!file) return fail(errno, "%s: %s", full.c_str(), errno_text(errno).c_str());
    ssize_t put = ::write(file.get(), content.data(), content.size());
    if (put < 0) {
        int code = errno;
        return fail(code, "%s refused \"%s\": %s", full.c_str(), tame(content).c_str(),
                    errno_text(code).c_str());
    }
    if (static_cast<size_t>(put) != content.size()) {
        return fail(EIO, "%s took %zd of %zu bytes", full.c_str(), put, content.size());
    }
    return {};
}

std::vector<std::string> Tree::list(const std::string& path) const {
    std::vector<std::string> names;
    DIR* folder = opendir(at(path).c_str());
    if (!folder) return names;
    while (dirent* entry = readdir(folder)) {
        std::string name = entry->d_name;
        if (name != "." && name != "..") names.push_back(std::move(name));
        if (names.size() >= list_limit) break;
    }
    closedir(folder);
    std::sort(names.begin(), names.end());
    return names;
}

std::string Tree::link_name(const std::string& path) const {
    char target[4096];
    ssize_t length = readlink(at(path).c_str(), target, sizeof target);
    if (length <= 0) return "";
    std::string whole(target, static_cast<size_t>(length));
    return whole.substr(whole.rfind('/') + 1);
}

bool Tree::exists(const std::string& path) const {
    struct stat info;
    return stat(at(path).c_str(), &info) == 0;
}

namespace {
Result<uint64_t> parse_base(std::string_view word, int base) {
    uint64_t value = 0;
    auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value, base);
    if (word.empty() || error != std::errc() || end != word.data() + word.size()) {
        return fail(EINVAL, "\"%s\" is not a number", tame(word, 40).c_str());
    }
    return value;
}
}  // namespace

Result<uint64_t> parse_number(std::string_view word) {
    if (word.starts_with("0x")) return parse_base(word.substr(2), 16);
    return parse_base(word, 10);
}

Result<uint64_t> parse_hex(std::string_view word) { return parse_base(word, 16); }

std::vector<std::string> words_of(const std::string& content) {
    std::istringstream stream(content);
    std::vector<std::string> words;
    std::string word;
    while (stream >> word) words.push_back(word);
    return words;
}

std::vector<std::string> lines_of(const std::string& content) {
    std::istringstream stream(content);
    std::vector<std::string> lines;
    std::string line;
    while (std::getline(stream, line)) lines.push_back(line);
    return lines;
}

std::string tame(std::string_view content, size_t limit_bytes) {
    std::string out;
    for (char c : content.substr(0, limit_bytes)) {
        out += (c >= ' ' && c <= '~') ? c : (c == '\n' || c == '\t') ? ' ' : '?';
    }
    if (content.size() > limit_bytes) out += "...";
    return out;
}

std::string describe_bytes(uint64_t bytes) {
    static constexpr const char* units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    size_t unit = 0;
    uint64_t scale = 1;
    while (unit + 1 < std::size(units) && bytes / scale >= 1024) {
        scale *= 1024;
        ++unit;
    }
    if (bytes % scale == 0) {
        return text("%llu %s", static_cast<unsigned long long>(bytes / scale), units[unit]);
    }
    return text("%.1f %s", static_cast<double>(bytes) / static_cast<double>(scale), units[unit]);
}

}  // namespace poold
