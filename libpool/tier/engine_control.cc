// SPDX-License-Identifier: Apache-2.0
#include "tier/engine_control.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>

#include "numa_balancing.h"
#include "tier/control_client.h"
#include "tier/maps.h"
#include "uapi.h"

namespace libpool::tier {

namespace {

constexpr double numbering_s = 120;  // after so long without a question page numbers begin anew

std::string range_name(pid_t pid, uint64_t address) {
    auto mappings = read_mappings(pid);
    if (!mappings) return "";
    for (const Mapping& mapping : *mappings) {
        if (address < mapping.start || address >= mapping.end) continue;
        return mapping.name.empty() ? "private memory" : mapping.name;
    }
    return "";
}

Snapshot snapshot_of(const About& about) {
    Snapshot s;
    s.target = about.target;
    s.program = process_facts(about.target ? about.target : getpid()).program;
    s.tenant = about.tenant;
    for (const SamplerState& one : about.refused) s.refused.push_back({one.name, one.why});
    s.near_nodes = about.nodes.near;
    s.far_nodes = about.nodes.far;
    s.cpu_share = about.cpu_share;
    s.delta = about.delta;
    return s;
}

bool among(const std::vector<int>& nodes, int node) {
    return std::find(nodes.begin(), nodes.end(), node) != nodes.end();
}

TierNodes without(TierNodes nodes, const std::vector<int>& leaving) {
    for (auto* some : {&nodes.near, &nodes.far}) {
        std::erase_if(*some, [&](int node) { return among(leaving, node); });
    }
    return nodes;
}

}  // namespace

EngineControl::EngineControl(Engine& engine, Kernel& kernel, Clock& clock, About about,
                             uint64_t near_limit_bytes)
    : engine_(engine),
      kernel_(kernel),
      clock_(clock),
      about_(std::move(about)),
      started_s_(clock.now_s()),
      all_nodes_(about_.nodes),
      nodes_(about_.nodes),
      cpu_share_(about_.cpu_share),
      near_limit_bytes_(near_limit_bytes) {}

Snapshot EngineControl::status() {
    EngineStatus e = engine_.status();
    Snapshot s = snapshot_of(about_);
    const TierNodes now = nodes();
    s.near_nodes = now.near;
    s.far_nodes = now.far;
    s.state = TieringState::tiered;
    s.sentence = e.trouble;
    s.uptime_s = clock_.now_s() - started_s_;
    s.sampler = e.sampler.name;
    s.sampler_describes = e.sampler.describe;
    s.writes_only = e.sampler.writes_only;
    s.tracked_bytes = e.tracked_bytes;
    s.near_bytes = e.near_bytes;
    s.far_bytes = e.far_bytes;
    for (int node : now.near) s.near_room_bytes += kernel_.room_bytes(node).value_or(0);
    s.move_limit_bytes_per_s = e.move_limit_bytes_per_s;
    s.numa_balancing = read_numa_balancing("").value_or(0);
    s.promoted_pages = e.promoted_pages;
    s.demoted_pages = e.demoted_pages;
    s.failed_pages = e.failed_pages;
    s.moved_bytes = (e.promoted_pages + e.demoted_pages) * page_bytes;
    for (const auto& [code, pages] : e.reasons) s.failures.push_back({code, pages});
    s.split_blocks = e.split_blocks;
    s.unsplit_blocks = e.unsplit_blocks;
    s.split_s = e.split_s;
    s.split_note = e.split_note;
    s.overhead_cpu_s = e.thread_cpu_s + e.fault_cpu_s;
    s.overhead_share = e.overhead_share;
    s.moving_s = e.move_s;
    s.program_cpu_s = e.program_cpu_s;
    s.loss_ns = e.loss_ns;
    s.move_ns = e.move_ns;
    s.policy = e.policy;
    s.ranges = e.ranges;
    std::lock_guard guard(lock_);
    s.near_limit_bytes = near_limit_bytes_;
    s.allotted_bytes = allotted_bytes_;
    s.cpu_share = cpu_share_;
    return s;
}

Result<PageAnswer> EngineControl::explain(uint64_t address) {
    auto explanation = engine_.explain(address);
    if (!explanation) return std::unexpected(std::move(explanation.error()));
    PageAnswer answer;
    answer.target = about_.target;
    answer.address = address / page_bytes * page_bytes;
    answer.range = range_name(about_.target, address);
    answer.node = where(kernel_, about_.target, {&answer.address, 1}).front();
    EngineStatus status = engine_.status();
    answer.loss_ns = status.loss_ns;
    answer.move_ns = status.move_ns;
    answer.explanation = std::move(*explanation);
    return answer;
}

void EngineControl::apply_limit() {
    engine_.set_near_limit(std::min(near_limit_bytes_, allotted_bytes_));
}

// Asks the kernel about every tracked page: only when something has changed.
void EngineControl::apply_nodes() {
    TierNodes now = without(all_nodes_, leaving_);
    if (now == nodes_) return;
    nodes_ = std::move(now);
    engine_.set_nodes(nodes_.near, nodes_.far);
}

void EngineControl::set_nodes(TierNodes nodes) {
    std::lock_guard guard(lock_);
    all_nodes_ = std::move(nodes);
    apply_nodes();
}

void EngineControl::look_anew() {
    std::lock_guard guard(lock_);
    engine_.set_nodes(nodes_.near, nodes_.far);
}

TierNodes EngineControl::nodes() const {
    std::lock_guard guard(lock_);
    return nodes_;
}

Result<void> EngineControl::set(const Limits& limits) {
    std::lock_guard guard(lock_);
    if (limits.leaving_nodes) {
        const TierNodes rest = without(all_nodes_, *limits.leaving_nodes);
        if (rest.near.empty() && rest.far.empty()) {
            return fail(EBUSY, "process %d has no nodes but those that leave", getpid());
        }
        leaving_ = *limits.leaving_nodes;
        leaving_until_s_ = clock_.now_s() + allotment_s;
        apply_nodes();
    }
    if (limits.near_limit_bytes) near_limit_bytes_ = *limits.near_limit_bytes;
    if (limits.allotted_bytes) {
        allotted_bytes_ = *limits.allotted_bytes;
        allotted_until_s_ = clock_.now_s() + allotment_s;
    }
    if (limits.near_limit_bytes || limits.allotted_bytes) apply_limit();
    if (limits.cpu_share) engine_.set_cpu_share(cpu_share_ = *limits.cpu_share);
    if (limits.move_limit_bytes_per_s) engine_.set_move_limit(*limits.move_limit_bytes_per_s);
    return {};
}

double EngineControl::settle() {
    std::lock_guard guard(lock_);
    const double now_s = clock_.now_s();
    if (now_s >= leaving_until_s_ && !leaving_.empty()) {
        leaving_.clear();
        apply_nodes();
    }
    if (now_s >= allotted_until_s_ && allotted_bytes_ != UINT64_MAX) {
        allotted_bytes_ = UINT64_MAX;
        apply_limit();
    }
    forget_numbers(now_s);
    double left_s = INFINITY;
    if (!leaving_.empty()) left_s = std::min(left_s, leaving_until_s_ - now_s);
    if (allotted_bytes_ != UINT64_MAX) left_s = std::min(left_s, allotted_until_s_ - now_s);
    if (!numbered_.empty()) left_s = std::min(left_s, numbers_until_s_ - now_s);
    return left_s;
}

// With the rates they take memory of the program's, and nobody may ever ask again.
void EngineControl::forget_numbers(double now_s) {
    if (now_s < numbers_until_s_) return;
    numbered_ = std::vector<Numbered>();
    numbers_ = 0;
}

void EngineControl::look() {
    forget_numbers(clock_.now_s());
    for (Numbered& one : numbered_) one.rates = std::vector<float>();  // {} would keep its memory
    for (Engine::Rates& range : engine_.rates()) {
        auto known = std::find_if(numbered_.begin(), numbered_.end(), [&](const Numbered& one) {
            return one.start == range.start && one.pages == range.per_s.size() && one.rates.empty();
        });
        if (known == numbered_.end()) {
            numbered_.push_back({range.start, range.per_s.size(), numbers_, {}});
            numbers_ += range.per_s.size();
            known = numbered_.end() - 1;
        }
        known->rates = std::move(range.per_s);
    }
}

Place EngineControl::place_of(int node) const {
    return among(all_nodes_.near, node)  ? Place::near
           : among(all_nodes_.far, node) ? Place::far
                                         : Place::nowhere;
}

Result<PageSlice> EngineControl::pages(uint64_t first, uint64_t pages, Detail detail) {
    std::lock_guard guard(lock_);
    if (first == 0) look();
    numbers_until_s_ = clock_.now_s() + numbering_s;
    PageSlice slice;
    slice.total_pages = numbers_;
    slice.first = first;
    if (first == 0) {
        for (const Numbered& one : numbered_) {
            if (!one.rates.empty()) slice.ranges.push_back({one.first, one.start, one.pages});
        }
    }
    if (first >= numbers_) return slice;
    pages = std::min(pages, numbers_ - first);
    slice.rates.assign(pages, 0);
    std::vector<uint64_t> addresses;
    std::vector<size_t> asked;
    for (const Numbered& one : numbered_) {
        uint64_t begin = std::max(first, one.first);
        uint64_t end = std::min(first + pages, one.first + one.rates.size());
        for (uint64_t page = begin; page < end; ++page) {
            slice.rates[page - first] = one.rates[page - one.first];
            if (detail == Detail::rates) continue;
            addresses.push_back(one.start + (page - one.first) * page_bytes);
            asked.push_back(page - first);
        }
    }
    if (detail == Detail::rates) return slice;
    slice.places.assign(pages, Place::nowhere);
    std::vector<int> nodes = where(kernel_, about_.target, addresses);
    for (size_t i = 0; i < asked.size(); ++i) slice.places[asked[i]] = place_of(nodes[i]);
    return slice;
}

Result<std::vector<BenefitStep>> EngineControl::benefit() {
    std::vector<BenefitStep> steps = engine_.benefit();
    if (steps.size() <= benefit_limit) return steps;
    // Neighbours become one step at their mean rate.
    std::vector<BenefitStep> fewer;
    size_t together = (steps.size() + benefit_limit - 1) / benefit_limit;
    for (size_t i = 0; i < steps.size(); i += together) {
        BenefitStep sum{0, 0};
        for (size_t j = i; j < std::min(i + together, steps.size()); ++j) {
            sum.rate += steps[j].rate * double(steps[j].pages);
            sum.pages += steps[j].pages;
        }
        if (sum.pages > 0) fewer.push_back({sum.pages, sum.rate / double(sum.pages)});
    }
    return fewer;
}

Snapshot UntieredControl::status() {
    Snapshot s = snapshot_of(about_);
    s.sentence = sentence_;
    return s;
}

double UntieredControl::settle() { return INFINITY; }

std::unexpected<Error> UntieredControl::refusal() const {
    return fail(ENOTSUP, "process %d runs untiered: %s", getpid(), sentence_.c_str());
}

}  // namespace libpool::tier
