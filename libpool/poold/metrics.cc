// SPDX-License-Identifier: Apache-2.0
#include "poold/metrics.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmath>
#include <functional>

#include "poold/fd.h"
#include "tier/printable.h"
#include "tier/tenant_sum.h"

namespace poold {

using libpool::errno_text;
using libpool::fail;
using libpool::Result;
using libpool::text;
using namespace libpool::tier;

namespace {

// In a label a backslash, a quote and a line end are escaped; anything stranger is spelt out.
std::string label(const std::string& value) {
    std::string out;
    for (char c : printable(value, 128)) {
        if (c == '\\' || c == '"') out += '\\';
        out += c;
    }
    return out;
}

std::string number_text(double value) {
    if (std::isnan(value)) return "NaN";
    if (std::isinf(value)) return value > 0 ? "+Inf" : "-Inf";
    bool whole = value == std::floor(value) && std::fabs(value) < 9e15;
    return text(whole ? "%.0f" : "%.9g", value);
}

struct Metric {
    const char* name;
    const char* type;
    const char* help;
    std::function<double(const Snapshot&)> value;
};

// A limit that there is none of is +Inf.
double limit(uint64_t bytes) { return bytes == UINT64_MAX ? INFINITY : double(bytes); }

const std::vector<Metric>& metrics() {
    using S = const Snapshot&;
    static const std::vector<Metric> all = {
        {"tiered", "gauge", "1 when the process is tiered, 0 when it runs untiered",
         [](S s) { return s.state == TieringState::tiered ? 1.0 : 0.0; }},
        {"tracked_bytes", "gauge", "Memory that is tracked",
         [](S s) { return double(s.tracked_bytes); }},
        {"near_bytes", "gauge", "Tracked memory in the near tier",
         [](S s) { return double(s.near_bytes); }},
        {"far_bytes", "gauge", "Tracked memory in the far tier",
         [](S s) { return double(s.far_bytes); }},
        {"near_limit_bytes", "gauge", "Near memory that the process may take",
         [](S s) { return limit(std::min(s.near_limit_bytes, s.allotted_bytes)); }},
        {"near_hit_ratio", "gauge", "Share of touches that are near, as believed",
         [](S s) { return s.policy.near_share; }},
        {"near_hit_ratio_low", "gauge", "Lower end of its 90 % interval",
         [](S s) { return s.policy.near_share_low; }},
        {"near_hit_ratio_high", "gauge", "Upper end of its 90 % interval",
         [](S s) { return s.policy.near_share_high; }},
        {"touches_per_second", "gauge", "Touches of tracked pages, as lately seen",
         [](S s) { return s.policy.touches_per_s; }},
        {"promoted_pages_total", "counter", "Pages moved near",
         [](S s) { return double(s.promoted_pages); }},
        {"demoted_pages_total", "counter", "Pages moved far",
         [](S s) { return double(s.demoted_pages); }},
        {"failed_pages_total", "counter", "Pages whose move failed",
         [](S s) { return double(s.failed_pages); }},
        {"returned_pages_total", "counter", "Pages moved back because the bank could not vouch",
         [](S s) { return double(s.policy.bank.returned_pages); }},
        {"moved_bytes_total", "counter", "Bytes moved between tiers",
         [](S s) { return double(s.moved_bytes); }},
        {"overhead_cpu_seconds_total", "counter", "CPU time of sampling, faults and deciding",
         [](S s) { return s.overhead_cpu_s; }},
        {"moving_seconds_total", "counter", "Time spent moving pages",
         [](S s) { return s.moving_s; }},
        {"program_cpu_seconds_total", "counter", "CPU time of the program",
         [](S s) { return s.program_cpu_s; }},
        {"bank_balance_seconds", "gauge", "What the do-no-harm bank holds",
         [](S s) { return s.policy.bank.balance_s; }},
        {"bank_allowance_seconds", "gauge", "What may be lost against no tiering, in all",
         [](S s) { return s.policy.bank.allowance_s; }},
        {"changes_total", "counter", "Changes of behaviour that were noticed",
         [](S s) { return double(s.policy.changes); }},
    };
    return all;
}

std::string head(const std::string& name, const char* type, const char* help) {
    return text("# HELP cxlpool_tier_%s %s.\n# TYPE cxlpool_tier_%s %s\n", name.c_str(), help,
                name.c_str(), type);
}

struct TenantMetric {
    const char* name;
    const char* type;
    const char* help;
    std::function<double(const TenantSum&)> value;
};

// What a sum over the label `tenant` tells nobody: shares have weights. And the rest, for whoever
// wants one row a tenant.
const std::vector<TenantMetric>& tenant_metrics() {
    using S = const TenantSum&;
    static const std::vector<TenantMetric> all = {
        {"processes", "gauge", "Tiered processes of a tenant",
         [](S s) { return double(s.processes); }},
        {"near_bytes", "gauge", "Its tracked memory in the near tier",
         [](S s) { return double(s.near_bytes); }},
        {"far_bytes", "gauge", "Its tracked memory in the far tier",
         [](S s) { return double(s.far_bytes); }},
        {"near_hit_ratio", "gauge", "Share of its touches that are near, as believed",
         [](S s) { return s.near_share; }},
        {"near_hit_ratio_low", "gauge", "Lower end of its 90 % interval",
         [](S s) { return s.near_share_low; }},
        {"near_hit_ratio_high", "gauge", "Upper end of its 90 % interval",
         [](S s) { return s.near_share_high; }},
        {"moved_bytes", "gauge", "Bytes that those of its processes that run now have moved",
         [](S s) { return double(s.moved_bytes); }},
        {"returned_pages", "gauge", "Pages that their banks could not vouch for and took back",
         [](S s) { return double(s.returned_pages); }},
        {"bank_balance_seconds", "gauge", "What their do-no-harm banks hold",
         [](S s) { return s.balance_s; }},
        {"bank_allowance_seconds", "gauge", "What may be lost against no tiering, in all",
         [](S s) { return s.allowance_s; }},
        {"overhead_cpu_seconds", "gauge", "CPU time of their sampling, faults and deciding",
         [](S s) { return s.overhead_cpu_s; }},
        {"program_cpu_seconds", "gauge", "CPU time of those processes",
         [](S s) { return s.program_cpu_s; }},
    };
    return all;
}

std::string tenant_of(const TieringPicture& picture, size_t index) {
    return index < picture.allotments.size() ? picture.allotments[index].tenant
                                             : picture.processes[index].said.tenant;
}

std::string labels(const TieringPicture& picture, size_t index) {
    const TieredProcess& process = picture.processes[index];
    const std::string tenant = tenant_of(picture, index);
    return text("{pid=\"%d\",program=\"%s\",tenant=\"%s\",sampler=\"%s\"}", process.said.target,
                label(process.program).c_str(), label(tenant).c_str(),
                label(process.said.sampler).c_str());
}

}  // namespace

std::string metrics_text(const TieringPicture& picture) {
    std::string out;
    auto single = [&](const char* name, const char* help, double value) {
        out += head(name, "gauge", help);
        out += text("cxlpool_tier_%s %s\n", name, number_text(value).c_str());
    };
    single("processes", "Processes that answer", double(picture.processes.size()));
    single("silent_processes", "Processes that listen and gave no sensible answer",
           double(picture.silent));
    single("capacity_bytes", "Near memory that is divided among tenants",
           double(picture.capacity_bytes));
    for (const Metric& metric : metrics()) {
        if (picture.processes.empty()) break;
        out += head(metric.name, metric.type, metric.help);
        for (size_t i = 0; i < picture.processes.size(); ++i) {
            out += text("cxlpool_tier_%s%s %s\n", metric.name, labels(picture, i).c_str(),
                        number_text(metric.value(picture.processes[i].said)).c_str());
        }
    }
    std::vector<TenantMember> members;
    for (size_t i = 0; i < picture.processes.size(); ++i) {
        std::string tenant = tenant_of(picture, i);
        if (!tenant.empty()) members.push_back({std::move(tenant), &picture.processes[i].said});
    }
    const std::vector<TenantSum> tenants = sum_by_tenant(members);
    for (const TenantMetric& metric : tenant_metrics()) {
        if (tenants.empty()) break;
        const std::string name = std::string("tenant_") + metric.name;
        out += head(name, metric.type, metric.help);
        for (const TenantSum& tenant : tenants) {
            out += text("cxlpool_tier_%s{tenant=\"%s\"} %s\n", name.c_str(),
                        label(tenant.tenant).c_str(), number_text(metric.value(tenant)).c_str());
        }
    }
    return out;
}

Result<void> replace_file(const std::string& path, const std::string& content) {
    size_t slash = path.rfind('/');
    std::string folder = slash == path.npos ? "" : path.substr(0, slash + 1);
    std::string name = slash == path.npos ? path : path.substr(slash + 1);
    // A name that the collector does not read, and that no leftover of a killed one blocks.
    std::string fresh = folder + "." + name + ".new";
    unlink(fresh.c_str());
    Fd file(open(fresh.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644));
    if (!file) {
        return fail(errno, "%s cannot be written: %s", printable(fresh).c_str(),
                    errno_text(errno).c_str());
    }
    fchmod(file.get(), 0644);
    size_t at = 0;
    while (at < content.size()) {
        ssize_t done = write(file.get(), content.data() + at, content.size() - at);
        if (done < 0 && errno == EINTR) continue;
        if (done < 0) {
            int code = errno;
            unlink(fresh.c_str());
            return fail(code, "%s cannot be written: %s", printable(fresh).c_str(),
                        errno_text(code).c_str());
        }
        at += static_cast<size_t>(done);
    }
    if (rename(fresh.c_str(), path.c_str()) == 0) return {};
    int code = errno;
    unlink(fresh.c_str());
    return fail(code, "%s cannot be replaced: %s", printable(path).c_str(),
                errno_text(code).c_str());
}

}  // namespace poold
