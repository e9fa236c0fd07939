// SPDX-License-Identifier: Apache-2.0
#include "poold/tiers.h"

#include <algorithm>
#include <atomic>
#include <fstream>
#include <set>
#include <utility>

#include "poold/at_once.h"
#include "steady.h"
#include "tier/control_client.h"
#include "tier/printable.h"
#include "topology.h"

namespace poold {

using libpool::text;
using namespace libpool::tier;

namespace {

constexpr double answer_deadline_s = 1;
// For all of them in a round, so that it is over long before an allotment lapses, however many let
// it wait: who was not asked until then is silent.
constexpr double hear_all_s = 10, tell_all_s = 5;
static_assert(hear_all_s + tell_all_s + 3 * answer_deadline_s < allotment_s);

// True until so many seconds have passed.
auto for_seconds(double seconds) {
    const double until_s = libpool::steady_now_s() + seconds;
    return [until_s] { return libpool::steady_now_s() < until_s; };
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

// Of the near nodes, as the processes call them.
uint64_t capacity_of_nodes(const std::vector<TieredProcess>& processes) {
    std::set<int> near;
    for (const TieredProcess& process : processes) {
        near.insert(process.said.near_nodes.begin(), process.said.near_nodes.end());
    }
    uint64_t room = 0, total = 0;
    for (const libpool::Node& node :
         libpool::read_nodes("").value_or(std::vector<libpool::Node>{})) {
        if (!near.contains(node.id)) continue;
        total += node.total_bytes;
        room += libpool::read_node_room("", node.id).value_or(0);
    }
    return near_capacity(processes, room, total);
}

// Their indexes, in the order in which they are to be told.
std::vector<size_t> order_of(const std::vector<TieredProcess>& processes) {
    std::vector<pid_t> pids;
    for (const TieredProcess& process : processes) pids.push_back(process.pid);
    std::vector<size_t> order;
    for (pid_t pid : by_turns(pids)) {
        order.push_back(size_t(std::ranges::lower_bound(pids, pid) - pids.begin()));
    }
    return order;
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
    picture.capacity_bytes = rules_.capacity_bytes.value_or(capacity_of_nodes(picture.processes));
    auto parts = allot(rules_, picture.processes, picture.capacity_bytes);
    if (!parts) return trouble(divide_trouble_, parts.error().sentence);
    std::vector<std::string> troubles(parts->size());
    const std::vector<size_t> order = order_of(picture.processes);
    std::atomic<size_t> begun = 0;
    at_once(order.size(), for_seconds(tell_all_s), [&](size_t at) {
        const size_t i = order[at];
        ++begun;
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
    if (begun < order.size()) {
        last = text("%zu of %zu tiered processes were not told their part within %g s",
                    order.size() - begun, order.size(), tell_all_s);
    }
    trouble(divide_trouble_, last);
    picture.allotments = std::move(*parts);
}

// Nothing: it has ended. An error: it is silent, or speaks nonsense.
std::optional<libpool::Result<TieredProcess>> Tiers::hear(pid_t pid) const {
    const ProcessFacts facts = process_facts(pid);
    if (!facts.exists) return std::nullopt;
    auto said = ask_status(pid, answer_deadline_s);
    if (!said && said.error().code == ESRCH) return std::nullopt;
    if (!said) return std::unexpected(said.error());
    TieredProcess process{pid, facts.program, cgroup_of(pid), std::move(*said), {}};
    // Whoever attaches to another one speaks for it.
    if (process.said.target != pid) {
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
    std::vector<pid_t> pids = by_turns(listed.value_or(std::vector<pid_t>{}));
    // Those that did not answer last time come last: there may be thousands, of one user.
    std::ranges::stable_partition(pids, [&](pid_t pid) { return !silent_.contains(pid); });
    std::vector<std::optional<libpool::Result<TieredProcess>>> heard(pids.size());
    std::vector<char> asked(pids.size());
    at_once(pids.size(), for_seconds(hear_all_s), [&](size_t i) {
        asked[i] = true;
        heard[i] = hear(pids[i]);
    });
    const std::set<pid_t> silent_before = std::exchange(silent_, {});
    for (size_t i = 0; i < pids.size(); ++i) {
        if (asked[i] && !heard[i]) continue;
        if (asked[i] && *heard[i]) {
            picture.processes.push_back(std::move(**heard[i]));
            continue;
        }
        ++picture.silent;
        if (asked[i] || silent_before.contains(pids[i])) silent_.insert(pids[i]);
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
