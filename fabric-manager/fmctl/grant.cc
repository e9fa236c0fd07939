// SPDX-License-Identifier: Apache-2.0
// fmctl grant …
#include <fmt/format.h>

#include "core/describe.h"
#include "fmctl/command.h"
#include "fmctl/render.h"
#include "fmctl/wait.h"
#include "server/log.h"

namespace cxlpool::fmctl {
namespace {

constexpr int create_patience_s = 60;
constexpr int release_patience_s = 300;  // fmd calls a release stuck after as long
constexpr const char* interrupted_early =
    "stopped before fmd answered; what was asked may have happened: look with fmctl grant list";

// The command line → what is asked for. Whether the pool can give it is fmd's to say.
Result<CreateGrant> read_create(const Command& command) {
    CreateGrant create;
    for (const std::string& text : command.args.values("--host")) {
        const auto host = parse_name("host", text);
        if (!host) return std::unexpected(host.error());
        create.hosts.emplace_back(*host);
    }
    if (create.hosts.empty())
        return fail(Code::invalid, "for which host? Name it with --host, as in --host h1");
    const auto size_text = command.args.value("--size");
    if (!size_text) return fail(Code::invalid, "how much? Say it with --size, as in --size 256M");
    const auto size = parse_size(*size_text);
    if (!size) return std::unexpected(size.error());
    if (*size == 0) return fail(Code::invalid, "--size 0: a grant of nothing is no grant");
    create.size = *size;
    if (const auto text = command.args.value("--name")) {
        const auto name = parse_name("grant", *text);
        if (!name) return std::unexpected(name.error());
        create.name = GrantName(*name);
    }
    if (const auto text = command.args.value("--as")) {
        const auto use = parse_use(*text);
        if (!use) return fail(Code::invalid, "--as: " + use.error().message);
        create.use = *use;
    }
    create.mode = command.dry_run() ? Mode::dry_run : Mode::real;
    return create;
}

int show_plan(Command& command, const std::string& text) {
    if (command.json()) {
        print_json(text);
        return exit_ok;
    }
    const auto plan = wire::decode_plan(text);
    if (!plan) return say(plan.error());
    print(describe_plan(*plan));
    return exit_ok;
}

void print_name_and_state(const Command& command, const GrantView& grant, const std::string& json) {
    if (command.json())
        print_json(json);
    else
        print(fmt::format("{}  {}\n", printable(grant.name.text), name_of(grant.state)));
}

Result<std::string> grant_path(const Command& command) {
    const auto name = parse_name("grant", command.args.argument);
    if (!name) return std::unexpected(name.error());
    return "/v1/grants/" + *name;
}

// How a wait for a new grant ended.
int tell_created(const Command& command, const Waited& waited, int seconds) {
    const GrantView& grant = waited.grant;
    const std::string& name = grant.name.text;
    if (command.json() && !waited.json.empty()) print_json(waited.json);
    const std::string release = fmt::format("give it back with: fmctl grant release {}", name);
    using enum GrantState;
    switch (grant.state) {
        case active:
            if (!command.json()) print(line(grant) + "\n");
            return exit_ok;
        case failed:
            return say({Code::fabric, fmt::format("{} failed: {}; it holds its memory until it is "
                                                  "released: fmctl grant release {}",
                                                  name, grant.reason, name)});
        case stuck:
            return say({Code::timeout, fmt::format("{} is stuck: {}; the claim stays; {}", name,
                                                   grant.reason, release)});
        case draining:
        case scrubbing:
        case gone:
            return say({Code::conflict, fmt::format("{} was released before it was active", name)});
        case pending:
        case offering:
        case offered:
            break;
    }
    return say({Code::timeout, fmt::format("{} {} after {} s; the claim stays; {}", name,
                                           still_pending(grant), seconds, release)});
}

// How a wait for a release ended.
int tell_released(const Command& command, const Waited& waited, int seconds) {
    const GrantView& grant = waited.grant;
    if (command.json() && !waited.json.empty()) print_json(waited.json);
    if (grant.state == GrantState::gone) {
        if (!command.json()) print(fmt::format("{}  gone\n", printable(grant.name.text)));
        return exit_ok;
    }
    if (grant.waits_for.find(" held: ") != std::string::npos)
        return say({Code::timeout, fmt::format("{}: {}; the release goes on after these {} s",
                                               grant.name.text, grant.waits_for, seconds)});
    if (!grant.reason.empty())
        return say({Code::timeout, fmt::format("{} is {}: {}; the release goes on", grant.name.text,
                                               name_of(grant.state), grant.reason)});
    return say({Code::timeout, fmt::format("{} {} after {} s; the release goes on", grant.name.text,
                                           still_pending(grant), seconds)});
}

}  // namespace

int grant_create(Command& command) {
    const auto create = read_create(command);
    if (!create) return say_usage(create.error().message);
    const auto seconds = patience(command.args, create_patience_s);
    if (!seconds) return say_usage(seconds.error().message);

    on_interrupt_say(interrupted_early);
    const auto text = command.client.post("/v1/grants", wire::encode(*create));
    if (!text) return say(text.error());
    if (command.dry_run()) return show_plan(command, *text);
    const auto grant = wire::decode_grant(*text);
    if (!grant) return say(grant.error());
    if (!command.args.has("--wait")) {
        print_name_and_state(command, *grant, *text);
        return exit_ok;
    }
    const auto waited =
        wait_for(command, *grant, *seconds,
                 fmt::format("the claim stays; give it back with: fmctl grant release {}",
                             grant->name.text));
    if (!waited)
        return say({waited.error().code, fmt::format("{}; the claim {} stays",
                                                     waited.error().message, grant->name.text)});
    return tell_created(command, *waited, *seconds);
}

int grant_list(Command& command) {
    return show(command, "/v1/grants", wire::decode_grants, grant_table);
}

int grant_show(Command& command) {
    const auto path = grant_path(command);
    if (!path) return say_usage(path.error().message);
    return show(command, *path, wire::decode_grant, describe_grant);
}

int grant_release(Command& command) {
    const auto path = grant_path(command);
    if (!path) return say_usage(path.error().message);
    const auto seconds = patience(command.args, release_patience_s);
    if (!seconds) return say_usage(seconds.error().message);

    on_interrupt_say(interrupted_early);
    auto text = command.client.remove(*path + (command.dry_run() ? "?dry_run=1" : ""));
    // Somebody, perhaps an earlier call of the same user, has asked for the same: it can be waited
    // for.
    if (!text && text.error().code == Code::conflict && command.args.has("--wait") &&
        !command.dry_run())
        text = command.client.get(*path);
    if (!text) return say(text.error());
    if (command.dry_run()) return show_plan(command, *text);
    const auto grant = wire::decode_grant(*text);
    if (!grant) return say(grant.error());
    if (!command.args.has("--wait")) {
        print_name_and_state(command, *grant, *text);
        return exit_ok;
    }
    const auto waited = wait_for(command, *grant, *seconds, "the release goes on");
    if (!waited) return say(waited.error());
    return tell_released(command, *waited, *seconds);
}

}  // namespace cxlpool::fmctl
