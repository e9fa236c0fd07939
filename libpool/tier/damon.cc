// SPDX-License-Identifier: Apache-2.0
#include "tier/damon.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <utility>

#include "tier/descriptor.h"

namespace libpool::tier {

namespace {

constexpr const char* kdamonds = "/sys/kernel/mm/damon/admin/kdamonds";
constexpr const char* stat_switch = "/sys/module/damon_stat/parameters/enabled";
constexpr uint64_t region_limit = 1000;      // what the kernel may make
constexpr size_t damon_region_limit = 4096;  // what is read of tried_regions

Result<std::string> read_line(const std::string& path) {
    Descriptor file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
    char content[128];
    ssize_t got = file ? read(file.get(), content, sizeof content) : -1;
    if (got < 0) return fail(errno, "%s: %s", path.c_str(), errno_text(errno).c_str());
    std::string line(content, size_t(got));
    while (!line.empty() && line.back() == '\n') line.pop_back();
    return line;
}

Result<uint64_t> read_count(const std::string& path) {
    auto line = read_line(path);
    if (!line) return std::unexpected(line.error());
    uint64_t value = 0;
    auto [end, error] = std::from_chars(line->data(), line->data() + line->size(), value);
    if (error != std::errc() || end != line->data() + line->size()) {
        return fail(EINVAL, "%s: \"%.40s\" is not a number", path.c_str(), line->c_str());
    }
    return value;
}

struct Watching {
    pid_t target = 0;   // 0: nobody, or several
    bool ours = false;  // set up as we do
};

Watching watching(const std::string& root, const std::string& kdamond) {
    const std::string context = root + kdamond + "/contexts/0", scheme = context + "/schemes/0",
                      regions = context + "/monitoring_attrs";
    Watching one;
    if (read_count(root + kdamond + "/contexts/nr_contexts").value_or(0) != 1 ||
        read_count(context + "/targets/nr_targets").value_or(0) != 1) {
        return one;
    }
    one.target = pid_t(read_count(context + "/targets/0/pid_target").value_or(0));
    one.ours = read_line(context + "/operations").value_or("") == "vaddr" &&
               read_line(scheme + "/action").value_or("") == "stat" &&
               read_count(scheme + "/access_pattern/nr_accesses/min").value_or(0) == 1 &&
               read_count(regions + "/nr_regions/max").value_or(0) == region_limit;
    return one;
}

std::atomic<int> in_use_here = 0;  // by this process, since it runs this program

// What is left of one of ours that was killed, or that this very process has set up before it ran
// another program.
bool is_leftover(const Watching& one) {
    if (one.target <= 0) return false;
    const bool ended = kill(one.target, 0) != 0 && errno == ESRCH;
    return one.ours && (ended || (one.target == getpid() && in_use_here == 0));
}

bool runs(const std::string& root, const std::string& kdamond) {
    return read_line(root + kdamond + "/state").value_or("") != "off";
}

}  // namespace

std::string damon_refusal(const std::string& root) {
    struct stat is {};
    if (stat((root + kdamonds).c_str(), &is) != 0) return "the kernel has no DAMON in sysfs";
    auto count = read_count(root + kdamonds + "/nr_kdamonds");
    if (!count && (count.error().code == EACCES || count.error().code == EPERM)) {
        return "only root may see whether DAMON is free, and use it";
    }
    for (uint64_t i = 0; i < count.value_or(0); ++i) {
        const std::string kdamond = text("%s/%llu", kdamonds, static_cast<unsigned long long>(i));
        if (!runs(root, kdamond)) continue;
        const Watching one = watching(root, kdamond);
        if (*count == 1 && is_leftover(one)) continue;
        return text(
            "DAMON is in use: somebody's kdamond runs%s; if nobody needs it: echo off > %s/state",
            one.target > 0 ? text(" and watches process %d", int(one.target)).c_str() : "",
            kdamond.c_str());
    }
    return "";
}

Damon::Damon(std::string root) : root_(std::move(root)) { ++in_use_here; }

Damon::Damon(Damon&& other) noexcept
    : root_(std::move(other.root_)),
      owner_(std::exchange(other.owner_, false)),
      restore_stat_(other.restore_stat_),
      set_up_(other.set_up_) {}

Damon::~Damon() {
    if (!owner_) return;
    if (set_up_) {
        (void)put(std::string(kdamonds) + "/0/state", "off");
        (void)put(std::string(kdamonds) + "/nr_kdamonds", "0");
    }
    if (restore_stat_) (void)put(stat_switch, "Y");
    --in_use_here;
}

Result<void> Damon::put(const std::string& path, const std::string& value) {
    std::string full = root_ + path;
    Descriptor file(open(full.c_str(), O_WRONLY | O_CLOEXEC));
    if (file && write(file.get(), value.data(), value.size()) == ssize_t(value.size())) return {};
    int code = errno;
    const char* hint = code == EBUSY                     ? " (another user of DAMON runs)"
                       : code == EACCES || code == EPERM ? " (it needs root)"
                                                         : "";
    return fail(code, "DAMON: writing %s to %s: %s%s", value.c_str(), full.c_str(),
                errno_text(code).c_str(), hint);
}

Result<Damon> Damon::start(const std::string& root, pid_t pid, const DamonIntervals& intervals) {
    if (auto refusal = damon_refusal(root); !refusal.empty()) {
        int code = refusal.starts_with("the kernel")  ? ENOENT
                   : refusal.starts_with("only root") ? EPERM
                                                      : EBUSY;
        return fail(code, "%s", refusal.c_str());
    }
    Damon damon(root);
    const std::string first = std::string(kdamonds) + "/0";
    if (read_count(root + kdamonds + "/nr_kdamonds").value_or(0) == 1 && runs(root, first)) {
        if (auto off = damon.put(first + "/state", "off"); !off) {  // a leftover
            return std::unexpected(off.error());
        }
    }
    if (read_line(root + stat_switch).value_or("N") == "Y") {
        if (auto off = damon.put(stat_switch, "N"); !off) return std::unexpected(off.error());
        damon.restore_stat_ = true;
    }
    if (auto ready = damon.set_up(pid, intervals); !ready) return std::unexpected(ready.error());
    return damon;
}

Result<void> Damon::set_up(pid_t pid, const DamonIntervals& intervals) {
    const std::string base = kdamonds, context = base + "/0/contexts/0",
                      scheme = context + "/schemes/0", pattern = scheme + "/access_pattern";
    const std::pair<std::string, std::string> settings[] = {
        {base + "/nr_kdamonds", "1"},
        {base + "/0/contexts/nr_contexts", "1"},
        {context + "/operations", "vaddr"},
        {context + "/monitoring_attrs/intervals/sample_us", std::to_string(intervals.sample_us)},
        {context + "/monitoring_attrs/intervals/aggr_us", std::to_string(intervals.aggregate_us)},
        {context + "/monitoring_attrs/intervals/update_us", "1000000"},
        {context + "/monitoring_attrs/nr_regions/max", std::to_string(region_limit)},
        {context + "/targets/nr_targets", "1"},
        {context + "/targets/0/pid_target", std::to_string(pid)},
        {context + "/schemes/nr_schemes", "1"},
        {scheme + "/action", "stat"},
        {pattern + "/sz/max", "18446744073709551615"},
        // What was not touched is not listed: each region takes three files to read.
        {pattern + "/nr_accesses/min", "1"},
        {pattern + "/nr_accesses/max", "4294967295"},
        {pattern + "/age/max", "4294967295"},
        {base + "/0/state", "on"},
    };
    for (const auto& [path, value] : settings) {
        if (auto done = put(path, value); !done) return done;
        set_up_ = true;
    }
    return {};
}

Result<std::vector<DamonRegion>> Damon::regions() {
    if (auto asked = put(std::string(kdamonds) + "/0/state", "update_schemes_tried_regions");
        !asked) {
        return std::unexpected(asked.error());
    }
    std::string folder = root_ + kdamonds + "/0/contexts/0/schemes/0/tried_regions/";
    std::vector<DamonRegion> regions;
    while (regions.size() < damon_region_limit) {
        std::string region = folder + std::to_string(regions.size());
        auto start = read_count(region + "/start");
        if (!start) {
            if (start.error().code == ENOENT) break;
            return std::unexpected(start.error());
        }
        auto end = read_count(region + "/end"), accesses = read_count(region + "/nr_accesses");
        if (!end) return std::unexpected(end.error());
        if (!accesses) return std::unexpected(accesses.error());
        regions.push_back({*start, *end, *accesses});
    }
    std::ranges::sort(regions, {}, &DamonRegion::start);
    return regions;
}

}  // namespace libpool::tier
