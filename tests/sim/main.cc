// SPDX-License-Identifier: Apache-2.0
// fmsim --seed N | --seeds A..B   runs with these seeds; exit code 1 at the first violation
//       --trace                   prints every event
//       --twice                   each seed twice: the same seed must give the same trace
//       (invariant 12)
//       --plant BUG               with a planted bug (plant.h); exit code 0 only if its checker saw
//       it
//       --plants                  all planted bugs
#include <fmt/format.h>

#include <charconv>
#include <cstring>
#include <string_view>

#include "run.h"

namespace cxlpool::fmsim {
namespace {

struct Options {
    std::uint64_t first = 1, last = 1;
    bool trace = false, twice = false, all_plants = false, bad = false;
    std::optional<PlantInfo> plant;
};

bool number(std::string_view text, std::uint64_t& value) {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    return error == std::errc{} && end == text.data() + text.size();
}

Options parse(int argc, char** argv) {
    Options options;
    for (int i = 1; i < argc; ++i) {
        const std::string_view word = argv[i];
        const std::string_view value = i + 1 < argc ? argv[i + 1] : "";
        if (word == "--trace") {
            options.trace = true;
        } else if (word == "--twice") {
            options.twice = true;
        } else if (word == "--plants") {
            options.all_plants = true;
        } else if (word == "--seed" && number(value, options.first)) {
            options.last = options.first;
            ++i;
        } else if (const auto dots = value.find("..");
                   word == "--seeds" && dots != value.npos &&
                   number(value.substr(0, dots), options.first) &&
                   number(value.substr(dots + 2), options.last)) {
            ++i;
        } else if (word == "--plant" && (options.plant = find_plant(value))) {
            ++i;
        } else {
            options.bad = true;
        }
    }
    return options;
}

void print(std::uint64_t seed, const Verdict& verdict) {
    fmt::print("seed {}: {}\n", seed, verdict.story);
    for (const std::string& event : verdict.last_events) fmt::print("  {}\n", event);
    fmt::print("seed {}: invariant {} is broken: {}\n", seed, verdict.violation->invariant,
               verdict.violation->what);
    fmt::print("again: fmsim --seed {} --trace\n", seed);
}

// The violation of a run, or of the 12th invariant between two runs of the same seed.
Verdict run_seed(std::uint64_t seed, Plant plant, bool trace, bool twice) {
    Verdict verdict = Run(seed, plant, trace).go();
    if (!twice || verdict.violation) return verdict;
    const Verdict again = Run(seed, plant, false).go();
    if (again.trace_hash != verdict.trace_hash || again.steps != verdict.steps) {
        verdict.violation = Violation{12, "two runs of one seed differ"};
    }
    return verdict;
}

// A plant is seen when some seed of a few makes the checker of its invariant fail, and none
// another's first.
bool plant_is_seen(const PlantInfo& info) {
    constexpr std::uint64_t most_seeds = 40;
    int other = 0;
    for (std::uint64_t seed = 1; seed <= most_seeds; ++seed) {
        const Verdict verdict = run_seed(seed, info.plant, false, info.plant == Plant::own_clock);
        if (!verdict.violation) continue;
        if (verdict.violation->invariant == info.invariant) {
            fmt::print("plant {}: seen with seed {}: invariant {}: {}\n", info.name, seed,
                       info.invariant, verdict.violation->what);
            return true;
        }
        ++other;
        fmt::print("plant {}: seed {} shows it as invariant {}: {}\n", info.name, seed,
                   verdict.violation->invariant, verdict.violation->what);
    }
    fmt::print(
        "plant {}: the checker of invariant {} did not see it in {} seeds ({} shown by others)\n",
        info.name, info.invariant, most_seeds, other);
    return false;
}

int run(const Options& options) {
    if (options.all_plants || options.plant) {
        bool all = true;
        for (const PlantInfo& info : kPlants) {
            if (!options.plant || options.plant->plant == info.plant)
                all = plant_is_seen(info) && all;
        }
        return all ? 0 : 1;
    }
    fmt::print("seeds {}..{}\n", options.first, options.last);
    std::fflush(stdout);  // whatever happens next, the seed is known
    std::uint64_t steps = 0, crashes = 0, grants = 0, failed = 0;
    for (std::uint64_t seed = options.first; seed <= options.last; ++seed) {
        const Verdict verdict = run_seed(seed, Plant::none, options.trace, options.twice);
        steps += verdict.steps;
        crashes += verdict.crashes;
        grants += verdict.grants;
        if (!verdict.violation) continue;
        print(seed, verdict);
        if (++failed == 5) break;
    }
    fmt::print("{} seeds, {} steps, {} crashes, {} grants, {} failed\n",
               options.last - options.first + 1, steps, crashes, grants, failed);
    return failed == 0 ? 0 : 1;
}

}  // namespace
}  // namespace cxlpool::fmsim

int main(int argc, char** argv) {
    const auto options = cxlpool::fmsim::parse(argc, argv);
    if (options.bad) {
        fmt::print(stderr,
                   "usage: fmsim [--seed N | --seeds A..B] [--trace] [--twice] "
                   "[--plant BUG | --plants]\n");
        return 2;
    }
    return cxlpool::fmsim::run(options);
}
