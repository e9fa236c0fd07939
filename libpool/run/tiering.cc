// SPDX-License-Identifier: Apache-2.0
#include "run/tiering.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <random>

#include "latency.h"
#include "run/heap.h"
#include "tiers.h"
#include "uapi.h"

namespace libpool::run {

using namespace tier;

namespace {

constexpr double follow_s = 1;
constexpr double follow_anyway_s = 5;  // mappings that were exchanged for others of the same size
constexpr double begin_look_s = 0.05, begin_anyway_s = 1;
constexpr double usual_loss_ns = 150;  // where it cannot be measured: CXL memory against DRAM

// A container's profile may refuse it: asked of a page that is there.
Result<void> check_moving(Kernel& kernel) {
    static int something = 1;
    uint64_t page = reinterpret_cast<uint64_t>(&something) & ~(page_bytes - 1);
    int status = 0;
    long rc = kernel.move_pages(0, {&page, 1}, {}, {&status, 1});
    if (rc >= 0) return {};
    return fail(int(-rc), "move_pages: %s (a container's seccomp profile may refuse it)",
                errno_text(int(-rc)).c_str());
}

std::string read_word(const char* path) {
    Descriptor file(open(path, O_RDONLY | O_CLOEXEC));
    char content[256];
    ssize_t got = file ? read(file.get(), content, sizeof content) : 0;
    return std::string(content, size_t(std::max<ssize_t>(got, 0)));
}

const char* word_of(SamplerWish wish) {
    switch (wish) {
        case SamplerWish::rwp:
            return "rwp";
        case SamplerWish::wp:
            return "wp";
        case SamplerWish::damon:
            return "damon";
        case SamplerWish::automatic:
            break;
    }
    return "auto";
}

}  // namespace

// By the settings, where they name nodes: those of one list only, and the rest is the other.
Result<Topology> Tiering::find_tiers() const {
    auto topology = read_topology("");
    if (!topology) return topology;
    Declaration declared{settings_.near_nodes, settings_.far_nodes};
    if (declared.near.empty() && declared.far.empty()) {
        if (topology->tier_names.size() < 2) {
            return fail(EOPNOTSUPP, "%s", topology->reason.c_str());
        }
        return topology;
    }
    for (const auto* nodes : {&declared.near, &declared.far}) {
        for (int node : *nodes) {
            if (!topology->find(node)) return fail(ENODEV, "node %d has no memory here", node);
        }
    }
    auto rest_of = [&](const std::vector<int>& others) {
        std::vector<int> rest;
        for (const Node& node : topology->nodes) {
            if (!std::ranges::count(others, node.id)) rest.push_back(node.id);
        }
        return rest;
    };
    if (declared.near.empty()) declared.near = rest_of(declared.far);
    if (declared.far.empty()) declared.far = rest_of(declared.near);
    if (declared.near.empty() || declared.far.empty()) {
        return fail(EOPNOTSUPP, "there is no second node with memory: nothing to tier");
    }
    if (auto done = declare_tiers(*topology, declared); !done) {
        return std::unexpected(done.error());
    }
    return topology;
}

Result<void> Tiering::prepare() {
    auto topology = find_tiers();
    if (!topology && !settings_.wait) return std::unexpected(topology.error());
    kernel_ = make_kernel();
    if (auto works = check_moving(*kernel_); !works) return works;
    why_untiered_ = "waits until there is memory worth tiering";
    if (settings_.require || settings_.say == Say::all) return take_sampler();
    return check_samplers(word_of(settings_.sampler));
}

Result<void> Tiering::take_sampler() {
    // The program may end while DAMON is being set up.
    must_be_stopped_ = geteuid() == 0 && settings_.sampler != SamplerWish::rwp &&
                       settings_.sampler != SamplerWish::wp;
    auto choice = choose_sampler(word_of(settings_.sampler));
    must_be_stopped_ = must_be_stopped_ && choice;
    if (!choice) return std::unexpected(choice.error());
    choice_ = std::move(*choice);
    chosen_ = choice_.describe();
    must_be_stopped_ = choice_.sampler->info().name == "damon";
    return {};
}

// Most programs end before they have any, and trying out a sampler takes longer than many a
// program. What has grown no more for a while is begun with all the same: it may be asked about.
bool Tiering::wait_for_memory() {
    const double until_s = clock_.now_s() + begin_anyway_s;
    while (clock_.now_s() < until_s) {
        unsigned long long size = 0, resident = 0, shared = 0;
        const std::string statm = read_word("/proc/thread-self/statm");
        const int numbers = std::sscanf(statm.c_str(), "%llu %llu %llu", &size, &resident, &shared);
        if (numbers != 3 ||
            (resident - std::min(resident, shared)) * page_bytes >= settings_.min_range_bytes) {
            return true;
        }
        if (!clock_.wait(begin_look_s)) return false;
    }
    return true;
}

void Tiering::begin(const Topology& topology) {
    nodes_ = std::make_unique<NodeBook>(topology);
    told_ = nodes_->now();
    config_.near_nodes = told_.near;
    config_.far_nodes = told_.far;
    config_.near_limit_bytes = settings_.near_limit_bytes;
    config_.move_limit_bytes_per_s = settings_.move_limit_bytes_per_s;
    config_.loss_ns = settings_.loss_ns;
    if (config_.loss_ns <= 0) {
        config_.loss_ns = measure_gain_ns(config_.near_nodes.front(), config_.far_nodes.front())
                              .value_or(usual_loss_ns);
        loads_ = make_load_source();
        probe_ = std::make_unique<LatencyProbe>(*loads_, told_.near, told_.far);
    }
    TierConfig policy;
    policy.set_budget(settings_.cpu_share);
    policy.seed = settings_.seed ? settings_.seed : std::random_device{}();
    mover_ = std::make_unique<KernelMover>(*kernel_);
    policy_ = make_tier_policy(policy);
    engine_ =
        std::make_unique<Engine>(*choice_.sampler, *policy_, *mover_, *kernel_, clock_, config_);
    About about{.target = 0,
                .tenant = settings_.tenant,
                .refused = choice_.refused,
                .nodes = told_,
                .cpu_share = policy.cpu_share,
                .delta = policy.delta};
    control_ = std::make_unique<EngineControl>(*engine_, *kernel_, clock_, std::move(about),
                                               settings_.near_limit_bytes);
    tiered_ = control_.get();
}

// False: stop.
bool Tiering::wait_for_tiers() {
    for (bool first = true;; first = false) {
        const std::string in_kernel = read_word("/sys/devices/system/node/has_memory");
        if (first || in_kernel != nodes_in_kernel_) {
            nodes_in_kernel_ = in_kernel;
            if (auto topology = find_tiers()) {
                begin(*topology);
                return true;
            } else {
                std::lock_guard guard(lock_);
                why_untiered_ = "waits for a second tier of memory: " + topology.error().sentence;
            }
        }
        if (!clock_.wait(follow_s)) return false;
    }
}

void Tiering::go_on() {
    if (!choice_.sampler) {
        if (!wait_for_memory()) return;
        if (auto taken = take_sampler(); !taken) {
            std::lock_guard guard(lock_);
            why_untiered_ = taken.error().sentence;
            return;
        }
    }
    if (wait_for_tiers()) engine_->run();
}

// What is left to be done may need memory that there is not.
void Tiering::run() noexcept {
    const auto as_far_as_possible = [](auto what) {
        try {
            what();
        } catch (const std::exception&) {
        }
    };
    as_far_as_possible([&] { go_on(); });
    as_far_as_possible([&] {
        if (engine_) engine_->clear();
    });
    as_far_as_possible([&] { choice_.sampler.reset(); });  // puts back what it has changed
    ended_ = true;
}

void Tiering::follow_if_due(double now_s) {
    if (!engine_ || now_s < next_follow_s_) return;
    next_follow_s_ = now_s + follow_s;
    // Reading all mappings takes milliseconds, also of an idle program.
    std::string size = read_word("/proc/thread-self/statm");
    size.resize(std::min(size.find(' '), size.size()));
    if (size != size_in_kernel_ || now_s >= followed_s_ + follow_anyway_s) {
        size_in_kernel_ = size;
        followed_s_ = now_s;
        follow();
    }
    look_at_nodes(now_s);
}

// A grant may have arrived or be released, and near memory may be no faster under load.
void Tiering::look_at_nodes(double now_s) {
    std::string in_kernel = read_word("/sys/devices/system/node/has_memory");
    if (in_kernel != nodes_in_kernel_) {
        auto present = read_nodes("");
        if (!present) return;  // in the middle of a change: again in a second
        nodes_in_kernel_ = in_kernel;
        nodes_->see(*present);
        control_->set_nodes(nodes_->now());
    }
    // poold may have said that one of them leaves.
    if (TierNodes now = control_->nodes(); now != told_) {
        told_ = std::move(now);
        if (probe_) probe_->set_nodes(told_.near, told_.far);
    }
    if (!probe_ || !probe_->step(now_s)) return;
    ProbeReading reading = probe_->reading();
    if (reading.known) engine_->set_loss_ns(reading.loss_ns());
}

void Tiering::follow() {
    auto mappings = read_mappings(0);
    std::lock_guard guard(lock_);
    trouble_ = mappings ? "" : mappings.error().sentence;
    if (!mappings) return;
    std::vector<AddressRun> own = heap::ranges();
    Selection selection = select(*mappings, own, settings_.min_range_bytes, machine_bytes());
    left_out_ = selection.describe();
    RangeBook::Change change = book_.update(selection.mappings);
    for (const AddressRun& range : change.removed) (void)engine_->remove(range.start);
    for (const AddressRun& range : change.added) {
        auto added = engine_->add(range);
        if (added) continue;
        // Gone already, or somebody else's: it is tried again in the next second.
        book_.drop(range.start);
        size_in_kernel_.clear();
        trouble_ = added.error().sentence;
    }
}

Snapshot Tiering::status() {
    EngineControl* control = tiered_;
    std::unique_lock guard(lock_);
    Snapshot snapshot = control ? Snapshot{} : UntieredControl(why_untiered_).status();
    guard.unlock();
    if (control) snapshot = control->status();
    if (ended_) snapshot.state = TieringState::untiered;
    guard.lock();
    const bool ran_out = ended_ && control;
    for (const std::string& what : {ran_out ? std::string("there was no memory to go on") : "",
                                    trouble_, forks_.describe(), left_out_}) {
        if (!what.empty()) snapshot.sentence += (snapshot.sentence.empty() ? "" : "; ") + what;
    }
    return snapshot;
}

std::unexpected<Error> Tiering::not_yet() {
    std::lock_guard guard(lock_);
    return fail(ENOTSUP, "process %d runs untiered: %s", int(getpid()), why_untiered_.c_str());
}

Result<PageAnswer> Tiering::explain(uint64_t address) {
    EngineControl* control = tiered_;
    return control ? control->explain(address) : not_yet();
}
Result<void> Tiering::set(const Limits& limits) {
    EngineControl* control = tiered_;
    return control ? control->set(limits) : not_yet();
}
Result<PageSlice> Tiering::pages(uint64_t first, uint64_t pages, Detail detail) {
    EngineControl* control = tiered_;
    return control ? control->pages(first, pages, detail) : not_yet();
}
Result<std::vector<BenefitStep>> Tiering::benefit() {
    EngineControl* control = tiered_;
    return control ? control->benefit() : not_yet();
}
double Tiering::settle() {
    EngineControl* control = tiered_;
    return control ? control->settle() : INFINITY;
}

}  // namespace libpool::run
