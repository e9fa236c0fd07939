// SPDX-License-Identifier: Apache-2.0
// gen, run, bound and matrix.
#include <cstdio>

#include "pooltrace/commands.h"
#include "pooltrace/metrics.h"
#include "pooltrace/report.h"
#include "pooltrace/watch.h"
#include "tier/baselines.h"

namespace libpool::tier::trace {

namespace {

struct RunOptions {
    GenerateOptions generator;
    World world;
    TierConfig config;
    BoundOptions bound;
    std::string costs = "native", near = "1/8", file, kind, csv, plot, out = "-";
    bool no_bank = false;
    std::vector<std::string> policies, kinds, files, nears;
    uint32_t jump = 0;
    double watch_s = 0;

    RunOptions() { bound.iterations = 100; }
    void add_common(Arguments& a) {
        add_generator(a, generator);
        add_world(a, world, costs);
        add_policy(a, config);
        a.integer("--bound-steps", "iterations for the bound (100)", &bound.iterations, 1u,
                  1'000'000u);
        a.flag("--no-bank", "our policy without its bank", &no_bank);
        a.word("--csv", "write the summary there", &csv);
    }
    Result<void> settle() {
        config.bank = !no_bank;
        config.seed = world.seed = generator.seed;
        return set_costs(world, costs);
    }
    BoundProblem problem() const { return {world.near_pages, world.loss_ns, world.move_ns}; }
};

Result<Workload> one_workload(const RunOptions& o) {
    if (o.file.empty() == o.kind.empty())
        return fail(EINVAL, "Say either --trace FILE or --gen KIND.");
    return o.file.empty() ? workload_of_kind(o.generator, o.kind, o.near)
                          : workload_from_file(o.file);
}

Result<std::vector<Summary>> run_policies(const RunOptions& o, const Workload& workload,
                                          const Bound& bound, std::vector<Curve>* curves) {
    std::vector<Summary> rows;
    for (const std::string& name : o.policies) {
        auto policy = make_policy(name, o.config);
        if (!policy) return std::unexpected(policy.error());
        Outcome outcome;
        if (auto* ours = dynamic_cast<TierPolicy*>(policy->get())) {
            Watched watched(*ours, o.watch_s);
            outcome = simulate(workload.trace, watched, o.world);
        } else {
            outcome = simulate(workload.trace, **policy, o.world);
        }
        rows.push_back(summarize(workload.trace, o.world, outcome, bound, workload.jumps));
        rows.back().policy = name;
        rows.back().workload = workload.name;
        if (curves) curves->push_back({name, std::move(outcome)});
    }
    return rows;
}

// Before minutes of work are lost to a mistyped name.
Result<void> known_policies(std::vector<std::string>& names) {
    if (names.empty())
        for (std::string_view name : policy_names()) names.emplace_back(name);
    for (const std::string& name : names)
        if (auto made = make_policy(name, {}); !made) return std::unexpected(made.error());
    return {};
}

// Likewise to a folder that is not there: said now, not when the work is done.
Result<void> writable_files(const RunOptions& o) {
    std::vector<std::string> files;
    if (!o.plot.empty()) files = plot_files(o.plot, o.policies);
    if (!o.csv.empty()) files.push_back(o.csv);
    if (o.out != "-") files.push_back(o.out);
    for (const std::string& file : files)
        if (auto may = check_writable(file); !may) return may;
    return {};
}

Result<void> report(const std::string& csv, const std::vector<Summary>& rows) {
    std::fputs(summary_table(rows).c_str(), stdout);
    return csv.empty() ? Result<void>{} : write_file(csv, summary_csv(rows));
}

}  // namespace

Result<int> command_gen(Words words) {
    RunOptions o;
    std::vector<std::string> kind;
    Arguments arguments;
    arguments.rest(&kind);
    add_generator(arguments, o.generator);
    arguments.word("--near", "near pages that adversaries aim at: N or 1/8 (1/8)", &o.near);
    arguments.word("--out", "file; - is standard output (-)", &o.out);
    if (auto parsed = arguments.parse(words); !parsed) return std::unexpected(parsed.error());
    if (kind.size() != 1) return fail(EINVAL, "Say one kind: pooltrace gen KIND [OPTIONS].");
    if (auto may = writable_files(o); !may) return std::unexpected(may.error());
    auto workload = workload_of_kind(o.generator, kind[0], o.near);
    if (!workload) return std::unexpected(workload.error());
    std::string printed = print(workload->trace);
    for (uint32_t jump : workload->jumps)
        std::fprintf(stderr, "The hot set jumps at epoch %u: give --jump %u to run.\n", jump, jump);
    if (o.out == "-") {
        bool whole = std::fwrite(printed.data(), 1, printed.size(), stdout) == printed.size() &&
                     std::fflush(stdout) == 0;
        if (!whole) return fail(errno, "Standard output: %s.", errno_text(errno).c_str());
        return 0;
    }
    if (auto written = write_file(o.out, printed); !written)
        return std::unexpected(written.error());
    return 0;
}

Result<int> command_run(Words words) {
    RunOptions o;
    Arguments arguments;
    arguments.word("--trace", "a recorded trace", &o.file);
    arguments.word("--gen", "or a kind of generated one", &o.kind);
    arguments.word("--near", "near memory: pages, or a part like 1/8 (1/8)", &o.near);
    arguments.list("--policy", "which policies (all)", &o.policies);
    arguments.integer("--jump", "epoch at which the hot set changed, for the recovery time",
                      &o.jump, 1u, UINT32_MAX);
    arguments.word("--plot", "PREFIX.svg, PREFIX.gp and PREFIX.POLICY.csv by epoch", &o.plot);
    arguments.number("--watch", "a line of our policy's status every so many seconds; 0: none (0)",
                     &o.watch_s, 0, 1e6);
    o.add_common(arguments);
    if (auto parsed = arguments.parse(words); !parsed) return std::unexpected(parsed.error());
    if (auto good = o.settle(); !good) return std::unexpected(good.error());
    if (auto known = known_policies(o.policies); !known) return std::unexpected(known.error());
    if (auto may = writable_files(o); !may) return std::unexpected(may.error());
    auto workload = one_workload(o);
    if (!workload) return std::unexpected(workload.error());
    auto near = near_of(o.near, workload->trace.pages);
    if (!near) return std::unexpected(near.error());
    o.world.near_pages = *near;
    if (o.jump >= workload->trace.epochs())
        return fail(EINVAL, "--jump %u is behind the last epoch, %zu.", o.jump,
                    workload->trace.epochs() - 1);
    if (o.jump > 0) workload->jumps = {o.jump};
    Bound bound = lower_bound(workload->trace, o.problem(), o.bound);
    std::vector<Curve> curves;
    auto rows = run_policies(o, *workload, bound, o.plot.empty() ? nullptr : &curves);
    if (!rows) return std::unexpected(rows.error());
    if (auto reported = report(o.csv, *rows); !reported) return std::unexpected(reported.error());
    if (!o.plot.empty()) {
        auto drawn = plot(
            o.plot,
            text("%s, near %u of %u pages", workload->name.c_str(), *near, workload->trace.pages),
            workload->trace, curves, bound);
        if (!drawn) return std::unexpected(drawn.error());
        std::printf("%s\n", drawn->c_str());
    }
    return 0;
}

Result<int> command_bound(Words words) {
    RunOptions o;
    o.bound.iterations = 1000;
    Arguments arguments;
    arguments.word("--trace", "a recorded trace", &o.file);
    arguments.word("--gen", "or a kind of generated one", &o.kind);
    arguments.word("--near", "near memory: pages, or a part like 1/8 (1/8)", &o.near);
    o.add_common(arguments);
    if (auto parsed = arguments.parse(words); !parsed) return std::unexpected(parsed.error());
    if (auto good = o.settle(); !good) return std::unexpected(good.error());
    if (auto may = writable_files(o); !may) return std::unexpected(may.error());
    auto workload = one_workload(o);
    if (!workload) return std::unexpected(workload.error());
    auto near = near_of(o.near, workload->trace.pages);
    if (!near) return std::unexpected(near.error());
    o.world.near_pages = *near;
    Bound bound = lower_bound(workload->trace, o.problem(), o.bound);
    std::printf("no placement costs less than  %.6g s\n", bound.cost_ns * 1e-9);
    std::printf("a plan was found that costs   %.6g s (%.3f %% more)\n", bound.plan_ns * 1e-9,
                bound.cost_ns > 0 ? 100 * (bound.plan_ns / bound.cost_ns - 1) : 0.0);
    std::printf("near hits less moves at best  %.4f of accesses\n", bound.near_share);
    std::printf("iterations                    %u\n", bound.iterations);
    if (o.csv.empty()) return 0;
    std::string prices = "epoch,price_ns\n";
    for (size_t e = 0; e < bound.prices_ns.size(); ++e)
        prices += text("%zu,%.9g\n", e, bound.prices_ns[e]);
    if (auto written = write_file(o.csv, prices); !written) return std::unexpected(written.error());
    return 0;
}

Result<int> command_matrix(Words words) {
    RunOptions o;
    Arguments arguments;
    arguments.list("--trace", "recorded traces", &o.files);
    arguments.list("--gen", "kinds of generated ones (all, when no trace is given)", &o.kinds);
    arguments.list("--near", "near sizes (1/8,1/2)", &o.nears);
    arguments.list("--policy", "which policies (all)", &o.policies);
    o.add_common(arguments);
    if (auto parsed = arguments.parse(words); !parsed) return std::unexpected(parsed.error());
    if (auto good = o.settle(); !good) return std::unexpected(good.error());
    if (auto known = known_policies(o.policies); !known) return std::unexpected(known.error());
    if (auto may = writable_files(o); !may) return std::unexpected(may.error());
    if (o.nears.empty()) o.nears = {"1/8", "1/2"};
    if (o.kinds.empty() && o.files.empty())
        for (const KindInfo& kind : kinds()) o.kinds.emplace_back(kind.name);
    std::vector<Summary> rows;
    auto cell = [&](const Workload& workload, const std::string& near) -> Result<void> {
        auto pages = near_of(near, workload.trace.pages);
        if (!pages) return std::unexpected(pages.error());
        o.world.near_pages = *pages;
        Bound bound = lower_bound(workload.trace, o.problem(), o.bound);
        auto more = run_policies(o, workload, bound, nullptr);
        if (!more) return std::unexpected(more.error());
        rows.insert(rows.end(), more->begin(), more->end());
        return {};
    };
    for (const std::string& near : o.nears) {
        for (const std::string& kind : o.kinds) {
            auto workload = workload_of_kind(o.generator, kind, near);
            if (!workload) return std::unexpected(workload.error());
            if (auto done = cell(*workload, near); !done) return std::unexpected(done.error());
        }
    }
    for (const std::string& file : o.files) {
        auto workload = workload_from_file(file);
        if (!workload) return std::unexpected(workload.error());
        for (const std::string& near : o.nears)
            if (auto done = cell(*workload, near); !done) return std::unexpected(done.error());
    }
    if (auto reported = report(o.csv, rows); !reported) return std::unexpected(reported.error());
    return 0;
}

}  // namespace libpool::tier::trace
