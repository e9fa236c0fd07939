// SPDX-License-Identifier: Apache-2.0
#include "poold/options.h"

#include <algorithm>
#include <cstdlib>

namespace poold {

namespace {

size_t distance(const std::string& a, const std::string& b) {
    std::vector<size_t> row(b.size() + 1);
    for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
    for (size_t i = 1; i <= a.size(); ++i) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b.size(); ++j) {
            size_t above = row[j];
            row[j] = std::min({row[j] + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1])});
            diagonal = above;
        }
    }
    return row[b.size()];
}

const std::vector<std::string> verbs = {"check", "show", "tiers"};
const std::vector<std::string> flags = {"--server",       "--once",    "--json",    "--root",
                                        "--metrics-file", "--tenants", "--version", "--help"};

std::unexpected<Error> unknown(const char* what, const std::string& word,
                               const std::vector<std::string>& candidates) {
    std::string hint = nearest(word, candidates);
    return fail(EINVAL, "unknown %s \"%s\"%s; see poold --help", what, tame(word, 60).c_str(),
                hint.empty() ? "" : (", did you mean \"" + hint + "\"?").c_str());
}

Result<void> check_tiers(const Options& options) {
    bool takes = options.verb == Verb::run || options.verb == Verb::tiers ||
                 options.verb == Verb::tiers_once;
    if (options.tiers.wanted() && !takes) {
        return fail(EINVAL, "--metrics-file and --tenants belong to the daemon and to tiers");
    }
    if (options.verb == Verb::tiers && !options.tiers.wanted()) {
        return fail(EINVAL,
                    "tiers needs --metrics-file, --tenants or --once: else nothing is done");
    }
    const std::string& file = options.tiers.metrics_file;
    if (!file.empty() && !file.ends_with(".prom")) {
        return fail(EINVAL, "--metrics-file %s: node_exporter reads only files called *.prom",
                    tame(file, 60).c_str());
    }
    return {};
}

}  // namespace

std::string nearest(const std::string& word, const std::vector<std::string>& candidates) {
    std::string best;
    size_t least = std::max<size_t>(2, word.size() / 3) + 1;
    if (word.size() > 40) return "";
    for (const std::string& candidate : candidates) {
        if (size_t one = distance(word, candidate); one < least) {
            least = one;
            best = candidate;
        }
    }
    return best;
}

Result<Options> parse_options(const std::vector<std::string>& words) {
    Options options;
    std::string server;
    const char* from_environment = std::getenv("POOLD_SERVER");
    for (size_t i = 0; i < words.size(); ++i) {
        std::string word = words[i];
        std::string value;
        size_t equals = word.find('=');
        bool has_value = word.starts_with("--") && equals != std::string::npos;
        if (has_value) {
            value = word.substr(equals + 1);
            word.resize(equals);
        }
        std::string* into = word == "--server"         ? &server
                            : word == "--root"         ? &options.root
                            : word == "--metrics-file" ? &options.tiers.metrics_file
                            : word == "--tenants"      ? &options.tiers.tenants_file
                                                       : nullptr;
        if (into) {
            if (!has_value && i + 1 < words.size()) {
                value = words[++i];
                has_value = true;
            }
            if (!has_value || value.empty()) return fail(EINVAL, "%s needs a value", word.c_str());
            *into = value;
            continue;
        }
        if (has_value) {
            if (std::find(flags.begin(), flags.end(), word) == flags.end()) {
                return unknown("option", word, flags);
            }
            return fail(EINVAL, "%s takes no value", word.c_str());
        }
        if (word == "--json")
            options.json = true;
        else if (word == "--once")
            options.verb = options.verb == Verb::tiers ? Verb::tiers_once : Verb::once;
        else if (word == "--version")
            options.verb = Verb::version;
        else if (word == "--help" || word == "-h")
            options.verb = Verb::help;
        else if (word == "check")
            options.verb = Verb::check;
        else if (word == "show")
            options.verb = Verb::show;
        else if (word == "tiers")
            options.verb = options.verb == Verb::once ? Verb::tiers_once : Verb::tiers;
        else if (word.starts_with("-"))
            return unknown("option", word, flags);
        else
            return unknown("verb", word, verbs);
    }
    if (options.json && options.verb != Verb::check && options.verb != Verb::show) {
        return fail(EINVAL, "--json belongs to check and show");
    }
    if (auto checked = check_tiers(options); !checked) return std::unexpected(checked.error());
    if (!options.root.empty() && options.verb == Verb::run && !from_environment && server.empty()) {
        return fail(EINVAL,
                    "--root is for check, show and tests: with the daemon name --server too");
    }
    if (server.empty()) server = from_environment ? from_environment : default_server;
    auto address = parse_address(server);
    if (!address) return std::unexpected(address.error());
    options.server = *address;
    return options;
}

const char* usage_text() {
    return "poold - host agent of cxlpool\n"
           "\n"
           "  poold [--server ADDRESS]          run: report to fmd, plug and unplug what it "
           "wishes\n"
           "  poold --once [--server ADDRESS]   report once, fetch the wishes, do nothing, end\n"
           "  poold show [--json]               the pool's extents as this host sees them\n"
           "  poold check [--json]              is this host fit for pooled memory? exit code 0 or "
           "1\n"
           "  poold tiers [--once]              only the tiering part, without fmd; --once prints "
           "metrics\n"
           "  poold --version | --help\n"
           "\n"
           "--tenants FILE divides near memory among tiered programs, --metrics-file FILE.prom "
           "writes\n"
           "their metrics for Prometheus: with the daemon and with tiers.\n"
           "ADDRESS is unix:PATH or tcp:IPV4:PORT; else $POOLD_SERVER; else\n"
           "unix:/run/fmd/host.sock. --root DIR reads a recorded sysfs and procfs tree.\n"
           "Exit codes: 0 well, 1 not well, 2 usage.\n";
}

}  // namespace poold
