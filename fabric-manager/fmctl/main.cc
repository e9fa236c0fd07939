// SPDX-License-Identifier: Apache-2.0
// fmctl: asks fmd for pooled memory. The table of all it can do, and how it ends.
#include <cstdio>
#include <cstdlib>

#include "fmctl/command.h"

namespace cxlpool::fmctl {
namespace {

constexpr const char* default_socket = "/run/cxlpool/fmd.sock";

const std::vector<Option>& global_options() {
    static const std::vector<Option> options{
        {"--server", Takes::value, "PATH",
         "the socket of fmd; else CXLPOOL_SERVER, else /run/cxlpool/fmd.sock"},
        {"--json", Takes::nothing, "", "print JSON"},
        {"--help", Takes::nothing, "", "print this help"},
        {"--version", Takes::nothing, "", "print the version"}};
    return options;
}

const std::vector<Verb>& all_verbs() {
    static const Option dry_run{"--dry-run", Takes::nothing, "",
                                "say what would be done, and do nothing"};
    static const std::vector<Verb> verbs{
        {"fabric",
         "show",
         "",
         "devices: size, granted, free, hosts",
         {{"--watch", Takes::nothing, "", "print again whenever something changes"}},
         fabric_show},
        {"host", "list", "", "hosts: state, granted, used, pressure, memory block", {}, host_list},
        {"host", "show", "NAME", "one host", {}, host_show},
        {"host",
         "fence",
         "NAME",
         "end the host's machine for good, so that it reaches no memory",
         {dry_run},
         host_fence},
        {"grant",
         "create",
         "",
         "give memory to one host, or to several that share it",
         {{"--host", Takes::values, "HOST", "to whom; more than once: they share it"},
          {"--size", Takes::value, "SIZE", "how much: 256M, 4G"},
          {"--name", Takes::value, "NAME", "a name; else the first free of g1, g2, ..."},
          {"--as", Takes::value, "USE", "ram: a NUMA node (default); dax: a character device"},
          {"--wait", Takes::maybe_value, "SECONDS", "until it can be used (at most 60 s)"},
          dry_run},
         grant_create},
        {"grant", "list", "", "all grants", {}, grant_list},
        {"grant",
         "show",
         "NAME",
         "one grant: where it is, what it waits for, its timeline",
         {},
         grant_show},
        {"grant",
         "release",
         "NAME",
         "give a grant back",
         {{"--wait", Takes::maybe_value, "SECONDS", "until it is erased and free (at most 300 s)"},
          dry_run},
         grant_release},
        {"event",
         "list",
         "",
         "what happened",
         {{"--follow", Takes::nothing, "", "go on printing what happens"},
          {"--limit", Takes::value, "N", "the last N (default 100)"}},
         event_list},
        {"doctor",
         "",
         "",
         "compare journal, devices, drivers and nodes; exit 1 on any difference",
         {},
         doctor}};
    return verbs;
}

std::string socket_of(const Args& args) {
    if (const auto given = args.value("--server")) return *given;
    const char* environment = std::getenv("CXLPOOL_SERVER");
    return environment && *environment ? environment : default_socket;
}

int run(const std::vector<std::string>& words) {
    auto args = parse_args(all_verbs(), global_options(), words);
    if (!args) return say_usage(args.error().message);
    if (args->has("--version")) {
        print("fmctl " CXLPOOL_VERSION "\n");
        return exit_ok;
    }
    if (args->has("--help")) {
        print(args->verb ? help(*args->verb, global_options())
                         : help(all_verbs(), global_options()));
        return exit_ok;
    }
    const Run carry_out = args->verb->run;
    const std::string socket = socket_of(*args);
    Command command(std::move(*args), socket);
    return carry_out(command);
}

}  // namespace

}  // namespace cxlpool::fmctl

int main(int argc, char** argv) {
    const int code = cxlpool::fmctl::run(std::vector<std::string>(argv + 1, argv + argc));
    // Output that could not be written is not success.
    if (std::fflush(stdout) != 0 || std::ferror(stdout)) {
        std::fputs(
            "fmctl: cannot write its output; what it was asked to do was done or refused all the "
            "same\n",
            stderr);
        return code ? code : cxlpool::fmctl::exit_fabric;
    }
    return code;
}
