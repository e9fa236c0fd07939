// SPDX-License-Identifier: Apache-2.0
// poold: the host agent. This file only chooses; see agent.h for what the daemon does.
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>

#include <cstdio>

#include "poold/agent.h"
#include "poold/check.h"
#include "poold/options.h"
#include "poold/show.h"

namespace {

using namespace poold;

// Two agents would give the driver contrary orders. Held until the process ends.
Result<Fd> only_one(const Tree& tree) {
    std::string path = tree.at("/run/poold.lock");
    Fd file(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    if (!file) {
        return fail(errno, "%s: %s (poold runs as root)", path.c_str(),
                    libpool::errno_text(errno).c_str());
    }
    if (flock(file.get(), LOCK_EX | LOCK_NB) != 0) {
        return fail(errno, "another poold runs on this host (it holds %s)", path.c_str());
    }
    return file;
}

int run(const Options& options) {
    signal(SIGPIPE, SIG_IGN);
    // Before any thread is made: only the watching one takes these.
    sigset_t ending;
    sigemptyset(&ending);
    sigaddset(&ending, SIGTERM);
    sigaddset(&ending, SIGINT);
    sigprocmask(SIG_BLOCK, &ending, nullptr);
    Tree tree(options.root);
    auto lock = only_one(tree);
    if (!lock) {
        log_line(lock.error().sentence);
        return 1;
    }
    Agent agent(AgentOptions{.tree = tree, .server = options.server});
    return agent.run();
}

int print(const std::string& content) {
    return std::fwrite(content.data(), 1, content.size(), stdout) == content.size() &&
                   std::fflush(stdout) == 0
               ? 0
               : 1;
}

}  // namespace

int main(int argc, char** argv) {
    auto options = parse_options({argv + 1, argv + argc});
    if (!options) {
        std::fprintf(stderr, "poold: %s\n", options.error().sentence.c_str());
        return 2;
    }
    Tree tree(options->root);
    switch (options->verb) {
        case Verb::help:
            return print(usage_text());
        case Verb::version:
            return print(std::string("poold ") + poold_version + "\n");
        case Verb::show: {
            Seen seen = look(tree);
            return print(options->json ? report_json(seen, {}, 0) + "\n" : show_text(seen));
        }
        case Verb::check: {
            CheckResult result = check_host(tree);
            int printed = print(options->json ? result.as_json() : result.as_text());
            return printed != 0 || !result.well() ? 1 : 0;
        }
        case Verb::once:
            return Agent(AgentOptions{.tree = tree, .server = options->server}).run_once();
        case Verb::run:
            return run(*options);
    }
    return 2;
}
