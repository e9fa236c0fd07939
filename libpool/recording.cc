// SPDX-License-Identifier: Apache-2.0
#include "recording.h"

#include <cstdio>
#include <map>
#include <sstream>

namespace libpool {

namespace {

constexpr uint64_t pages_limit = 1 << 24;
constexpr char letters[] = {'-', '.', 'x'};  // by Seen

template <typename T, typename Write>
void write_runs(std::span<const T> values, Write write) {
    for (size_t at = 0; at < values.size();) {
        size_t end = at;
        while (end < values.size() && values[end] == values[at]) ++end;
        write(values[at], end - at);
        at = end;
    }
}

bool append_run(const std::string& run, std::vector<Seen>& seen, uint64_t limit) {
    unsigned long long count = 0;
    char state = 0, rest = 0;
    if (std::sscanf(run.c_str(), "%c%llu%c", &state, &count, &rest) != 2) return false;
    Seen what = state == 'x' ? Seen::touched : state == '.' ? Seen::idle : Seen::absent;
    if (letters[static_cast<int>(what)] != state || count > limit - seen.size()) return false;
    seen.insert(seen.end(), count, what);
    return true;
}

bool append_run(const std::string& run, std::vector<int>& nodes, uint64_t limit) {
    unsigned long long count = 0;
    int node = 0;
    char rest = 0;
    if (std::sscanf(run.c_str(), "%d*%llu%c", &node, &count, &rest) != 2) return false;
    if (count > limit - nodes.size()) return false;
    nodes.insert(nodes.end(), count, node);
    return true;
}

template <typename T>
Result<std::vector<T>> read_runs(std::istringstream& words, uint64_t pages) {
    std::vector<T> values;
    std::string run;
    while (words >> run) {
        if (!append_run(run, values, pages)) return fail(EINVAL, "\"%s\" is no run", run.c_str());
    }
    if (values.size() != pages) {
        return fail(EINVAL, "%zu pages where the range has %llu", values.size(),
                    static_cast<unsigned long long>(pages));
    }
    return values;
}

Result<RecordedLine> read_line(const std::string& line, std::map<int, uint64_t>& ranges) {
    std::istringstream words(line);
    std::string kind;
    int id = 0;
    uint64_t number = 0;
    words >> kind >> id;
    if (!words || (kind != "range" && kind != "nodes" && kind != "window")) {
        return fail(EINVAL, "neither range, nodes nor window with an id");
    }
    if (kind == "range") {
        if (!(words >> number) || number == 0 || number > pages_limit) {
            return fail(EINVAL, "a range has 1 to %llu pages",
                        static_cast<unsigned long long>(pages_limit));
        }
        ranges[id] = number;
        return RecordedRange{id, number};
    }
    if (!ranges.contains(id)) return fail(EINVAL, "range %d is not known yet", id);
    if (kind == "nodes") {
        auto nodes = read_runs<int>(words, ranges[id]);
        if (!nodes) return std::unexpected(nodes.error());
        return RecordedNodes{id, std::move(*nodes)};
    }
    if (!(words >> number)) return fail(EINVAL, "a window needs its length in ns");
    auto seen = read_runs<Seen>(words, ranges[id]);
    if (!seen) return std::unexpected(seen.error());
    return RecordedWindow{id, number, std::move(*seen)};
}

}  // namespace

void write_header(std::ostream& out) { out << "libpool-recording 1\n"; }

void write_line(std::ostream& out, const RecordedLine& line) {
    if (auto* range = std::get_if<RecordedRange>(&line)) {
        out << "range " << range->id << ' ' << range->pages;
    } else if (auto* placed = std::get_if<RecordedNodes>(&line)) {
        out << "nodes " << placed->id;
        write_runs<int>(placed->nodes, [&](int node, size_t n) { out << ' ' << node << '*' << n; });
    } else if (auto* window = std::get_if<RecordedWindow>(&line)) {
        out << "window " << window->id << ' ' << window->window_ns;
        write_runs<Seen>(window->seen, [&](Seen seen, size_t n) {
            out << ' ' << letters[static_cast<int>(seen)] << n;
        });
    }
    out << '\n';
}

Result<std::vector<RecordedLine>> read_recording(std::istream& in) {
    std::string line;
    if (!std::getline(in, line) || line != "libpool-recording 1") {
        return fail(EINVAL, "line 1: a recording starts with \"libpool-recording 1\"");
    }
    std::vector<RecordedLine> lines;
    std::map<int, uint64_t> ranges;
    for (int number = 2; std::getline(in, line); ++number) {
        if (line.empty() || line[0] == '#') continue;
        auto read = read_line(line, ranges);
        if (!read) return fail(EINVAL, "line %d: %s", number, read.error().sentence.c_str());
        lines.push_back(std::move(*read));
    }
    return lines;
}

RecordedSampler::RecordedSampler(std::span<const RecordedLine> lines, int id) {
    for (const RecordedLine& line : lines) {
        if (auto* range = std::get_if<RecordedRange>(&line); range && range->id == id) {
            pages_ = range->pages;
        }
        auto* placed = std::get_if<RecordedNodes>(&line);
        if (placed && placed->id == id && first_nodes_.empty()) first_nodes_ = placed->nodes;
        if (auto* window = std::get_if<RecordedWindow>(&line); window && window->id == id) {
            windows_.push_back(*window);
        }
    }
}

Result<void> RecordedSampler::add(const Range& range) {
    if (range.pages == pages_) return {};
    return fail(EINVAL, "the recording has %llu pages, the range %llu",
                static_cast<unsigned long long>(pages_),
                static_cast<unsigned long long>(range.pages));
}

Result<void> RecordedSampler::arm(const Range&) {
    if (next_ < windows_.size()) return {};
    return fail(ENODATA, "the recording ends after %zu windows", windows_.size());
}

Result<double> RecordedSampler::scan(const Range& range, std::vector<Seen>& seen) {
    if (auto ready = arm(range); !ready) return std::unexpected(ready.error());
    const RecordedWindow& window = windows_[next_++];
    seen = window.seen;
    return double(window.window_ns) * 1e-9;
}

}  // namespace libpool
