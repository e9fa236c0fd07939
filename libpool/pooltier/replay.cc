// SPDX-License-Identifier: Apache-2.0
// pooltier replay, what-if: a recorded trace under the policy, as it was and with other settings.
#include <algorithm>

#include "pooltier/verbs.h"
#include "pooltrace/commands.h"
#include "pooltrace/metrics.h"
#include "pooltrace/report.h"
#include "tier/baselines.h"
#include "tier/printable.h"
#include "tier/settings.h"

namespace pooltier {

using namespace libpool::tier;
namespace trace = libpool::tier::trace;

namespace {

struct Scene {
    std::string name;  // of the row
    std::string policy = "ours";
    trace::World world;
    TierConfig config;
};

Result<trace::Trace> trace_of(const std::string& path) {
    auto read = trace::read_trace(path);
    if (!read) return read;
    if (read->pages == 0 || read->epochs() == 0) {
        return fail(ENODATA, "%s holds no epochs", printable(path).c_str());
    }
    if (!read->whole) say(0, trace::cut_off(*read, printable(path)));
    return read;
}

// As much near memory as the pages took when the recording began.
uint64_t near_as_recorded(const trace::Trace& recorded) {
    return static_cast<uint64_t>(
        std::count(recorded.home.begin(), recorded.home.end(), Place::near));
}

// "64M" of memory, or "1/8" of the pages; at most all.
Result<uint64_t> near_pages(const std::string& word, uint32_t pages) {
    if (word.find('/') != word.npos) {
        auto part = trace::near_of(word, pages);
        if (!part) return fail(EINVAL, "--near: %s", part.error().sentence.c_str());
        return *part;
    }
    auto bytes = parse_bytes(word);
    if (!bytes) return fail(EINVAL, "--near: %s", bytes.error().sentence.c_str());
    if (*bytes < 4096) return fail(EINVAL, "--near %s is less than one page", word.c_str());
    return std::min<uint64_t>(*bytes / 4096, pages);
}

Result<Scene> as_recorded(const Args& args, const trace::Trace& recorded) {
    Scene scene;
    scene.name = "as recorded";
    scene.world.near_pages = near_as_recorded(recorded);
    if (auto word = args.value("--near"); word && args.verb->name == "replay") {
        auto pages = near_pages(*word, recorded.pages);
        if (!pages) return std::unexpected(pages.error());
        scene.world.near_pages = *pages;
    }
    if (scene.world.near_pages == 0) {
        return fail(EINVAL, "the trace does not say how much was near: give replay --near a size");
    }
    for (const auto& [option, into] :
         {std::pair{"--loss-ns", &scene.world.loss_ns}, {"--move-ns", &scene.world.move_ns}}) {
        auto word = args.value(option);
        if (!word) continue;
        auto value = number(*word, "number of nanoseconds", 1, 1000000000);
        if (!value) return std::unexpected(value.error());
        *into = double(*value);
    }
    auto seed = number(args.value("--seed").value_or("1"), "seed", 1, UINT64_MAX);
    if (!seed) return std::unexpected(seed.error());
    scene.config.seed = scene.world.seed = *seed;
    return scene;
}

// What --near, --cpu and --mbps change.
Result<Scene> changed(const Args& args, const trace::Trace& recorded, Scene scene) {
    if (auto word = args.value("--near")) {
        auto pages = near_pages(*word, recorded.pages);
        if (!pages) return std::unexpected(pages.error());
        scene.world.near_pages = *pages;
    }
    Settings settings;
    for (const auto& [option, name] : {std::pair{"--cpu", "cpu"}, {"--mbps", "mbps"}}) {
        auto word = args.value(option);
        if (!word) continue;
        if (auto taken = apply_setting(settings, name, *word); !taken) {
            return std::unexpected(taken.error());
        }
    }
    scene.config.set_budget(settings.cpu_share);
    scene.world.mover_pages_per_s = double(settings.move_limit_bytes_per_s) / 4096;
    return scene;
}

Result<std::vector<Scene>> scenes_of(const Args& args, const trace::Trace& recorded) {
    auto before = as_recorded(args, recorded);
    if (!before) return std::unexpected(before.error());
    std::vector<Scene> scenes{*before};
    if (args.verb->name == "replay") {
        scenes.push_back(*before);
        scenes.back().policy = "first-touch";
        return scenes;
    }
    auto after = changed(args, recorded, *before);
    if (!after) return std::unexpected(after.error());
    after->name = "what if";
    std::string names = args.value("--policy").value_or("ours") + ",";
    for (size_t at = 0; at < names.size(); at = names.find(',', at) + 1) {
        scenes.push_back(*after);
        scenes.back().policy = names.substr(at, names.find(',', at) - at);
    }
    return scenes;
}

Result<trace::Summary> play(const trace::Trace& recorded, const Scene& scene) {
    auto policy = make_policy(scene.policy, scene.config);
    if (!policy) return std::unexpected(policy.error());
    trace::BoundOptions options;
    options.iterations = 100;
    trace::Bound bound = trace::lower_bound(
        recorded, {scene.world.near_pages, scene.world.loss_ns, scene.world.move_ns}, options);
    trace::Outcome outcome = trace::simulate(recorded, **policy, scene.world);
    trace::Summary summary = trace::summarize(recorded, scene.world, outcome, bound, {});
    summary.policy = scene.policy;
    summary.workload = scene.name;
    return summary;
}

}  // namespace

int replay(const Args& args) {
    auto recorded = trace_of(args.arguments.front());
    if (!recorded) return say(exit_refused, recorded.error().sentence);
    auto scenes = scenes_of(args, *recorded);
    if (!scenes) return say_usage(scenes.error());
    std::vector<trace::Summary> rows;
    for (const Scene& scene : *scenes) {
        auto row = play(*recorded, scene);
        if (!row) return say_usage(row.error());
        rows.push_back(std::move(*row));
    }
    print(trace::summary_table(rows));
    print(text(
        "Each policy begins anew: it knows nothing, pages are where first touch puts them, and "
        "all that it can learn from are %.3g s.\n",
        recorded->epoch_s() * double(recorded->epochs())));
    return exit_done;
}

}  // namespace pooltier
