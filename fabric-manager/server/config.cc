// SPDX-License-Identifier: Apache-2.0
#include "server/config.h"

#include <fmt/format.h>
#include <grp.h>

#include <CLI/CLI.hpp>
#include <cstdlib>

namespace cxlpool {
namespace {

constexpr int usage = 2;
constexpr Millis most_limit_s = 86'400;

// A time limit, given in seconds.
void add_limit(CLI::App& app, const std::string& name, Millis& out, const std::string& text) {
    app.add_option_function<Millis>(
           name, [&out](const Millis& seconds) { out = seconds * 1000; },
           fmt::format("{} (default {})", text, out / 1000))
        ->type_name("SECONDS")
        ->check(CLI::Range(Millis{1}, most_limit_s));
}

template <class T>
Result<T> word(std::string_view option, const std::string& text, std::optional<T> parsed,
               std::string_view allowed) {
    if (parsed) return *parsed;
    return fail(Code::invalid, fmt::format("{} {} is unknown: take {}", option, text, allowed));
}

struct Words {
    std::string log_level = "info";
    std::string pause_at;
};

Result<void> take_words(const Words& words, Config& config) {
    const auto level = word("--log-level", words.log_level, parse_log_level(words.log_level),
                            "error, warning, info or debug");
    if (!level) return std::unexpected(level.error());
    config.log_level = *level;
    if (words.pause_at.empty()) return {};
    const auto point = word("--pause-at", words.pause_at, parse_pause_point(words.pause_at),
                            "after-record, after-command or after-reply");
    if (!point) return std::unexpected(point.error());
    config.pause_at = *point;
    return {};
}

Result<void> check(const Config& config) {
    if (config.backend == "qmp" && config.fabric.empty())
        return fail(Code::invalid,
                    "--backend=qmp needs --fabric FILE: `testbed up` writes one, "
                    "fmd.json in its run folder");
    if (!config.group.empty())
        if (const auto group = group_id(config.group); !group)
            return std::unexpected(group.error());
    return {};
}

}  // namespace

Invocation parse_command_line(int argc, char** argv) {
    Config config;
    Words words;
    CLI::App app(
        "fmd: the fabric manager daemon of cxlpool. It divides pooled CXL memory among hosts.",
        "fmd");
    app.set_version_flag("--version", "fmd " CXLPOOL_VERSION);
    app.add_option("--state", config.state, "the journal; :memory: for one that dies with fmd")
        ->type_name("FILE")
        ->required();
    app.add_option("--fabric", config.fabric, "what there is to manage: devices and hosts")
        ->type_name("FILE");
    app.add_option("--backend", config.backend, "sim: a simulated rack; qmp: QEMU guests")
        ->check(CLI::IsMember({"sim", "qmp"}))
        ->required();
    app.add_option("--socket", config.socket,
                   fmt::format("where fmctl finds fmd (default {})", default_socket))
        ->type_name("PATH");
    app.add_option("--group", config.group, "the group that may use the socket")->type_name("NAME");
    app.add_option("--log-level", words.log_level, "error, warning, info (default) or debug");
    add_limit(app, "--offer-limit", config.limits.offer_ms,
              "an offer not answered for so long is called stuck");
    add_limit(app, "--drain-limit", config.limits.drain_ms,
              "a release not finished for so long is called stuck");
    add_limit(app, "--silent-limit", config.limits.silent_ms,
              "a host without a report for so long is called silent");
    app.add_option("--pause-at", words.pause_at,
                   "for tests: stop once at after-record, after-command or after-reply")
        ->envname("CXLPOOL_PAUSE_AT");
    app.add_flag("--check", config.check, "validate the command line, fabric and state, then exit");
    try {
        app.parse(argc, argv);
    } catch (const CLI::CallForHelp&) {
        return {{}, app.help(), 0};
    } catch (const CLI::CallForVersion& version) {
        return {{}, std::string(version.what()) + "\n", 0};
    } catch (const CLI::ParseError& error) {
        return {{}, fmt::format("fmd: {}\n", printable(error.what())), usage};
    }
    auto good = take_words(words, config);
    if (good) good = check(config);
    if (!good) return {{}, fmt::format("fmd: {}\n", printable(good.error().message)), usage};
    return {config, "", 0};
}

Result<unsigned> group_id(const std::string& group) {
    if (const struct group* found = ::getgrnam(group.c_str())) return found->gr_gid;
    return fail(Code::not_found,
                fmt::format("there is no group {}; make it with groupadd, or name another", group));
}

}  // namespace cxlpool
