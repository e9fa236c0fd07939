// SPDX-License-Identifier: Apache-2.0
// harm and speed: what must hold of our policy, checked.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <ctime>
#include <functional>
#include <map>
#include <mutex>
#include <thread>

#include "pooltrace/commands.h"
#include "pooltrace/metrics.h"
#include "pooltrace/random.h"
#include "pooltrace/watch.h"
#include "tier/baselines.h"

namespace libpool::tier::trace {

namespace {

struct HarmRun {
    GenerateOptions options;
    double loss_ns = 0;
    Harm harm;
    double allowance_s = 0, seconds = 0;
    double unbooked_s = 0;  // lost in the end, beyond what the bank's books say
};

HarmRun run_harm(uint64_t seed, World world, TierConfig config, const std::string& kind,
                 double page_rate, double watch_s) {
    Adversary drawn = adversary(seed, kind, page_rate);
    const Trace& trace = drawn.generated.trace;
    world.near_pages = drawn.options.near_pages;
    if (world.loss_ns < 0) world.loss_ns = drawn.loss_ns;
    world.seed = mix(seed);
    config.seed = mix(world.seed);
    auto policy = make_tier_policy(config);
    Watched watched(*policy, watch_s);
    Outcome outcome = simulate(trace, watched, world);
    const BankStatus bank = policy->status().bank;
    std::vector<Promise> promises = watched.promises();
    if (promises.empty()) promises.push_back({0, 0});  // it never decided anything
    HarmRun run{drawn.options, world.loss_ns, {}, promises.back().most_s, outcome.seconds};
    run.harm = harm_of(trace, world, outcome, config.cpu_share, promises);
    run.unbooked_s = run.harm.final_s - (bank.lost_s - bank.earned_s + bank.spent_s);
    return run;
}

void print_run(uint64_t seed, const HarmRun& run) {
    const GenerateOptions& o = run.options;
    std::printf(
        "seed %llu: %s, near %u of %u pages, epochs %u × %.4g s, period %u, %.3g accesses/s, loss "
        "%.3g ns: lost %.4g s by placement, C %.4g s at the end, bound %s by %.4g s\n",
        static_cast<unsigned long long>(seed), o.kind.c_str(), o.near_pages, o.pages, o.epochs,
        o.epoch_s, o.period_epochs, o.accesses_per_s, run.loss_ns, run.harm.lost_s, run.allowance_s,
        run.harm.violated() ? "missed" : "kept", std::abs(run.harm.worst_s));
}

// Runs seeds on `jobs` threads and tells of them in their order, so that the output is the same for
// any number of threads.
void in_order(uint64_t first, uint64_t last, uint32_t jobs,
              const std::function<HarmRun(uint64_t)>& run,
              const std::function<void(uint64_t, const HarmRun&)>& tell) {
    std::mutex lock;  // guards all below
    std::map<uint64_t, HarmRun> done;
    uint64_t next = first, told = first;
    auto work = [&] {
        std::unique_lock held(lock);
        while (next <= last) {
            uint64_t seed = next++;
            held.unlock();
            HarmRun made = run(seed);
            held.lock();
            done.emplace(seed, std::move(made));
            for (auto it = done.find(told); it != done.end(); it = done.find(told)) {
                tell(told++, it->second);
                done.erase(it);
            }
        }
    };
    std::vector<std::jthread> threads;
    for (uint32_t i = 1; i < jobs; ++i) threads.emplace_back(work);
    work();
}

struct KindTally {
    uint64_t runs = 0, violations = 0, placement_violations = 0;
    double worst_part = 0;  // of the allowance that was lost
    double simulated_s = 0, allowance_s = 0, unbooked_s = 0;
    double worst_unbooked_s = -1e9;

    void add(const HarmRun& run) {
        ++runs;
        violations += run.harm.violated();
        placement_violations += run.harm.placement_violated();
        simulated_s += run.seconds;
        allowance_s += run.allowance_s;
        unbooked_s += run.unbooked_s;
        worst_unbooked_s = std::max(worst_unbooked_s, run.unbooked_s);
        if (run.allowance_s > 0)
            worst_part = std::max(worst_part, run.harm.lost_s / run.allowance_s);
    }
};

// Adversaries that do much harm where the books are wrong, or where there are none: only what they
// break tells whether it is the bank that keeps the promise.
bool tells_books(const std::string& kind) { return kind == "lure" || kind == "pairs"; }

// Most violations that a bound which fails with probability delta shows, but for one time in a
// thousand: mean and three deviations of a binomial.
uint64_t tolerated(uint64_t runs, double delta) {
    double mean = double(runs) * delta;
    return uint64_t(mean + 3 * std::sqrt(mean));
}

double cpu_s() {
    timespec now{};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return double(now.tv_sec) + 1e-9 * double(now.tv_nsec);
}

// Decisions over a space of zipf heat, sampled as the policy wishes; how long each took.
std::vector<double> time_decisions(Policy& policy, uint32_t pages, uint32_t near, int decisions) {
    Random random(1);
    policy.track({0, pages});
    std::vector<PageId> all(pages);
    for (PageId page = 0; page < pages; ++page) all[page] = page;
    policy.place(std::span(all).first(near), Place::near);
    policy.place(std::span(all).subspan(near), Place::far);
    std::vector<uint8_t> is_near(pages, 0);
    std::fill_n(is_near.begin(), near, 1);
    uint64_t used = near;
    std::vector<double> times_s;
    Situation s;
    s.near_pages = near;
    s.far_room_pages = pages;
    s.costs = native_costs;
    for (int i = 0; i < decisions; ++i) {
        s.near_room_pages = near - used;
        s.program_cpu_s = s.now_s;
        Aim aim = policy.aim(s);
        Reading reading{s.now_s + aim.pause_s, aim.rungs_s, aim.runs, {}, {}, {}};
        for (const Run& run : aim.runs) {
            for (PageId page = run.first; page < run.end(); ++page) {
                double rate = 1e6 / (1 + double(mix(page) % pages));
                double at_s = random.exponential() / rate;
                auto rung = std::ranges::lower_bound(aim.rungs_s, at_s) - aim.rungs_s.begin();
                bool seen = size_t(rung) < aim.rungs_s.size();
                reading.sights.push_back(seen ? Sight(rung) : not_touched);
            }
        }
        s.now_s += aim.pause_s + (aim.rungs_s.empty() ? 0 : aim.rungs_s.back());
        if (!aim.runs.empty()) policy.observe(reading, s);
        double before = cpu_s();
        Plan plan = policy.decide(s);
        times_s.push_back(cpu_s() - before);
        for (PageId page : plan.demote) is_near[page] = 0;
        for (PageId page : plan.promote) is_near[page] = 1;
        used = used - plan.demote.size() + plan.promote.size();
        policy.place(plan.demote, Place::far);
        policy.place(plan.promote, Place::near);
    }
    return times_s;
}

}  // namespace

Result<int> command_harm(Words words) {
    World world;
    world.loss_ns = -1;  // drawn
    TierConfig config;
    std::string costs = "native", kind;
    uint64_t first = 1, last = 100, shown = 5;
    uint32_t jobs = 1;
    double watch_s = 0, page_rate = page_rate_max;
    bool planted = false, verbose = false, no_bank = false;
    Arguments arguments;
    arguments.range("--seeds", "which seeds (1..100)", &first, &last);
    arguments.word("--gen", "only this kind of adversary (all)", &kind);
    arguments.number("--page-rate", "accesses/s of one page at most (1500)", &page_rate, 1, 1e9);
    arguments.flag(
        "--planted",
        "books against the state before each swap: most runs of lure and pairs must break",
        &planted);
    arguments.flag("--no-bank", "without the bank: likewise", &no_bank);
    arguments.flag("--verbose", "one line a seed", &verbose);
    arguments.number("--watch", "a line of the policy's status every so many seconds; 0: none (0)",
                     &watch_s, 0, 1e6);
    arguments.integer("--show", "violations that are shown (5)", &shown, uint64_t{0}, UINT64_MAX);
    arguments.integer("--jobs", "threads (1)", &jobs, 1u, 256u);
    add_world(arguments, world, costs);
    add_policy(arguments, config);
    if (auto parsed = arguments.parse(words); !parsed) return std::unexpected(parsed.error());
    if (auto good = set_costs(world, costs); !good) return std::unexpected(good.error());
    if (!kind.empty() && !is_adversary(kind))
        return fail(EINVAL, "There is no adversary \"%.40s\".", kind.c_str());
    config.book_against_last = planted;
    config.bank = !no_bank;

    std::printf("seeds %llu..%llu\n", static_cast<unsigned long long>(first),
                static_cast<unsigned long long>(last));
    std::fflush(stdout);  // whatever happens next, the seeds are known
    std::map<std::string, KindTally> tallies;
    uint64_t violations = 0;
    auto tell = [&](uint64_t seed, const HarmRun& run) {
        tallies[run.options.kind].add(run);
        violations += run.harm.violated();
        if (verbose || (run.harm.violated() && violations <= shown)) print_run(seed, run);
    };
    in_order(
        first, last, jobs,
        [&](uint64_t seed) { return run_harm(seed, world, config, kind, page_rate, watch_s); },
        tell);
    uint64_t runs = last - first + 1, most = tolerated(runs, config.delta);
    std::printf("%-10s %7s %11s %19s %15s %9s %9s %24s\n", "adversary", "runs", "violations",
                "by placement alone", "worst loss / C", "mean C s", "mean s",
                "unbooked s: mean, worst");
    for (const auto& [name, tally] : tallies) {
        auto count = double(tally.runs);
        std::printf("%-10s %7llu %11llu %19llu %15.3f %9.3g %9.3g %12.3g %11.3g\n", name.c_str(),
                    static_cast<unsigned long long>(tally.runs),
                    static_cast<unsigned long long>(tally.violations),
                    static_cast<unsigned long long>(tally.placement_violations), tally.worst_part,
                    tally.allowance_s / count, tally.simulated_s / count, tally.unbooked_s / count,
                    tally.worst_unbooked_s);
    }
    std::printf("%llu of %llu runs broke cost <= (1 + %g)·baseline + C; delta %g allows %llu\n",
                static_cast<unsigned long long>(violations), static_cast<unsigned long long>(runs),
                config.cpu_share, config.delta, static_cast<unsigned long long>(most));
    if (!planted && !no_bank) return violations <= most ? 0 : 1;
    uint64_t telling = 0, caught = 0;
    for (const auto& [name, tally] : tallies) {
        if (!tells_books(name)) continue;
        telling += tally.runs;
        caught += tally.violations;
    }
    std::printf("%s %s: %llu of %llu runs of lure and pairs broke the bound.\n",
                planted ? "The planted fault" : "What the bank prevents",
                2 * caught > telling ? "was seen" : "was NOT seen",
                static_cast<unsigned long long>(caught), static_cast<unsigned long long>(telling));
    return 2 * caught > telling ? 0 : 1;
}

Result<int> command_speed(Words words) {
    uint32_t pages = 65536, epochs = 240, decide_pages = 1u << 20;
    std::vector<std::string> policies;
    Arguments arguments;
    arguments.integer("--pages", "of the simulated trace (65536)", &pages, 2, 1u << 22);
    arguments.integer("--epochs", "of it (240)", &epochs, 1, 1u << 16);
    arguments.integer("--decide-pages", "for one decision (1048576)", &decide_pages, 512, 1u << 24);
    arguments.list("--policy", "which policies (all)", &policies);
    if (auto parsed = arguments.parse(words); !parsed) return std::unexpected(parsed.error());
    if (policies.empty())
        for (std::string_view name : policy_names()) policies.emplace_back(name);
    GenerateOptions o;
    o.pages = pages;
    o.near_pages = std::max(1u, pages / 8);
    o.epochs = epochs;
    std::printf("%-12s %-9s %22s %15s %15s\n", "policy", "workload", "page-epochs/s (CPU)",
                "decide: median", "greatest");
    for (const std::string& name : policies) {
        for (const char* kind : {"zipf", "hot"}) {
            auto workload = workload_of_kind(o, kind, "1/8");
            if (!workload) return std::unexpected(workload.error());
            auto policy = make_policy(name, {});
            if (!policy) return std::unexpected(policy.error());
            World world;
            world.near_pages = o.near_pages;
            double before = cpu_s();
            simulate(workload->trace, **policy, world);
            double rate = double(workload->trace.counts.size()) / (cpu_s() - before);
            std::printf("%-12s %-9s %22.3g", name.c_str(), kind, rate);
            if (kind == std::string("zipf")) {
                auto fresh = make_policy(name, {});
                auto times = time_decisions(**fresh, decide_pages, decide_pages / 8, 30);
                std::ranges::sort(times);
                std::printf(" %12.2f ms %12.2f ms", 1e3 * times[times.size() / 2],
                            1e3 * times.back());
            }
            std::printf("\n");
        }
    }
    return 0;
}

}  // namespace libpool::tier::trace
