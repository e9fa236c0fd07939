// SPDX-License-Identifier: Apache-2.0
// harm and speed: what must hold of our policy, checked.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <ctime>
#include <functional>
#include <map>
#include <mutex>
#include <string_view>
#include <thread>

#include "pooltrace/commands.h"
#include "pooltrace/metrics.h"
#include "pooltrace/random.h"
#include "pooltrace/speed_gate.h"
#include "pooltrace/watch.h"
#include "tier/baselines.h"

namespace libpool::tier::trace {

namespace {

unsigned long long number(uint64_t value) { return value; }

struct HarmRun {
    GenerateOptions options;
    double loss_ns = 0;
    Harm harm;
    double most_s = 0, seconds = 0;  // C + U at the end
    double unbooked_s = 0;           // lost in the end, beyond what the bank's books say
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
    HarmRun run{drawn.options, world.loss_ns, {}, promises.back().most_s(), outcome.seconds};
    run.harm = harm_of(trace, world, outcome, config.cpu_share, promises);
    run.unbooked_s = run.harm.final_s - (bank.lost_s - bank.earned_s + bank.spent_s);
    return run;
}

void print_run(uint64_t seed, const HarmRun& run) {
    const GenerateOptions& o = run.options;
    std::printf(
        "seed %llu: %s, near %u of %u pages, epochs %u × %.4g s, period %u, %.3g accesses/s, loss "
        "%.3g ns: lost %.4g s by placement, C + U %.4g s at the end, bound %s by %.4g s\n",
        number(seed), o.kind.c_str(), o.near_pages, o.pages, o.epochs, o.epoch_s, o.period_epochs,
        o.accesses_per_s, run.loss_ns, run.harm.lost_s, run.most_s,
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
    uint64_t beyond_allowance = 0;  // where C alone would not have been enough
    double worst_part = 0;          // of C + U that was lost
    double simulated_s = 0, most_s = 0, unbooked_s = 0;
    double worst_unbooked_s = -1e9;

    void add(const HarmRun& run) {
        ++runs;
        violations += run.harm.violated();
        placement_violations += run.harm.placement_violated();
        beyond_allowance += run.harm.beyond_allowance();
        simulated_s += run.seconds;
        most_s += run.most_s;
        unbooked_s += run.unbooked_s;
        worst_unbooked_s = std::max(worst_unbooked_s, run.unbooked_s);
        if (run.most_s > 0) worst_part = std::max(worst_part, run.harm.lost_s / run.most_s);
    }
};
using Tallies = std::map<std::string, KindTally>;

// Seeds take the kinds in turn, see adversary().
std::string share_of_kinds(uint64_t runs, const std::string& only) {
    if (!only.empty()) return "all of " + only;
    const auto all = uint64_t(std::ranges::count_if(kinds(), &KindInfo::adversarial));
    const std::string each = runs % all == 0
                                 ? text("%llu", number(runs / all))
                                 : text("%llu or %llu", number(runs / all), number(runs / all + 1));
    return text("%s of each of %llu adversaries", each.c_str(), number(all));
}

void print_tallies(const Tallies& tallies) {
    std::printf("%-10s %7s %11s %19s %13s %20s %12s %9s %24s\n", "adversary", "runs", "violations",
                "by placement alone", "above C alone", "worst loss / (C + U)", "mean C + U s",
                "mean s", "unbooked s: mean, worst");
    for (const auto& [name, tally] : tallies) {
        const auto count = double(tally.runs);
        std::printf("%-10s %7llu %11llu %19llu %13llu %20.3f %12.3g %9.3g %12.3g %11.3g\n",
                    name.c_str(), number(tally.runs), number(tally.violations),
                    number(tally.placement_violations), number(tally.beyond_allowance),
                    tally.worst_part, tally.most_s / count, tally.simulated_s / count,
                    tally.unbooked_s / count, tally.worst_unbooked_s);
    }
}

struct Caught {
    uint64_t runs = 0, violations = 0;
};

Caught caught_among(const Tallies& tallies, std::initializer_list<std::string_view> wanted) {
    Caught sum;
    for (const auto& [name, tally] : tallies) {
        if (std::ranges::find(wanted, name) == wanted.end()) continue;
        sum.runs += tally.runs;
        sum.violations += tally.violations;
    }
    return sum;
}

// Lure and pairs do much harm where the books are wrong, or where there are none: only what they
// break tells whether it is the bank that keeps the promise. Turns, by which docs/TIERING.md
// explains the planted fault, are shown and not demanded: of lengths that are drawn most are too
// short to be followed, or so long that the far pages earn about what the near ones lose. Lure is
// turns of the lengths that make the worst of it.
int judge_fault(const Tallies& tallies, const char* fault) {
    const Caught turns = caught_among(tallies, {"turns"});
    if (turns.runs > 0) {
        std::printf(
            "%s: %llu of %llu runs of turns broke the bound; nothing is demanded of them.\n", fault,
            number(turns.violations), number(turns.runs));
    }
    const Caught telling = caught_among(tallies, {"lure", "pairs"});
    if (telling.runs == 0 && turns.runs > 0) return 0;
    const bool seen = 2 * telling.violations > telling.runs;
    std::printf("%s %s: %llu of %llu runs of lure and pairs broke the bound.\n", fault,
                seen ? "was seen" : "was NOT seen", number(telling.violations),
                number(telling.runs));
    return seen ? 0 : 1;
}

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

// What was said of all that could be judged: "" or what is wrong.
int judge_speed(std::vector<std::string> said) {
    std::printf(
        "The goals of ours: %.3g page-epochs a second, a decision for a million pages in %g ms.\n",
        speed_goal_per_s, 1e3 * decision_goal_s);
    if (said.empty()) std::printf("Too little was asked for to judge by.\n");
    std::erase(said, "");
    for (const std::string& sentence : said) std::printf("%s\n", sentence.c_str());
    return said.empty() ? 0 : 1;
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
    arguments.flag("--planted",
                   "books against the state before each swap: most runs of lure and pairs must "
                   "break, turns may",
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

    const uint64_t runs = last - first + 1;
    std::printf("seeds %llu..%llu: %s\n", number(first), number(last),
                share_of_kinds(runs, kind).c_str());
    std::fflush(stdout);  // whatever happens next, the seeds are known
    Tallies tallies;
    uint64_t violations = 0, beyond_allowance = 0;
    auto tell = [&](uint64_t seed, const HarmRun& run) {
        tallies[run.options.kind].add(run);
        violations += run.harm.violated();
        beyond_allowance += run.harm.beyond_allowance();
        if (verbose || (run.harm.violated() && violations <= shown)) print_run(seed, run);
    };
    in_order(
        first, last, jobs,
        [&](uint64_t seed) { return run_harm(seed, world, config, kind, page_rate, watch_s); },
        tell);
    print_tallies(tallies);
    const uint64_t most = tolerated(runs, config.delta);
    std::printf("%llu of %llu runs broke cost <= (1 + %g)·baseline + C + U; delta %g allows %llu\n",
                number(violations), number(runs), config.cpu_share, config.delta, number(most));
    std::printf(
        "%llu of %llu runs went above (1 + %g)·baseline + C, without U: not promised, no failure\n",
        number(beyond_allowance), number(runs), config.cpu_share);
    if (!planted && !no_bank) return violations <= most ? 0 : 1;
    return judge_fault(tallies, planted ? "The planted fault" : "What the bank prevents");
}

Result<int> command_speed(Words words) {
    uint32_t pages = judged_pages, epochs = judged_epochs, decide_pages = judged_decide_pages;
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
    std::vector<std::string> slow;
    for (const std::string& name : policies) {
        const bool judged = name == "ours";  // nobody has promised anything of the others
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
            if (judged && can_judge_simulation(pages, epochs))
                slow.push_back(why_slow_simulation(kind, rate));
            if (kind == std::string("zipf")) {
                auto fresh = make_policy(name, {});
                auto times = time_decisions(**fresh, decide_pages, decide_pages / 8, 30);
                std::ranges::sort(times);
                const double median_s = times[times.size() / 2];
                std::printf(" %12.2f ms %12.2f ms", 1e3 * median_s, 1e3 * times.back());
                if (judged && can_judge_decision(decide_pages))
                    slow.push_back(why_slow_decision(decide_pages, median_s));
            }
            std::printf("\n");
        }
    }
    return judge_speed(slow);
}

}  // namespace libpool::tier::trace
