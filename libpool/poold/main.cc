// SPDX-License-Identifier: Apache-2.0
// poold: the host agent. This file only chooses; see agent.h for what the daemon does.
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>

#include <condition_variable>
#include <cstdio>
#include <mutex>
#include <thread>

#include "poold/agent.h"
#include "poold/check.h"
#include "poold/options.h"
#include "poold/show.h"
#include "poold/tiers.h"

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

// Before any thread is made: only the watching one takes these.
sigset_t block_ending_signals() {
    signal(SIGPIPE, SIG_IGN);
    sigset_t ending;
    sigemptyset(&ending);
    sigaddset(&ending, SIGTERM);
    sigaddset(&ending, SIGINT);
    sigprocmask(SIG_BLOCK, &ending, nullptr);
    return ending;
}

// The tiering part beside the agent, which it has nothing to do with but the process.
class TiersThread {
  public:
    explicit TiersThread(const TiersOptions& options) {
        if (!options.wanted()) return;
        thread_ = std::thread([this, options] {
            Tiers(options, log_line).run([this](double seconds) {
                std::unique_lock guard(lock_);
                return !changed_.wait_for(guard, std::chrono::duration<double>(seconds),
                                          [this] { return stop_; });
            });
        });
    }
    ~TiersThread() {
        if (!thread_.joinable()) return;
        {
            std::lock_guard guard(lock_);
            stop_ = true;
        }
        changed_.notify_all();
        thread_.join();
    }

  private:
    std::mutex lock_;
    std::condition_variable changed_;
    bool stop_ = false;
    std::thread thread_;
};

int run(const Options& options) {
    block_ending_signals();
    Tree tree(options.root);
    auto lock = only_one(tree);
    if (!lock) {
        log_line(lock.error().sentence);
        return 1;
    }
    TiersThread tiers(options.tiers);
    Agent agent(AgentOptions{.tree = tree, .server = options.server});
    return agent.run();
}

int print(const std::string& content) {
    return std::fwrite(content.data(), 1, content.size(), stdout) == content.size() &&
                   std::fflush(stdout) == 0
               ? 0
               : 1;
}

int tiers(const Options& options) {
    sigset_t ending = block_ending_signals();
    Tiers(options.tiers, log_line).run([&](double seconds) {
        timespec time{static_cast<time_t>(seconds), 0};
        return sigtimedwait(&ending, nullptr, &time) < 0;
    });
    return 0;
}

// One round. Without a file the metrics go to standard output; any trouble ends with 1.
int tiers_once(const Options& options) {
    bool well = true;
    TieringPicture picture = Tiers(options.tiers, [&](const std::string& sentence) {
                                 well = false;
                                 std::fprintf(stderr, "poold: %s\n", sentence.c_str());
                             }).round();
    int printed = options.tiers.metrics_file.empty() ? print(metrics_text(picture)) : 0;
    return well ? printed : 1;
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
        case Verb::tiers:
            return tiers(*options);
        case Verb::tiers_once:
            return tiers_once(*options);
        case Verb::run:
            return run(*options);
    }
    return 2;
}
