// SPDX-License-Identifier: Apache-2.0
#include "pooltrace/trace.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <memory>

namespace libpool::tier::trace {

namespace {

constexpr std::string_view first_line = "pooltrace 1";

// One line of the text after the other, and words of it.
class Lines {
  public:
    explicit Lines(std::string_view text) : rest_(text) {}

    bool next() {
        if (rest_.empty()) return false;
        size_t end = rest_.find('\n');
        line_ = rest_.substr(0, end);
        cut_ = end == std::string_view::npos;
        rest_ = end == std::string_view::npos ? std::string_view{} : rest_.substr(end + 1);
        ++number_;
        return true;
    }
    bool next_but_comments() {
        do {
            if (!next()) return false;
        } while (line_.starts_with('#'));
        return true;
    }
    std::string_view line() const { return line_; }
    bool cut() const { return cut_; }  // this line has no end
    // The next word of this line; empty at its end.
    std::string_view word() {
        size_t from = line_.find_first_not_of(' ');
        if (from == std::string_view::npos) return {};
        size_t end = std::min(line_.find(' ', from), line_.size());
        std::string_view found = line_.substr(from, end - from);
        line_.remove_prefix(end);
        return found;
    }
    std::unexpected<Error> wrong(const std::string& what) const {
        return fail(EINVAL, "line %zu of the trace: %s.", number_, what.c_str());
    }

  private:
    std::string_view rest_, line_;
    size_t number_ = 0;
    bool cut_ = false;
};

// What is shown of text that somebody else wrote.
std::string quoted(std::string_view word) {
    std::string out = "\"";
    for (char c : word.substr(0, 24)) out += c >= ' ' && c <= '~' && c != '"' ? c : '?';
    return out + (word.size() > 24 ? "…\"" : "\"");
}

template <typename T>
bool number(std::string_view word, T& out) {
    auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), out);
    return error == std::errc{} && end == word.data() + word.size();
}

Result<uint64_t> header_number(Lines& lines, std::string_view name, uint64_t most) {
    if (!lines.next_but_comments())
        return lines.wrong(text("the text ends where \"%s N\" must stand", name.data()));
    uint64_t value = 0;
    if (lines.word() != name || !number(lines.word(), value) || !lines.word().empty()) {
        return lines.wrong(text("here must stand \"%s N\"", name.data()));
    }
    if (value == 0 || value > most) {
        return lines.wrong(text("%s is %llu, and can be 1 to %llu", name.data(),
                                static_cast<unsigned long long>(value),
                                static_cast<unsigned long long>(most)));
    }
    return value;
}

// "WORD" or "WORD*REPEAT", which must fit into what is `left`.
Result<uint64_t> repeat_of(const Lines& lines, std::string_view& word, uint64_t left) {
    uint64_t repeat = 1;
    if (size_t star = word.find('*'); star != std::string_view::npos) {
        if (!number(word.substr(star + 1), repeat) || repeat == 0)
            return lines.wrong(quoted(word) + " has a repeat that is no number above 0");
        word = word.substr(0, star);
    }
    if (repeat > left) return lines.wrong("there are more values than pages");
    return repeat;
}

Result<void> parse_home(Lines& lines, Trace& trace) {
    trace.home.reserve(trace.pages);
    for (std::string_view word = lines.word(); !word.empty(); word = lines.word()) {
        std::string_view whole = word;
        auto repeat = repeat_of(lines, word, trace.pages - trace.home.size());
        if (!repeat) return std::unexpected(repeat.error());
        if (word != "n" && word != "f" && word != "-")
            return lines.wrong(quoted(whole) + " is no place (n, f or -)");
        trace.home.insert(trace.home.end(), *repeat,
                          word == "n"   ? Place::near
                          : word == "f" ? Place::far
                                        : Place::nowhere);
    }
    trace.home.resize(trace.pages, Place::nowhere);
    return {};
}

Result<void> parse_epoch(Lines& lines, Trace& trace) {
    size_t from = trace.counts.size();
    trace.counts.resize(from + trace.pages, 0);
    uint64_t at = 0;
    for (std::string_view word = lines.word(); !word.empty(); word = lines.word()) {
        std::string_view whole = word;
        auto repeat = repeat_of(lines, word, trace.pages - at);
        if (!repeat) return std::unexpected(repeat.error());
        uint32_t count = 0;
        if (!number(word, count))
            return lines.wrong(quoted(whole) + " is no count from 0 to 4294967295");
        if (count != 0) std::fill_n(trace.counts.begin() + ptrdiff_t(from + at), *repeat, count);
        at += *repeat;
    }
    return {};
}

// Behind it there may be comments only.
Result<void> parse_end(Lines& lines, Trace& trace) {
    uint64_t epochs = 0;
    if (!number(lines.word(), epochs) || !lines.word().empty())
        return lines.wrong("here must stand \"end N\"");
    if (epochs != trace.epochs()) {
        return lines.wrong(text("there are %zu epochs, and the end says %llu", trace.epochs(),
                                static_cast<unsigned long long>(epochs)));
    }
    if (lines.next_but_comments()) return lines.wrong("the trace goes on behind its end");
    trace.whole = true;
    return {};
}

template <typename T, typename Write>
void print_runs(std::string& out, std::span<const T> values, Write write) {
    for (size_t i = 0; i < values.size();) {
        size_t end = i;
        while (end < values.size() && values[end] == values[i]) ++end;
        out += ' ';
        write(values[i]);
        if (end - i > 1) out += '*' + std::to_string(end - i);
        i = end;
    }
}

}  // namespace

uint64_t Trace::accesses() const {
    uint64_t sum = 0;
    for (uint32_t count : counts) sum += count;
    return sum;
}

std::vector<uint32_t> births(const Trace& trace) {
    uint32_t never = uint32_t(trace.epochs());
    std::vector<uint32_t> born(trace.pages, never);
    size_t unborn = trace.pages;
    for (uint32_t e = 0; e < never && unborn > 0; ++e) {
        std::span<const uint32_t> row = trace.epoch(e);
        for (PageId page = 0; page < trace.pages; ++page) {
            if (born[page] != never || row[page] == 0) continue;
            born[page] = e;
            --unborn;
        }
    }
    return born;
}

Result<Trace> parse(std::string_view text_, const Limits& limits) {
    Lines lines(text_);
    if (!lines.next() || lines.line() != first_line)
        return fail(EINVAL, "line 1 of the trace: here must stand \"pooltrace 1\".");
    Trace trace;
    auto pages = header_number(lines, "pages", limits.pages);
    if (!pages) return std::unexpected(pages.error());
    trace.pages = uint32_t(*pages);
    auto epoch_ns = header_number(lines, "epoch_ns", limits.epoch_ns);
    if (!epoch_ns) return std::unexpected(epoch_ns.error());
    trace.epoch_ns = *epoch_ns;
    trace.whole = false;
    for (bool first = true; lines.next_but_comments(); first = false) {
        std::string_view head = lines.word();
        Result<void> parsed;
        if (head == "end" && trace.epochs() > 0) {
            parsed = parse_end(lines, trace);
            if (!parsed && lines.cut()) break;  // "end 1" of "end 10"
        } else if (lines.cut()) {
            break;  // its last number may be half of one
        } else if (head == "home" && first) {
            parsed = parse_home(lines, trace);
        } else if (head == "epoch") {
            if ((trace.epochs() + 1) * trace.pages > limits.cells) {
                return lines.wrong(text("pages × epochs is above the limit of %llu",
                                        static_cast<unsigned long long>(limits.cells)));
            }
            parsed = parse_epoch(lines, trace);
        } else {
            return lines.wrong(quoted(head) + " is not \"epoch\"");
        }
        if (!parsed) return std::unexpected(parsed.error());
    }
    if (trace.epochs() == 0) return lines.wrong("the trace ends without an epoch");
    return trace;
}

std::string print(const Trace& trace) {
    std::string out = text("pooltrace 1\npages %u\nepoch_ns %llu\n", trace.pages,
                           static_cast<unsigned long long>(trace.epoch_ns));
    if (!trace.home.empty()) {
        out += "home";
        print_runs(out, std::span(trace.home), [&](Place place) {
            out += place == Place::near ? 'n' : place == Place::far ? 'f' : '-';
        });
        out += '\n';
    }
    for (size_t e = 0; e < trace.epochs(); ++e) {
        std::span<const uint32_t> row = trace.epoch(e);
        while (!row.empty() && row.back() == 0) row = row.first(row.size() - 1);
        out += "epoch";
        print_runs(out, row, [&](uint32_t count) { out += std::to_string(count); });
        out += '\n';
    }
    if (trace.whole) out += "end " + std::to_string(trace.epochs()) + "\n";
    return out;
}

std::string cut_off(const Trace& trace, const std::string& path) {
    if (trace.whole) return "";
    return text(
        "%s has no end: it was cut off, or written by a version that wrote none; its first %zu "
        "epochs are taken",
        path.c_str(), trace.epochs());
}

namespace {

using File = std::unique_ptr<FILE, int (*)(FILE*)>;

// Opening does not wait for a writer of a pipe; its first byte is waited for, not for ever.
Result<File> open_trace(const std::string& path, const Limits& limits) {
    File file(nullptr, &std::fclose);
    int number = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (number < 0) return fail(errno, "Trace %s: %s.", path.c_str(), errno_text(errno).c_str());
    file.reset(fdopen(number, "r"));
    struct stat status {};
    if (!file || fstat(number, &status) != 0)
        return fail(errno, "Trace %s: %s.", path.c_str(), errno_text(errno).c_str());
    if (!S_ISREG(status.st_mode) && !S_ISFIFO(status.st_mode))
        return fail(EINVAL, "Trace %s is neither a file nor a pipe.", path.c_str());
    if (S_ISFIFO(status.st_mode)) {
        pollfd polled{number, POLLIN, 0};
        if (poll(&polled, 1, int(limits.patience_s * 1000)) <= 0) {
            return fail(ETIMEDOUT, "Nobody has written to the pipe %s for %g s.", path.c_str(),
                        limits.patience_s);
        }
    }
    (void)fcntl(number, F_SETFL, 0);  // from here on a slow writer is waited for
    return file;
}

}  // namespace

Result<Trace> read_trace(const std::string& path, const Limits& limits) {
    auto file = open_trace(path, limits);
    if (!file) return std::unexpected(file.error());
    std::string content;
    std::vector<char> piece(1 << 16);
    while (size_t got = std::fread(piece.data(), 1, piece.size(), file->get())) {
        content.append(piece.data(), got);
        // Whatever it is, it is not read to its end.
        if (!content.starts_with(first_line)) break;
        if (content.size() > limits.file_bytes) {
            return fail(EFBIG, "Trace %s is longer than %llu bytes.", path.c_str(),
                        static_cast<unsigned long long>(limits.file_bytes));
        }
    }
    if (std::ferror(file->get()))
        return fail(EIO, "Trace %s: %s.", path.c_str(), errno_text(errno).c_str());
    auto parsed = parse(content, limits);
    if (!parsed)
        return fail(parsed.error().code, "%s: %s", path.c_str(), parsed.error().sentence.c_str());
    return parsed;
}

Result<void> check_writable(const std::string& path) {
    struct stat info {};
    if (stat(path.c_str(), &info) == 0) {
        // Not opened, since it may be a pipe, whose reader would take that for all there is.
        if (!S_ISDIR(info.st_mode) && access(path.c_str(), W_OK) == 0) return {};
        if (S_ISDIR(info.st_mode)) errno = EISDIR;
    } else if (errno == ENOENT) {
        const int file = open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (file >= 0) {
            close(file);
            unlink(path.c_str());
            return {};
        }
        if (errno == EEXIST) return {};  // a link to what is not there yet: writing will tell
    }
    const int code = errno;
    return fail(code, "File %s: %s.", path.c_str(), errno_text(code).c_str());
}

Result<void> write_file(const std::string& path, std::string_view content) {
    FILE* file = std::fopen(path.c_str(), "we");
    if (!file) return fail(errno, "File %s: %s.", path.c_str(), errno_text(errno).c_str());
    bool whole = std::fwrite(content.data(), 1, content.size(), file) == content.size();
    int code = errno;
    if (std::fclose(file) != 0) {
        whole = false;
        code = errno;
    }
    if (!whole) return fail(code, "File %s: %s.", path.c_str(), errno_text(code).c_str());
    return {};
}

}  // namespace libpool::tier::trace
