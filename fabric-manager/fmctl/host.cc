// SPDX-License-Identifier: Apache-2.0
// fmctl host …
#include <fmt/format.h>

#include "fmctl/command.h"
#include "fmctl/render.h"
#include "server/log.h"

namespace cxlpool::fmctl {
namespace {

// The path of the host in the API, or why the argument is no name.
Result<std::string> host_path(const Command& command) {
    const auto name = parse_name("host", command.args.argument);
    if (!name) return std::unexpected(name.error());
    return "/v1/hosts/" + *name;
}

}  // namespace

int host_list(Command& command) {
    return show(command, "/v1/hosts", wire::decode_hosts, host_table);
}

int host_show(Command& command) {
    const auto path = host_path(command);
    if (!path) return say_usage(path.error().message);
    return show(command, *path, wire::decode_host, describe_host);
}

int host_fence(Command& command) {
    const auto path = host_path(command);
    if (!path) return say_usage(path.error().message);
    const auto text =
        command.client.post(*path + "/fence" + (command.dry_run() ? "?dry_run=1" : ""), "");
    if (!text) return say(text.error());
    if (command.json()) {
        print_json(*text);
        return exit_ok;
    }
    if (command.dry_run()) {
        const auto plan = wire::decode_plan(*text);
        if (!plan) return say(plan.error());
        print(describe_plan(*plan));
        return exit_ok;
    }
    const auto host = wire::decode_host(*text);
    if (!host) return say(host.error());
    print(fmt::format("{}  {}\n", printable(host->name.text), printable(host->state_text)));
    return exit_ok;
}

}  // namespace cxlpool::fmctl
