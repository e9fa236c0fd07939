// SPDX-License-Identifier: Apache-2.0
// pooltier attach: tiers a process that knows nothing of it, from outside, until either ends. Pages
// stay where they are then.
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <map>
#include <memory>
#include <random>
#include <thread>

#include "latency.h"
#include "pooltier/launch.h"
#include "pooltier/nodes.h"
#include "pooltier/one_process.h"
#include "pooltier/render.h"
#include "pooltier/verbs.h"
#include "tier/control.h"
#include "tier/control_client.h"
#include "tier/engine_control.h"
#include "tier/maps.h"
#include "tier/printable.h"
#include "tier/probe.h"
#include "uapi.h"

namespace pooltier {

using namespace libpool::tier;

namespace {

constexpr double typical_loss_ns = 150;  // of CXL memory, where it cannot be measured
constexpr int look_again_ms = 2000;      // at what the process has mapped

struct Wish {
    pid_t pid = 0;
    Settings settings;
    libpool::Topology tiers;
    TierNodes nodes;  // at the beginning
};

Result<Wish> wish_of(const Args& args) {
    Wish wish;
    auto pid = number(args.arguments.front(), "process id", 1, 1 << 22);
    if (!pid) return std::unexpected(pid.error());
    wish.pid = static_cast<pid_t>(*pid);
    for (const auto& [option, name] : {std::pair{"--near-limit", "near_limit"},
                                       {"--cpu", "cpu"},
                                       {"--mbps", "mbps"},
                                       {"--near-nodes", "near_nodes"},
                                       {"--far-nodes", "far_nodes"},
                                       {"--min-range", "min_range"},
                                       {"--seed", "seed"},
                                       {"--loss-ns", "loss_ns"}}) {
        auto word = args.value(option);
        if (!word) continue;
        if (auto taken = apply_setting(wish.settings, name, *word); !taken) {
            return std::unexpected(taken.error());
        }
    }
    if (auto checked = check_settings(wish.settings); !checked) {
        return std::unexpected(checked.error());
    }
    return wish;
}

// What can be said before anything is begun.
Result<void> may_attach(const Wish& wish) {
    ProcessFacts facts = process_facts(wish.pid);
    if (!facts.exists) return fail(ESRCH, "there is no process %d", wish.pid);
    if (wish.pid == getpid()) return fail(EINVAL, "%d is pooltier itself", wish.pid);
    if (geteuid() != 0) {
        return fail(EPERM, "attaching to %d (%s) needs root: it moves another process's pages",
                    wish.pid, printable(facts.program, 40).c_str());
    }
    auto own = ask_status(wish.pid, 1);
    if (own && own->target == wish.pid && own->state == TieringState::tiered) {
        return fail(EBUSY, "process %d is tiered already", wish.pid);
    }
    if (auto other = attacher_of(wish.pid)) {
        return fail(EBUSY, "process %d is tiered already (attached by %d)", wish.pid, *other);
    }
    return {};
}

class Attached {
  public:
    explicit Attached(const Wish& wish)
        : wish_(wish),
          program_(process_facts(wish.pid).program),
          clock_(wish.pid),
          node_watch_(wish.tiers, "") {}

    Result<void> start() {
        process_ = static_cast<int>(syscall(SYS_pidfd_open, wish_.pid, 0));
        if (process_ < 0) {
            return fail(errno, "process %d cannot be watched: %s", wish_.pid,
                        libpool::errno_text(errno).c_str());
        }
        auto handed_over = ask_descriptor(wish_.pid);
        auto choice =
            choose_sampler("auto", wish_.pid, handed_over ? std::move(*handed_over) : Descriptor{});
        if (!choice) return std::unexpected(choice.error());
        sampler_ = std::move(choice->sampler);
        machine_ = libpool::make_kernel();
        kernel_ = std::make_unique<OneProcess>(*machine_, process_);
        mover_ = std::make_unique<libpool::KernelMover>(*kernel_);
        make_engine();
        update_ranges();
        if (ranges_.empty()) {
            return fail(ENODATA, "process %d has no private memory in pieces of %s or more",
                        wish_.pid, describe_bytes(wish_.settings.min_range_bytes).c_str());
        }
        About about{wish_.pid,         "", choice->refused, wish_.nodes, wish_.settings.cpu_share,
                    TierConfig{}.delta};
        control_ = std::make_unique<EngineControl>(*engine_, *kernel_, clock_, about,
                                                   wish_.settings.near_limit_bytes);
        auto server = ControlServer::start(*control_);
        if (!server) return std::unexpected(server.error());
        server_ = std::move(*server);
        thread_ = std::thread([this] {
            engine_->run();
            ended_ = true;
        });
        return {};
    }

    ~Attached() {
        clock_.stop();
        if (thread_.joinable()) thread_.join();
        server_.reset();
        // The process may keep its copy of the userfaultfd: its memory is to be as before.
        try {
            if (engine_) engine_->clear();
        } catch (const std::exception&) {  // no memory for finding out about a range
        }
        if (process_ >= 0) close(process_);
    }

    // Until the process ends, a signal comes, or the engine gives up.
    void watch(int signals) {
        while (!ended_) {
            pollfd polled[] = {{process_, POLLIN, 0}, {signals, POLLIN, 0}};
            if (poll(polled, 2, look_again_ms) > 0) return;
            update_ranges();
            // A grant has arrived, or is gone.
            if (auto changed = node_watch_.look()) control_->set_nodes(std::move(*changed));
            measure_gain();
        }
    }

    // The process may have ended, and its name with it.
    Snapshot last_words() {
        Snapshot words = control_->status();
        words.pid = getpid();
        words.program = program_;
        return words;
    }

  private:
    void make_engine() {
        TierConfig policy;
        policy.set_budget(wish_.settings.cpu_share);
        policy.seed = wish_.settings.seed ? wish_.settings.seed : std::random_device{}();
        policy_ = make_tier_policy(policy);
        EngineConfig config;
        config.pid = wish_.pid;
        config.near_nodes = wish_.nodes.near;
        config.far_nodes = wish_.nodes.far;
        config.near_limit_bytes = wish_.settings.near_limit_bytes;
        config.move_limit_bytes_per_s = wish_.settings.move_limit_bytes_per_s;
        config.loss_ns = wish_.settings.loss_ns;
        if (config.loss_ns == 0) {
            config.loss_ns =
                libpool::measure_gain_ns(wish_.nodes.near.front(), wish_.nodes.far.front())
                    .value_or(typical_loss_ns);
            loads_ = make_load_source();
            probed_ = wish_.nodes;
            probe_ = std::make_unique<LatencyProbe>(*loads_, probed_.near, probed_.far);
        }
        engine_ = std::make_unique<Engine>(*sampler_, *policy_, *mover_, *kernel_, clock_, config);
    }

    // Near memory may be no faster under load.
    void measure_gain() {
        if (!probe_) return;
        if (TierNodes now = control_->nodes(); now != probed_) {
            probed_ = std::move(now);
            probe_->set_nodes(probed_.near, probed_.far);
        }
        if (!probe_->step(clock_.now_s())) return;
        const ProbeReading reading = probe_->reading();
        if (reading.known) engine_->set_loss_ns(reading.loss_ns());
    }

    // Mappings come, go and grow; one that has changed is another one.
    void update_ranges() {
        auto mappings = read_mappings(wish_.pid);
        // It has ended: poll() will say so. What was read may be of another with its number.
        if (!mappings || kernel_->ended()) return;
        std::map<uint64_t, uint64_t> now;
        for (const Mapping& mapping : *mappings) {
            if (!is_private_memory(mapping) || is_sparse(mapping, machine_bytes())) continue;
            if (mapping.bytes() < wish_.settings.min_range_bytes) continue;
            now[mapping.start] = mapping.bytes() / libpool::page_bytes;
        }
        std::erase_if(ranges_, [&](const auto& old) {
            auto still = now.find(old.first);
            if (still != now.end() && still->second == old.second) return false;
            (void)engine_->remove(old.first);
            return true;
        });
        for (const auto& [start, pages] : now) {
            if (ranges_.contains(start)) continue;
            if (engine_->add({start, pages})) ranges_[start] = pages;
        }
    }

    const Wish& wish_;
    const std::string program_;
    SystemClock clock_;
    NodeWatch node_watch_;
    int process_ = -1;
    std::unique_ptr<Sampler> sampler_;
    std::unique_ptr<libpool::Kernel> machine_;
    std::unique_ptr<OneProcess> kernel_;
    std::unique_ptr<libpool::Mover> mover_;
    std::unique_ptr<TierPolicy> policy_;
    std::unique_ptr<Engine> engine_;
    std::unique_ptr<EngineControl> control_;
    std::unique_ptr<ControlServer> server_;
    std::unique_ptr<LoadSource> loads_;
    std::unique_ptr<LatencyProbe> probe_;  // none where the gain was given
    TierNodes probed_;
    std::map<uint64_t, uint64_t> ranges_;  // start → pages
    std::atomic<bool> ended_ = false;
    std::thread thread_;
};

}  // namespace

int attach(const Args& args) {
    auto wish = wish_of(args);
    if (!wish) return say_usage(wish.error());
    if (auto may = may_attach(*wish); !may) return say(may.error());
    auto tiers = tiers_of(wish->settings);
    if (!tiers) return say(exit_refused, tiers.error().sentence);
    wish->tiers = std::move(*tiers);
    wish->nodes = NodeBook(wish->tiers).now();
    // Before any thread is made: they end it in good order.
    sigset_t ending;
    sigemptyset(&ending);
    sigaddset(&ending, SIGINT);
    sigaddset(&ending, SIGTERM);
    sigprocmask(SIG_BLOCK, &ending, nullptr);
    Descriptor signals(signalfd(-1, &ending, SFD_CLOEXEC));
    if (!signals) {
        return say(exit_refused, "signals cannot be waited for: " + libpool::errno_text(errno));
    }
    Attached attached(*wish);
    if (auto started = attached.start(); !started) {
        return say(exit_refused, printable(started.error().sentence, 500));
    }
    say(0, text("tiering process %d; `pooltier status %d` tells how; Ctrl-C ends it", wish->pid,
                getpid()));
    attached.watch(signals.get());
    print(status_block(attached.last_words()));
    return exit_done;
}

}  // namespace pooltier
