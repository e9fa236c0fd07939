// SPDX-License-Identifier: Apache-2.0
#include <charconv>
#include <cstdio>

#include "pooltrace/commands.h"
#include "tier/printable.h"

namespace libpool::tier::trace {

void add_generator(Arguments& arguments, GenerateOptions& o) {
    arguments.integer("--pages", "pages of the trace (8192)", &o.pages, 2, 1u << 24);
    arguments.integer("--epochs", "epochs (240)", &o.epochs, 1, 1u << 24);
    arguments.number("--epoch-s", "length of an epoch in seconds (0.25)", &o.epoch_s, 1e-6, 3600);
    arguments.number("--accesses", "accesses/s of the whole program (2e6)", &o.accesses_per_s, 0,
                     1e12);
    arguments.number("--hot-part", "part of the pages that is hot (0.1)", &o.hot_part, 0, 1);
    arguments.number("--hot-share", "their share of accesses (0.9)", &o.hot_share, 0, 1);
    arguments.number("--skew", "exponent of zipf's law (0.99)", &o.skew, 0, 10);
    arguments.integer("--period", "epochs that one thing stays: cyclic, turns, phase (8)",
                      &o.period_epochs, 1, 1u << 24);
    arguments.number("--far-part", "turns: part of the time that far pages are hot (0.5)",
                     &o.far_part, 0, 1);
    arguments.flag("--irregular", "turns: lengths are drawn", &o.irregular);
    arguments.number("--growth", "turns: of each over the one before (1)", &o.growth, 1, 100);
    arguments.integer("--seed", "of the trace, the sampling and the policy (1)", &o.seed, 0,
                      UINT64_MAX);
}

void add_world(Arguments& arguments, World& world, std::string& costs) {
    arguments.number("--loss-ns", "what a far access costs more (150)", &world.loss_ns, 0, 1e6);
    arguments.number("--move-ns", "what moving a page costs (2000)", &world.move_ns, 0, 1e9);
    arguments.word("--costs", "of sampling: native or guest (native)", &costs);
    arguments.number("--mover-pages", "pages/s that may be moved; 0: all (0)",
                     &world.mover_pages_per_s, 0, 1e9);
    arguments.integer("--ping-pong", "a page moved back within so many epochs counts (10)",
                      &world.ping_pong_epochs, 1u, UINT32_MAX);
    arguments.flag("--exact", "the policies are given counts: fed by the truth", &world.exact);
}

void add_policy(Arguments& arguments, TierConfig& config) {
    arguments.number("--cpu-share", "sampling and deciding, of the program's CPU (0.01)",
                     &config.cpu_share, 0, 1);
    arguments.number("--busy-cpu-share", "the same for some seconds after a change (0.03)",
                     &config.busy_cpu_share, 0, 1);
    arguments.number("--delta", "the bound may fail with this probability (0.001)", &config.delta,
                     1e-12, 0.5);
    arguments.number("--allowance-s", "C in seconds; negative: by rule (-1)", &config.allowance_s,
                     -1, 1e9);
}

Result<void> set_costs(World& world, const std::string& name) {
    if (name == "native") {
        world.costs = native_costs;
    } else if (name == "guest") {
        world.costs = guest_costs;
    } else {
        return fail(EINVAL, "--costs must be native or guest, not \"%.40s\".", name.c_str());
    }
    return {};
}

Result<uint32_t> near_of(const std::string& word, uint32_t pages) {
    auto number = [](std::string_view digits, uint32_t& out) {
        auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), out);
        return error == std::errc{} && end == digits.data() + digits.size();
    };
    uint32_t part = 0, whole = 0;
    size_t slash = word.find('/');
    if (slash == std::string::npos && number(word, part) && part > 0) return std::min(part, pages);
    if (slash != std::string::npos && number(word.substr(0, slash), part) &&
        number(word.substr(slash + 1), whole) && part > 0 && part <= whole) {
        return std::max(1u, uint32_t(uint64_t(pages) * part / whole));
    }
    return fail(EINVAL,
                "--near must be a number of pages above 0, or a part like 1/8, not \"%.40s\".",
                word.c_str());
}

Result<Workload> workload_from_file(const std::string& path) {
    auto trace = read_trace(path);
    if (!trace) return std::unexpected(trace.error());
    if (!trace->whole)
        std::fprintf(stderr, "pooltrace: %s\n", on_terminal(cut_off(*trace, path)).c_str());
    size_t slash = path.rfind('/');
    std::string name = slash == std::string::npos ? path : path.substr(slash + 1);
    for (char& c : name)
        if (c <= ' ' || c > '~' || c == ',') c = '_';
    return Workload{name, std::move(*trace), {}};
}

Result<Workload> workload_of_kind(GenerateOptions options, const std::string& kind,
                                  const std::string& near) {
    auto pages = near_of(near, options.pages);
    if (!pages) return std::unexpected(pages.error());
    options.kind = kind;
    options.near_pages = *pages;
    auto made = generate(options);
    if (!made) return std::unexpected(made.error());
    return Workload{kind, std::move(made->trace), std::move(made->jumps)};
}

}  // namespace libpool::tier::trace
