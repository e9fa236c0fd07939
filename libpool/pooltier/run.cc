// SPDX-License-Identifier: Apache-2.0
// pooltier run: becomes the command, with the preload library in it.
#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>

#include "numa_balancing.h"
#include "pooltier/launch.h"
#include "pooltier/verbs.h"
#include "tier/printable.h"

namespace pooltier {

using namespace libpool::tier;

namespace {

constexpr std::pair<const char*, const char*> option_names[] = {
    {"--near-limit", "near_limit"},
    {"--cpu", "cpu"},
    {"--mbps", "mbps"},
    {"--near-nodes", "near_nodes"},
    {"--far-nodes", "far_nodes"},
    {"--sampler", "sampler"},
    {"--tenant", "tenant"},
    {"--min-range", "min_range"},
    {"--seed", "seed"},
    {"--say", "say"},
    {"--loss-ns", "loss_ns"},
};

// The environment, then --config, then options.
Result<Settings> settings_of(const Args& args) {
    if (auto file = args.value("--config")) setenv("POOLTIER_CONFIG", file->c_str(), 1);
    auto settings = settings_from_environment(environ);
    if (!settings) return settings;
    for (const auto& [option, name] : option_names) {
        auto word = args.value(option);
        if (!word) continue;
        if (auto taken = apply_setting(*settings, name, *word); !taken) {
            return fail(EINVAL, "%s", taken.error().sentence.c_str());
        }
    }
    if (args.has("--require")) settings->require = true;
    if (args.has("--wait")) settings->wait = true;
    if (args.has("--hand-over")) settings->hand_over = true;
    settings->on = true;
    if (auto checked = check_settings(*settings); !checked) {
        return std::unexpected(checked.error());
    }
    return settings;
}

// Where the library is, or why the command cannot be tiered.
Result<std::string> prepare(const std::string& program, const Settings& settings) {
    if (auto why = cannot_preload(program)) return fail(ENOTSUP, "%s", why->c_str());
    auto fallback = choose_here(settings);
    if (!fallback) return std::unexpected(fallback.error());
    auto library = find_library();
    if (library && !fallback->empty() && settings.say != Say::none) say(0, *fallback);
    const int balancing = libpool::read_numa_balancing("").value_or(0);
    if (library && balancing != 0 && settings.say == Say::all) {
        say(0, libpool::describe_numa_balancing(balancing));
    }
    return library;
}

int become(const std::string& program, const Args& args, const std::vector<std::string>& entries) {
    std::vector<char*> argv, envp;
    for (const std::string& word : args.command) argv.push_back(const_cast<char*>(word.c_str()));
    for (const std::string& entry : entries) envp.push_back(const_cast<char*>(entry.c_str()));
    argv.push_back(nullptr);
    envp.push_back(nullptr);
    std::fflush(nullptr);
    execve(program.c_str(), argv.data(), envp.data());
    if (errno == ENOEXEC && is_shell_script(program)) {
        argv.front() = const_cast<char*>(program.c_str());
        argv.insert(argv.begin(), const_cast<char*>(shell));
        execve(shell, argv.data(), envp.data());
    }
    return say(errno == ENOENT ? exit_not_found : exit_cannot_execute,
               text("%s cannot be run: %s", printable(program, 100).c_str(),
                    libpool::errno_text(errno).c_str()));
}

}  // namespace

int run(const Args& args) {
    auto settings = settings_of(args);
    if (!settings) return say(exit_run_refused, settings.error().sentence);
    auto program = find_program(args.command.front(), std::getenv("PATH"));
    if (!program) {
        return say(program.error().code == ENOENT ? exit_not_found : exit_cannot_execute,
                   program.error().sentence);
    }
    auto library = prepare(*program, *settings);
    if (!library) {
        if (settings->require) return say(exit_run_refused, library.error().sentence);
        if (settings->say != Say::none) say(0, library.error().sentence + "; it runs untiered");
        settings->on = false;
    }
    return become(*program, args, environment_for(environ, *settings, library.value_or("")));
}

}  // namespace pooltier
