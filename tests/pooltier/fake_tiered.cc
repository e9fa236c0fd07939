// SPDX-License-Identifier: Apache-2.0
// A process that serves the real control socket over a made-up engine: 1000 pages at 0x10000000,
// the first hundred near, page n touched 1000/(n + 1) times a second. Limits that are set are kept
// and told. Says "ready" and ends with its standard input.
//
//   fake-tiered [--program NAME] [--tenant NAME] [--sentence S] [--untiered SENTENCE]
//               [--private] [--slow SECONDS] [--pages N]     N: of so many it speaks
//               [--numa-balancing MODE]                        of the kernel
//               [--target PID]                                 whom it says it speaks for
//               [--near-bytes N] [--move-ns X] [--rate X]      rate: of all its pages
//               [--made-by UID] [--becomes UID]                root: as whom it listens, then is
//   fake-tiered --fork    serves, forks; the child lets go and serves "not tracked: forked" itself,
//                         and says "child PID"
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <optional>
#include <string>

#include "tier/control.h"

using namespace libpool::tier;
using libpool::fail;
using libpool::Result;

namespace {

constexpr uint64_t base = 0x10000000, pages_in_all = 1000, near_pages = 100;

double rate_of(uint64_t page) { return 1000.0 / double(page + 1); }

class MadeUp final : public Controlled {
  public:
    Snapshot told;
    double slow_s = 0;
    uint64_t told_pages = pages_in_all;
    std::optional<double> same_rate;  // for the benefit

    Snapshot status() override {
        usleep(static_cast<useconds_t>(slow_s * 1e6));
        std::lock_guard guard(lock_);
        return told;
    }

    Result<PageAnswer> explain(uint64_t address) override {
        if (address < base || address >= base + pages_in_all * 4096) {
            return fail(ENOENT, "0x%llx is not in a tracked range",
                        static_cast<unsigned long long>(address));
        }
        PageAnswer answer;
        uint64_t page = (address - base) / 4096;
        answer.address = base + page * 4096;
        answer.range = "[heap]";
        answer.node = page < near_pages ? 0 : 1;
        answer.loss_ns = told.loss_ns;
        answer.move_ns = told.move_ns;
        Explanation& e = answer.explanation;
        e.place = page < near_pages ? Place::near : Place::far;
        e.baseline = Place::far;
        e.rate = rate_of(page);
        e.rate_low = e.rate * 0.9;
        e.rate_high = e.rate * 1.1;
        e.admission_rate = 2;
        e.boundary_rate = rate_of(near_pages);
        e.victim_rate_high = rate_of(near_pages - 1) * 1.1;
        e.stay_s = 10;
        e.credit_share = 0.5;
        e.bank_balance_s = told.policy.bank.balance_s;
        e.verdict = e.place == Place::near ? "it is among the hottest that fit near"
                                           : "no near page is surely touched less";
        return answer;
    }

    Result<void> set(const Limits& limits) override {
        std::lock_guard guard(lock_);
        if (limits.near_limit_bytes) told.near_limit_bytes = *limits.near_limit_bytes;
        if (limits.allotted_bytes) told.allotted_bytes = *limits.allotted_bytes;
        if (limits.cpu_share) told.cpu_share = *limits.cpu_share;
        if (limits.move_limit_bytes_per_s) {
            told.move_limit_bytes_per_s = *limits.move_limit_bytes_per_s;
        }
        return {};
    }

    Result<PageSlice> pages(uint64_t first, uint64_t pages, Detail detail) override {
        PageSlice slice;
        slice.total_pages = told_pages;
        slice.first = first;
        for (uint64_t page = first; page < std::min(pages_in_all, first + pages); ++page) {
            slice.rates.push_back(static_cast<float>(rate_of(page)));
            if (detail == Detail::rates) continue;
            slice.places.push_back(page < near_pages ? Place::near : Place::far);
        }
        return slice;
    }

    Result<std::vector<BenefitStep>> benefit() override {
        std::vector<BenefitStep> steps;
        for (uint64_t page = 0; page < pages_in_all; page += 100) {
            steps.push_back({100, same_rate.value_or(rate_of(page + 50))});
        }
        return steps;
    }

    double settle() override { return INFINITY; }

  private:
    std::mutex lock_;
};

Snapshot made_up() {
    Snapshot s;
    s.program = "fake-tiered";
    s.state = TieringState::tiered;
    s.sentence = "sampling";
    s.uptime_s = 61.25;
    s.sampler = "rwp";
    s.sampler_describes = "userfaultfd read-write protection, 1.2 us a fault";
    s.refused = {{"damon", "needs root"}};
    s.near_nodes = {0};
    s.far_nodes = {1, 2};
    s.tracked_bytes = pages_in_all * 4096;
    s.near_bytes = near_pages * 4096;
    s.far_bytes = (pages_in_all - near_pages) * 4096;
    s.near_room_bytes = 1 << 20;
    s.promoted_pages = 120;
    s.demoted_pages = 20;
    s.failed_pages = 3;
    s.moved_bytes = 140 * 4096;
    s.failures = {{EBUSY, 2}, {0, 1}};
    s.overhead_cpu_s = 0.5;
    s.program_cpu_s = 60;
    s.moving_s = 0.014;
    s.loss_ns = 150;
    s.move_ns = 2000;
    s.delta = 1e-3;
    s.policy.bank = {.allowance_s = 1,
                     .allowance_bytes = 1 << 29,
                     .earned_s = 3,
                     .lost_s = 0.2,
                     .spent_s = 0.3,
                     .margin_s = 0.25,
                     .unused_s = -0.25,
                     .unnoticed_s = 0.4,
                     .reserve_s = 0.125,
                     .balance_s = 3.125,
                     .resolved_rate = 5000,
                     .guests = 120,
                     .exiles = 20,
                     .returned_pages = 7};
    s.policy.near_pages = near_pages;
    s.policy.far_pages = pages_in_all - near_pages;
    s.policy.near_share = 0.912;
    s.policy.near_share_low = 0.899;
    s.policy.near_share_high = 0.924;
    s.policy.boundary_rate = rate_of(near_pages);
    s.policy.cycles = 3120;
    s.policy.changes = 2;
    s.policy.contested_blocks = 1;
    s.policy.blocks = 2;
    s.policy.memory_bytes = 8192;
    s.overhead_share = 0.0083;
    s.ranges = 1;
    return s;
}

int usage() {
    std::fputs("fake-tiered: see the head of fake_tiered.cc\n", stderr);
    return 2;
}

bool become(uid_t user) {
    if (seteuid(user) == 0) return true;
    std::perror("fake-tiered: seteuid");
    return false;
}

void wait_for_the_end() {
    char byte;
    while (read(STDIN_FILENO, &byte, 1) > 0) {
    }
}

int serve_forked(MadeUp& engine, ControlServer& server) {
    pid_t child = fork();
    if (child == 0) {
        server.abandon_in_child();
        engine.told.state = TieringState::untiered;
        engine.told.sentence = "not tracked: forked";
        auto own = ControlServer::start(engine);
        if (!own) _exit(1);
        std::printf("child %d\n", getpid());
        std::fflush(stdout);
        wait_for_the_end();
        _exit(0);
    }
    int how = 0;
    waitpid(child, &how, 0);
    return how;
}

}  // namespace

int main(int argc, char** argv) {
    MadeUp engine;
    engine.told = made_up();
    bool forks = false;
    uid_t made_by = geteuid(), becomes = geteuid();
    for (int i = 1; i < argc; ++i) {
        std::string word = argv[i];
        auto value = [&] { return i + 1 < argc ? argv[++i] : ""; };
        if (word == "--program")
            engine.told.program = value();
        else if (word == "--tenant")
            engine.told.tenant = value();
        else if (word == "--sentence")
            engine.told.sentence = value();
        else if (word == "--untiered") {
            engine.told.state = TieringState::untiered;
            engine.told.sentence = value();
        } else if (word == "--private")
            prctl(PR_SET_DUMPABLE, 0);
        else if (word == "--slow")
            engine.slow_s = std::atof(value());
        else if (word == "--pages")
            engine.told_pages = std::strtoull(value(), nullptr, 10);
        else if (word == "--numa-balancing")
            engine.told.numa_balancing = std::atoi(value());
        else if (word == "--target")
            engine.told.target = std::atoi(value());
        else if (word == "--near-bytes")
            engine.told.near_bytes = std::strtoull(value(), nullptr, 10);
        else if (word == "--move-ns")
            engine.told.move_ns = std::atof(value());
        else if (word == "--rate")
            engine.same_rate = std::atof(value());
        else if (word == "--made-by")
            made_by = static_cast<uid_t>(std::atoi(value()));
        else if (word == "--becomes")
            becomes = static_cast<uid_t>(std::atoi(value()));
        else if (word == "--fork")
            forks = true;
        else
            return usage();
    }
    const uid_t begun_by = geteuid();
    if (!become(made_by)) return 1;
    auto server = ControlServer::start(engine, {.request_s = 1, .answer_s = 1});
    if (!server) {
        std::fprintf(stderr, "fake-tiered: %s\n", server.error().sentence.c_str());
        return 1;
    }
    if (!become(begun_by) || !become(becomes)) return 1;
    std::puts("ready");
    std::fflush(stdout);
    if (forks) return serve_forked(engine, **server);
    wait_for_the_end();
    return 0;
}
