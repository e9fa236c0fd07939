// SPDX-License-Identifier: Apache-2.0
#include "poold/leaving.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "poold/at_once.h"
#include "steady.h"
#include "tier/control_client.h"
#include "tier/printable.h"

namespace poold {

using namespace libpool::tier;
using namespace std::chrono_literals;

namespace {

std::string words_for(const std::vector<int>& nodes) {
    if (nodes.empty()) return "no node leaves any more";
    std::string list;
    for (int node : nodes) list += (list.empty() ? "" : ", ") + std::to_string(node);
    return nodes.size() == 1 ? "node " + list + " leaves" : "nodes " + list + " leave";
}

// Gone, or with nothing that it could move.
bool need_not_know(const libpool::Error& error) {
    return error.code == ESRCH || error.code == ENOENT || error.code == ENOTSUP;
}

}  // namespace

Leaving::Leaving(Log log, LeavingLimits limits) : log_(std::move(log)), limits_(limits) {
    thread_ = std::thread([this] { run(); });
}

Leaving::~Leaving() {
    {
        std::lock_guard guard(lock_);
        stop_ = true;
    }
    changed_.notify_all();
    thread_.join();
}

void Leaving::set(std::vector<int> nodes) {
    std::sort(nodes.begin(), nodes.end());
    nodes.erase(std::unique(nodes.begin(), nodes.end()), nodes.end());
    std::lock_guard guard(lock_);
    if (nodes == nodes_) return;
    nodes_ = std::move(nodes);
    ++version_;
    changed_.notify_all();
}

void Leaving::wait_until_told(const std::function<bool()>& go_on) {
    std::unique_lock guard(lock_);
    while (told_ != version_ && !stop_) {
        changed_.wait_for(guard, 100ms);
        guard.unlock();
        const bool further = go_on();  // takes locks of its own
        guard.lock();
        if (!further) return;
    }
}

void Leaving::run() {
    std::unique_lock guard(lock_);
    while (!stop_) {
        const auto news = [this] { return stop_ || version_ != told_; };
        if (nodes_.empty()) {
            changed_.wait(guard, news);
        } else {
            changed_.wait_for(guard, limits_.again, news);
        }
        if (stop_) return;
        const uint64_t version = version_;
        if (version != told_) {
            not_told_.clear();
            left_out_ = false;
        }
        const std::vector<int> nodes = nodes_;
        guard.unlock();
        tell(nodes);
        guard.lock();
        told_ = version;
        changed_.notify_all();
    }
}

bool Leaving::stopped() {
    std::lock_guard guard(lock_);
    return stop_;
}

void Leaving::tell(const std::vector<int>& nodes) {
    Limits limits;
    limits.leaving_nodes = nodes;
    std::vector<pid_t> pids = by_turns(tiered_processes().value_or(std::vector<pid_t>{}));
    std::ranges::stable_partition(pids, [&](pid_t pid) { return !silent_.contains(pid); });
    std::vector<std::optional<libpool::Result<void>>> told(pids.size());
    const double until_s = libpool::steady_now_s() + limits_.all_s;
    at_once(
        pids.size(), [&] { return libpool::steady_now_s() < until_s && !stopped(); },
        [&](size_t i) { told[i] = ask_set(pids[i], limits, limits_.answer_s); });
    if (stopped()) return;
    const std::set<pid_t> silent_before = std::exchange(silent_, {});
    size_t left_out = 0;
    for (size_t i = 0; i < pids.size(); ++i) {
        if (!told[i]) {
            ++left_out;
            if (silent_before.contains(pids[i])) silent_.insert(pids[i]);
            continue;
        }
        if (*told[i] || need_not_know(told[i]->error())) continue;
        if (told[i]->error().code == ETIMEDOUT) silent_.insert(pids[i]);
        if (!not_told_.insert(pids[i]).second) continue;
        log_(libpool::text("process %d (%s) could not be told that %s: %s", pids[i],
                           printable(process_facts(pids[i]).program, 40).c_str(),
                           words_for(nodes).c_str(), printable(told[i]->error().sentence).c_str()));
    }
    if (left_out == 0 || std::exchange(left_out_, true)) return;
    log_(libpool::text("%zu of %zu tiered processes could not be told within %g s that %s",
                       left_out, pids.size(), limits_.all_s, words_for(nodes).c_str()));
}

}  // namespace poold
