// SPDX-License-Identifier: Apache-2.0
#include "tier/damon.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <utility>

#include "tier/descriptor.h"

namespace libpool::tier {

namespace {

constexpr const char* kdamonds = "/sys/kernel/mm/damon/admin/kdamonds";
constexpr const char* stat_switch = "/sys/module/damon_stat/parameters/enabled";
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

}  // namespace

std::string damon_refusal(const std::string& root) {
    struct stat is {};
    if (stat((root + kdamonds).c_str(), &is) != 0) return "the kernel has no DAMON in sysfs";
    uint64_t count = read_count(root + kdamonds + "/nr_kdamonds").value_or(0);
    for (uint64_t i = 0; i < count; ++i) {
        std::string state =
            text("%s%s/%llu/state", root.c_str(), kdamonds, static_cast<unsigned long long>(i));
        if (read_line(state).value_or("") != "off") {
            return "DAMON is in use: somebody's kdamond runs (see " + std::string(kdamonds) + ")";
        }
    }
    return "";
}

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
        return fail(refusal.starts_with("the kernel") ? ENOENT : EBUSY, "%s", refusal.c_str());
    }
    Damon damon(root);
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
        {context + "/monitoring_attrs/nr_regions/max", "1000"},
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
