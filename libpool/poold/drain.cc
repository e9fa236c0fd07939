// SPDX-License-Identifier: Apache-2.0
#include "poold/drain.h"

#include <pthread.h>
#include <signal.h>

#include <algorithm>

#include "poold/blocks.h"

namespace poold {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

namespace {

constexpr int interrupt_signal = SIGUSR1;

void install_interrupt() {
    struct sigaction action {};
    action.sa_handler = [](int) {};  // no SA_RESTART: the write must come back
    sigaction(interrupt_signal, &action, nullptr);
}

// One write of "offline" into a block's state, in a thread that can be interrupted.
class OfflineWrite {
  public:
    OfflineWrite(const Tree& tree, uint64_t block)
        : thread_([this, &tree, block] {
              result_ = tree.write(block_state_path(block), "offline");
              std::lock_guard guard(lock_);
              done_ = true;
              finished_.notify_all();
          }) {}
    ~OfflineWrite() { thread_.join(); }

    bool wait(std::chrono::milliseconds limit) {
        std::unique_lock guard(lock_);
        return finished_.wait_for(guard, limit, [this] { return done_; });
    }
    // Until it is done: a signal that comes before the write has begun would be lost.
    void interrupt() {
        while (!wait(0ms)) {
            pthread_kill(thread_.native_handle(), interrupt_signal);
            wait(100ms);
        }
    }
    const Result<void>& result() const { return result_; }

  private:
    std::mutex lock_;
    std::condition_variable finished_;
    bool done_ = false;  // under lock_
    Result<void> result_;
    std::thread thread_;
};

const Key& key_of_job(const DrainJob& job) {
    return std::visit([](auto& one) -> const Key& { return one.key; }, job);
}

}  // namespace

Room room_for(uint64_t used, const std::vector<libpool::Node>& nodes,
              const std::vector<int>& leaving) {
    Room room;
    room.needed = used + used / 20;
    for (const libpool::Node& node : nodes) {
        if (std::find(leaving.begin(), leaving.end(), node.id) != leaving.end()) continue;
        uint64_t free = node.free_bytes - std::min(node.free_bytes, node.watermark_bytes);
        room.available += free + node.reclaimable_bytes;
    }
    return room;
}

std::vector<int> leaving_nodes(const std::vector<DrainJob>& jobs) {
    std::vector<int> nodes;
    for (const DrainJob& job : jobs) {
        if (auto* one = std::get_if<Empty>(&job)) nodes.push_back(one->node);
    }
    return nodes;
}

Drainer::Drainer(Tree tree, DrainLimits limits, Log log, std::function<void()> changed,
                 Vacate vacate)
    : tree_(std::move(tree)),
      limits_(limits),
      log_(std::move(log)),
      changed_(std::move(changed)),
      vacate_(std::move(vacate)) {
    install_interrupt();
    thread_ = std::thread([this] { run(); });
}

Drainer::~Drainer() {
    {
        std::lock_guard guard(lock_);
        stop_ = true;
    }
    wake_.notify_all();
    thread_.join();
}

void Drainer::set(std::vector<DrainJob> jobs) {
    std::lock_guard guard(lock_);
    if (jobs == jobs_) return;
    jobs_ = std::move(jobs);
    auto has = [this](const Key& key) {
        return std::any_of(jobs_.begin(), jobs_.end(),
                           [&](auto& job) { return key_of_job(job) == key; });
    };
    std::erase_if(notes_, [&](auto& one) { return !has(one.first); });
    std::erase_if(progress_, [&](auto& one) { return !has(one.first); });
    wake_.notify_all();
}

Notes Drainer::notes() const {
    std::lock_guard guard(lock_);
    return notes_;
}

// Whether this extent is still to be emptied.
bool Drainer::wanted(const Key& key) const {
    std::lock_guard guard(lock_);
    return !stop_ && std::any_of(jobs_.begin(), jobs_.end(), [&](const DrainJob& job) {
        return std::holds_alternative<Empty>(job) && key_of_job(job) == key;
    });
}

std::vector<int> Drainer::leaving() const {
    std::lock_guard guard(lock_);
    return leaving_nodes(jobs_);
}

void Drainer::say(const Key& key, Note note) {
    {
        std::lock_guard guard(lock_);
        bool listed = std::any_of(jobs_.begin(), jobs_.end(),
                                  [&](auto& job) { return key_of_job(job) == key; });
        if (!listed) return;
        std::string& last = progress_[key].last_said;
        if (!note.error.empty() && note.error != last) {
            log_(describe(key) + ": " + note.error);
            last = note.error;
        }
        notes_[key] = std::move(note);
    }
    changed_();
}

void Drainer::later(const Key& key) {
    std::lock_guard guard(lock_);
    auto found = progress_.find(key);
    if (found == progress_.end()) found = progress_.emplace(key, Progress{}).first;
    Progress& progress = found->second;
    progress.delay = std::clamp(progress.delay * 2, limits_.retry_first, limits_.retry_last);
    progress.next = Clock::now() + progress.delay;
}

void Drainer::run() {
    while (true) {
        std::optional<DrainJob> job;
        {
            std::unique_lock guard(lock_);
            auto soonest = Clock::now() + 1h;
            for (const DrainJob& one : jobs_) {
                auto next = progress_[key_of_job(one)].next;
                if (!job && next <= Clock::now()) job = one;
                soonest = std::min(soonest, next);
            }
            if (stop_) return;
            if (!job) {
                wake_.wait_until(guard, soonest);
                continue;
            }
        }
        if (auto* one = std::get_if<Empty>(&*job))
            empty(*one);
        else
            refill(std::get<Refill>(*job));
        // Whether it worked or not, the next look of the agent brings a job that fits what is then;
        // the same one again must not spin.
        later(key_of_job(*job));
        changed_();
    }
}

Held Drainer::held(const Empty& job) const {
    PhysicalRange range{job.blocks.hpa, job.blocks.len};
    Held held;
    if (auto usage = read_usage(tree_, range)) {
        held.used = usage->used;
        held.kernel = usage->unmapped;
    }
    held.holders = find_holders(tree_, range, job.node, [&] { return !wanted(job.key); });
    return held;
}

// Bytes in use on the extent's node: never less than in the extent, and free to ask for.
uint64_t Drainer::bound(const Empty& job) const {
    for (const libpool::Node& node : read_host(tree_).nodes) {
        if (node.id == job.node)
            return std::min(job.blocks.len, node.total_bytes - node.free_bytes);
    }
    return job.blocks.len;
}

void Drainer::empty(const Empty& job) {
    log_(text("%s of grant %s: %zu memory blocks to take offline", describe(job.key).c_str(),
              job.grant.c_str(), job.blocks.online.size()));
    // Counting pages takes longer than emptying an idle extent: only when the bound does not do.
    if (!room_for(bound(job), read_host(tree_).nodes, leaving()).enough()) {
        auto usage = read_usage(tree_, {job.blocks.hpa, job.blocks.len});
        if (!usage) return say(job.key, {usage.error().sentence, std::nullopt});
        Room room = room_for(usage->used, read_host(tree_).nodes, leaving());
        if (!room.enough()) {
            return say(
                job.key,
                {text("%s in use here need %s elsewhere (5 %% to spare) and the other nodes "
                      "have %s free or reclaimable: nothing is moved; free some memory on "
                      "this host",
                      describe_bytes(usage->used).c_str(), describe_bytes(room.needed).c_str(),
                      describe_bytes(room.available).c_str()),
                 held(job)});
        }
    }
    vacate(job);
    for (uint64_t block : job.blocks.online) {
        Offlined end = offline(job, block);
        if (end == Offlined::given_up) return;
        if (end == Offlined::failed) {
            Held who = held(job);
            return say(job.key, {describe(who, job.blocks.len) + "; " + offline_error_, who});
        }
    }
    say(job.key, {"", Held{}});
}

// The hottest pages of tiered processes leave first. Whatever comes of it: the kernel does the
// rest.
void Drainer::vacate(const Empty& job) {
    if (!vacate_) return;
    libpool::Site range;
    range.physical_start = job.blocks.hpa;
    range.physical_bytes = job.blocks.len;
    Vacated done = vacate_(range, leaving(), [&] { return wanted(job.key); });
    if (done.found_pages == 0) return;
    log_(text("%s: %llu of %llu pages of %zu tiered processes were moved, the hottest first",
              describe(job.key).c_str(), static_cast<unsigned long long>(done.moved_pages),
              static_cast<unsigned long long>(done.found_pages), done.processes));
}

Drainer::Offlined Drainer::offline(const Empty& job, uint64_t block) {
    const PhysicalRange range{block * job.blocks.block_bytes, job.blocks.block_bytes};
    auto used_here = [&] {
        auto usage = read_usage(tree_, range);
        return usage ? usage->used : 0;
    };
    OfflineWrite write(tree_, block);
    std::optional<Held> shown;  // from the first slow look on
    uint64_t others = 0;        // used in the other blocks
    uint64_t least = UINT64_MAX;
    auto moved = Clock::now();
    while (!write.wait(limits_.look)) {
        if (!wanted(job.key)) {
            write.interrupt();
            return Offlined::given_up;
        }
        uint64_t used = used_here();
        if (!shown) {
            shown = held(job);
            others = shown->used - std::min(shown->used, used);
        }
        shown->used = others + used;
        say(job.key, {"", *shown});
        if (used < least) {
            least = used;
            moved = Clock::now();
        }
        Room room = room_for(shown->used, read_host(tree_).nodes, leaving());
        if (!room.enough()) {
            offline_error_ = text(
                "stopped: the other nodes have only %s left of the %s that this "
                "needs",
                describe_bytes(room.available).c_str(), describe_bytes(room.needed).c_str());
        } else if (Clock::now() - moved > (used > 0 ? limits_.stall : 6 * limits_.stall)) {
            // With nothing to move it is the kernel's own work that takes so long: more patience.
            offline_error_ = text("no page of memory%llu has left for %lld s",
                                  static_cast<unsigned long long>(block),
                                  static_cast<long long>(limits_.stall / 1s));
        } else {
            continue;
        }
        write.interrupt();
        return write.result() ? Offlined::done : Offlined::failed;
    }
    if (write.result()) return Offlined::done;
    offline_error_ = write.result().error().sentence;
    return Offlined::failed;
}

void Drainer::refill(const Refill& job) {
    log_(text("%s stays: %zu memory blocks come back online", describe(job.key).c_str(),
              job.blocks.offline.size()));
    for (uint64_t block : job.blocks.offline) {
        auto done = tree_.write(block_state_path(block), "online_movable");
        if (!done) return say(job.key, {done.error().sentence, std::nullopt});
    }
    say(job.key, {});
}

}  // namespace poold
