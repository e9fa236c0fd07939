// SPDX-License-Identifier: Apache-2.0
#include "tier/tiering.h"

#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <iterator>

#include "latency.h"
#include "numa_balancing.h"
#include "signals.h"
#include "tier/drain.h"
#include "tier/sampler_choice.h"
#include "uapi.h"

namespace libpool::tier {

namespace {

constexpr auto watch_interval = std::chrono::seconds(1);
constexpr double typical_loss_ns = 150;  // of CXL memory, where nothing can be measured

Result<void> check_moving_works(Kernel& kernel) {
    int on_stack = 0;
    uint64_t page = reinterpret_cast<uint64_t>(&on_stack) & ~(page_bytes - 1);
    int node = where(kernel, 0, {&page, 1}).front();
    if (node >= 0) return {};
    return fail(-node, "move_pages is refused: %s (a seccomp profile of the container may do that)",
                errno_text(-node).c_str());
}

std::string nodes_with_memory() {
    std::ifstream file("/sys/devices/system/node/has_memory");
    return {std::istreambuf_iterator<char>(file), {}};
}

std::unique_ptr<Mover> make_mover(Kernel& kernel, bool dry) {
    if (dry) return std::make_unique<DryMover>(kernel);
    return std::make_unique<KernelMover>(kernel);
}

// Believed rates by address. Ranges are few and pages many.
class RateMap {
  public:
    explicit RateMap(std::vector<Engine::Rates> ranges) : ranges_(std::move(ranges)) {
        std::sort(ranges_.begin(), ranges_.end(),
                  [](auto& a, auto& b) { return a.start < b.start; });
    }
    float of(uint64_t address) const {
        auto after = std::upper_bound(ranges_.begin(), ranges_.end(), address,
                                      [](uint64_t at, auto& range) { return at < range.start; });
        if (after == ranges_.begin()) return 0;
        const Engine::Rates& range = *std::prev(after);
        uint64_t page = (address - range.start) / page_bytes;
        return page < range.per_s.size() ? range.per_s[page] : 0;
    }

  private:
    std::vector<Engine::Rates> ranges_;
};

std::string remarks(const SamplerChoice& choice) {
    std::string said;
    for (const SamplerState& state : choice.refused) {
        said += "; not by " + state.name + ": " + state.why;
    }
    if (choice.sampler->info().writes_only) {
        said += "; reads are not seen, so pages that are near without it stay near";
    }
    return said;
}

double mib(uint64_t bytes) { return double(bytes) / (1 << 20); }

}  // namespace

// Never destroyed: a Tiering may be static.
class Tiering::Living {
  public:
    static Living& all() {
        static auto& living = *new Living;
        return living;
    }
    void add(Tiering* one) {
        std::lock_guard guard(lock_);
        members_.push_back(one);
    }
    void remove(Tiering* one) {
        std::lock_guard guard(lock_);
        std::erase(members_, one);
    }

  private:
    Living() {
        pthread_atfork([] { all().lock_.lock(); }, [] { all().lock_.unlock(); },
                       [] {
                           for (Tiering* one : all().members_) one->abandon_in_child();
                           all().lock_.unlock();
                       });
    }
    std::mutex lock_;
    std::vector<Tiering*> members_;
};

Tiering::Tiering(const Topology& topology, const TieringWish& wish)
    : dry_(wish.dry),
      kernel_(make_kernel()),
      mover_(make_mover(*kernel_, dry_)),
      nodes_(topology),
      seen_(nodes_with_memory()) {
    Living::all().add(this);
}

Result<std::unique_ptr<Tiering>> Tiering::start(const Topology& topology, const TieringWish& wish) {
    if (topology.tier_names.size() < 2) return fail(EOPNOTSUPP, "%s", topology.reason.c_str());
    std::unique_ptr<Tiering> tiering(new Tiering(topology, wish));
    if (auto begun = tiering->begin(topology, wish); !begun) return std::unexpected(begun.error());
    return tiering;
}

Result<void> Tiering::begin(const Topology& topology, const TieringWish& wish) {
    if (auto works = check_moving_works(*kernel_); !works) return works;
    auto choice = choose_sampler(wish.sampler);
    if (!choice) return fail(EOPNOTSUPP, "%s", choice.error().sentence.c_str());
    not_told_ = remarks(*choice);
    sampler_ = std::move(choice->sampler);
    policy_ = make_tier_policy(wish.policy);
    EngineConfig config = wish.engine;
    told_ = nodes_.now();
    config.near_nodes = told_.near;
    config.far_nodes = told_.far;
    config.loss_ns = wish.loss_ns;
    if (wish.loss_ns <= 0) {
        int near = topology.tier_nodes(0).front(), far = topology.nodes_beyond(0).front();
        config.loss_ns = measure_gain_ns(near, far).value_or(typical_loss_ns);
        loads_ = make_load_source();
        probe_ = std::make_unique<LatencyProbe>(*loads_, told_.near, told_.far);
    }
    engine_ = std::make_unique<Engine>(*sampler_, *policy_, *mover_, *kernel_, clock_, config);
    About about{.target = 0,
                .tenant = "",
                .refused = choice->refused,
                .nodes = told_,
                .cpu_share = wish.policy.cpu_share,
                .delta = wish.policy.delta};
    control_ = std::make_unique<EngineControl>(*engine_, *kernel_, clock_, std::move(about),
                                               config.near_limit_bytes);
    if (wish.control) {
        auto server = ControlServer::start(*control_);
        if (server) {
            server_ = std::move(*server);
        } else {
            not_told_ += "; pooltier cannot ask it: " + server.error().sentence;
        }
    }
    {
        SignalsBlocked inherited;
        thread_ = std::thread([this] { engine_->run(); });
        watch_ = std::thread([this] { run_watch(); });
    }
    pthread_setname_np(thread_.native_handle(), "libpool");
    pthread_setname_np(watch_.native_handle(), "libpool-watch");
    return {};
}

void Tiering::abandon_in_child() {
    if (server_) server_->abandon_in_child();
}

Tiering::~Tiering() {
    Living::all().remove(this);
    server_.reset();
    clock_.stop();
    {
        std::lock_guard guard(stop_lock_);
        stop_ = true;
    }
    stop_changed_.notify_all();
    if (watch_.joinable()) watch_.join();
    if (thread_.joinable()) thread_.join();
    // A forked child may hold the userfaultfd for longer: the memory is to be as before, as far as
    // there is memory for finding out about it.
    try {
        if (engine_) engine_->clear();
    } catch (const std::exception&) {
    }
}

// Without memory for it there is no watch for this second, and the engine goes on with what it
// knows.
void Tiering::run_watch() {
    std::unique_lock guard(stop_lock_);
    while (!stop_changed_.wait_for(guard, watch_interval, [this] { return stop_; })) {
        guard.unlock();
        try {
            watch_once();
        } catch (const std::exception&) {
        }
        guard.lock();
    }
}

void Tiering::watch_once() {
    std::string has_memory = nodes_with_memory();
    std::lock_guard guard(nodes_lock_);
    if (has_memory != seen_) take_stock(has_memory);
    follow_nodes();
    if (!probe_ || !probe_->step(clock_.now_s())) return;
    ProbeReading reading = probe_->reading();
    if (reading.known) engine_->set_loss_ns(reading.loss_ns());
}

// A node came or went. With the lock of nodes held.
void Tiering::take_stock(const std::string& has_memory) {
    auto present = read_nodes("");
    if (!present) return;  // in the middle of a change: again in a second
    seen_ = has_memory;
    nodes_.see(*present);
    tell_nodes();
}

void Tiering::tell_nodes() {
    control_->set_nodes(nodes_.now());
    follow_nodes();
}

// poold may have said that one of them leaves.
void Tiering::follow_nodes() {
    TierNodes now = control_->nodes();
    if (now == told_) return;
    told_ = std::move(now);
    if (probe_) probe_->set_nodes(told_.near, told_.far);
}

Result<Evacuation> Tiering::drain(int node, double seconds, const Progress& progress) {
    std::unique_lock one(drain_lock_, std::try_to_lock);
    if (!one.owns_lock()) return fail(EBUSY, "another drain is under way");
    DrainTask task;
    task.deadline_s = KernelMover::steady_now_s() + seconds;
    {
        std::lock_guard guard(nodes_lock_);
        if (auto begun = nodes_.drain(node); !begun) return std::unexpected(begun.error());
        tell_nodes();
        task.near_nodes = told_.near;
        task.far_nodes = told_.far;
    }
    RateMap rates(engine_->rates());
    task.worth_rate = engine_->status().policy.boundary_rate;
    Site site;
    site.node = node;
    auto kernel = make_kernel();  // ours is the engine's: one thread at a time
    auto mover = make_mover(*kernel, dry_);
    DrainWorld world{*kernel,
                     *mover,
                     KernelMover::steady_now_s,
                     [](double pause_s) {
                         if (pause_s <= 0) return;
                         std::this_thread::sleep_for(std::chrono::duration<double>(pause_s));
                     },
                     [&] { return find_pages(*kernel, 0, site); },
                     [&](uint64_t address) { return rates.of(address); }};
    auto drained = tier::drain(task, world, progress);
    control_->look_anew();
    return drained;
}

Result<void> Tiering::readmit(int node) {
    std::lock_guard guard(nodes_lock_);
    if (auto done = nodes_.readmit(node); !done) return done;
    tell_nodes();
    return {};
}

std::string Tiering::describe() const {
    EngineStatus now = engine_->status();
    auto number = [](uint64_t count) { return static_cast<unsigned long long>(count); };
    std::string out = text(
        "%llu cycles by %s; %.1f MiB of the tracked pages are near, %.1f MiB far; %llu promoted, "
        "%llu demoted, %llu failed",
        number(now.cycles), now.sampler.name.c_str(), mib(now.near_bytes), mib(now.far_bytes),
        number(now.promoted_pages), number(now.demoted_pages), number(now.failed_pages));
    const BankStatus& bank = now.policy.bank;
    out += text(
        "; it costs at most %.3f s or %.1f MiB moved beyond its share of the CPU, %.3f s "
        "before it is noticed and %.3f s of doubt",
        bank.allowance_s, bank.allowance_bytes / (1 << 20), bank.unnoticed_s, bank.margin_s);
    if (server_) out += text(" (pooltier status %d says more)", getpid());
    out += not_told_;
    if (now.loss_ns <= 0) out += "; near memory is no faster now, so nothing is promoted";
    if (now.ranges == 0) out += "; nothing is tracked";
    const int balancing = read_numa_balancing("").value_or(0);
    if (balancing != 0) out += "; " + describe_numa_balancing(balancing);
    if (!now.trouble.empty()) out += "; last trouble: " + now.trouble;
    return out;
}

}  // namespace libpool::tier
