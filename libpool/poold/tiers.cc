// SPDX-License-Identifier: Apache-2.0
#include "poold/tiers.h"

#include <algorithm>
#include <atomic>
#include <fstream>
#include <set>
#include <system_error>
#include <thread>

#include "tier/control_client.h"
#include "tier/printable.h"
#include "topology.h"

namespace poold {

using libpool::text;
using namespace libpool::tier;

namespace {

constexpr double answer_deadline_s = 1;
constexpr size_t asked_at_once = 64;

// what(i) for each i below count, in rising order but many at a time: each mostly waits for a
// process, and one that is stopped must not cost the others the time until it is given up.
template <typename What>
void at_once(size_t count, What what) {
    std::atomic<size_t> next = 0;
    auto work = [&] {
        for (size_t i = next++; i < count; i = next++) what(i);
    };
    std::vector<std::jthread> helpers;
    try {
        while (helpers.size() + 1 < std::min(count, asked_at_once)) helpers.emplace_back(work);
    } catch (const std::system_error&) {  // as many as there can be
    }
    work();
}

// "0::/system.slice/x.service" → "/system.slice/x.service".
std::string cgroup_of(int pid) {
    std::ifstream file(text("/proc/%d/cgroup", pid));
    std::string line;
    while (std::getline(file, line)) {
        if (line.starts_with("0::")) return line.substr(3);
    }
    return "";
}

// What is near already, and what the near nodes have free above their watermarks; no more than
// these nodes have in all, whatever the processes say.
uint64_t near_capacity(const std::vector<TieredProcess>& processes) {
    std::set<int> nodes;
    uint64_t bytes = 0;
    for (const TieredProcess& process : processes) {
        bytes += process.said.near_bytes;
        nodes.insert(process.said.near_nodes.begin(), process.said.near_nodes.end());
    }
    uint64_t total = 0;
    for (const libpool::Node& node :
         libpool::read_nodes("").value_or(std::vector<libpool::Node>{})) {
        if (!nodes.contains(node.id)) continue;
        total += node.total_bytes;
        bytes += libpool::read_node_room("", node.id).value_or(0);
    }
    return std::min(bytes, total);
}

}  // namespace

Tiers::Tiers(TiersOptions options, Log log) : options_(std::move(options)), log_(std::move(log)) {}

void Tiers::trouble(std::string& last, const std::string& sentence) {
    if (sentence == last) return;
    last = sentence;
    if (!sentence.empty()) log_(sentence);
}

// Read anew each round: an operator edits the file and need not tell anybody.
void Tiers::read_rules() {
    if (options_.tenants_file.empty()) return;
    auto file = read_tenants(options_.tenants_file);
    if (!file) {
        return trouble(rules_trouble_,
                       file.error().sentence + (have_rules_ ? "; the tenants before stay in force"
                                                            : "; nobody is limited"));
    }
    trouble(rules_trouble_, "");
    rules_ = std::move(*file);
    have_rules_ = true;
}

void Tiers::divide_near(TieringPicture& picture) {
    if (!have_rules_) return;
    picture.capacity_bytes = rules_.capacity_bytes.value_or(near_capacity(picture.processes));
    auto parts = allot(rules_, picture.processes, picture.capacity_bytes);
    if (!parts) return trouble(divide_trouble_, parts.error().sentence);
    std::vector<std::string> troubles(parts->size());
    at_once(parts->size(), [&](size_t i) {
        if ((*parts)[i].tenant.empty()) return;
        Limits limits;
        limits.allotted_bytes = (*parts)[i].near_bytes;
        auto done = ask_set(picture.processes[i].pid, limits, answer_deadline_s);
        if (done) {
            picture.processes[i].said.allotted_bytes = *limits.allotted_bytes;
        } else if (done.error().code != ESRCH) {
            troubles[i] = printable(done.error().sentence, 300);
        }
    });
    std::string last;
    for (std::string& one : troubles) {
        if (!one.empty()) last = std::move(one);
    }
    trouble(divide_trouble_, last);
    picture.allotments = std::move(*parts);
}

// Nothing: it has ended. An error: it is silent, or speaks nonsense.
std::optional<libpool::Result<TieredProcess>> Tiers::hear(pid_t pid) const {
    ProcessFacts facts = process_facts(pid);
    if (!facts.exists) return std::nullopt;
    auto said = ask_status(pid, answer_deadline_s);
    if (!said && said.error().code == ESRCH) return std::nullopt;
    if (!said) return std::unexpected(said.error());
    TieredProcess process{pid, facts.program, cgroup_of(pid), std::move(*said), {}};
    // Whoever attaches to another one speaks for it; only root's word counts there.
    if (process.said.target != pid) {
        if (facts.uid != 0) process.said.target = pid;
        process.program = process_facts(process.said.target).program;
        process.cgroup = cgroup_of(process.said.target);
    }
    if (have_rules_ && process.said.state == TieringState::tiered) {
        process.benefit = ask_benefit(pid, answer_deadline_s).value_or(process.benefit);
    }
    return process;
}

TieringPicture Tiers::round() {
    TieringPicture picture;
    read_rules();
    auto listed = tiered_processes();
    trouble(ask_trouble_, listed ? "" : listed.error().sentence);
    std::vector<pid_t> pids = listed.value_or(std::vector<pid_t>{});
    // Those that did not answer last time come last: there may be thousands, of one user.
    std::ranges::stable_partition(pids, [&](pid_t pid) { return !silent_.contains(pid); });
    std::vector<std::optional<libpool::Result<TieredProcess>>> heard(pids.size());
    at_once(pids.size(), [&](size_t i) { heard[i] = hear(pids[i]); });
    silent_.clear();
    for (size_t i = 0; i < pids.size(); ++i) {
        if (!heard[i]) continue;
        if (*heard[i]) {
            picture.processes.push_back(std::move(**heard[i]));
        } else {
            ++picture.silent;
            silent_.insert(pids[i]);
        }
    }
    std::ranges::sort(picture.processes, {}, &TieredProcess::pid);
    divide_near(picture);
    if (!options_.metrics_file.empty()) {
        auto written = replace_file(options_.metrics_file, metrics_text(picture));
        trouble(file_trouble_, written ? "" : written.error().sentence);
    }
    return picture;
}

void Tiers::run(const std::function<bool(double)>& wait) {
    do {
        round();
    } while (wait(options_.interval_s));
}

}  // namespace poold
