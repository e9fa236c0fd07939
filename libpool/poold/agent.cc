// SPDX-License-Identifier: Apache-2.0
#include "poold/agent.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <time.h>

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <thread>

#include "poold/blocks.h"

namespace poold {

using namespace std::chrono_literals;

namespace {

constexpr auto backoff_first = 100ms;
constexpr auto backoff_last = 3200ms;  // well below the time after which fmd calls a host silent
constexpr auto report_limit = 5s;
constexpr auto order_retry_first = 1000ms;
constexpr auto order_patience =
    4000ms;  // for an order that was taken: the driver retries by itself
constexpr auto order_retry_last = 30000ms;

std::chrono::milliseconds doubled(std::chrono::milliseconds delay, std::chrono::milliseconds first,
                                  std::chrono::milliseconds last) {
    return std::clamp(delay * 2, first, last);
}

// Rises within a boot also over restarts of the agent, without a file to keep it in.
uint64_t boot_milliseconds() {
    timespec now{};
    clock_gettime(CLOCK_BOOTTIME, &now);
    return static_cast<uint64_t>(now.tv_sec) * 1000 + static_cast<uint64_t>(now.tv_nsec) / 1000000;
}

// The sentence of fmd's error body, or its beginning.
std::string sentence_of(const Response& response) {
    auto body = nlohmann::json::parse(response.body, nullptr, false);
    if (body.is_object() && body.contains("error")) {
        const auto& error = body["error"];
        if (error.is_object() && error.contains("message") && error["message"].is_string()) {
            return tame(error["message"].get<std::string>(), 300);
        }
        if (error.is_string()) return tame(error.get<std::string>(), 300);
    }
    return tame(response.body, 120);
}

// Open `generation` files of our devices. sysfs wakes poll() when the counter moves on.
class Generations {
  public:
    explicit Generations(const Tree& tree) : tree_(tree) {}

    // Reads each counter, which arms its poll(): before the look at the devices, so that a change
    // that this look misses wakes the next poll().
    void arm() {
        for (auto& [bdf, one] : files_) {
            std::string value = one.read();
            // Woken without a change again and again: a file that does not know poll(), or is gone.
            // The heartbeat sees to it; polling it would spin. Once or twice is normal: the driver
            // counts first and wakes then, and the counter may be read in between.
            one.idle_wakes = one.woken && value == one.value ? one.idle_wakes + 1 : 0;
            one.woken = false;
            one.value = std::move(value);
        }
    }

    // Watches exactly these devices. True when one is new: the look at it was not armed.
    bool follow(const std::vector<Device>& devices) {
        std::map<std::string, One> next;
        bool any_new = false;
        for (const Device& device : devices) {
            if (!device.ours()) continue;
            auto known = files_.find(device.bdf);
            if (known != files_.end()) {
                next.emplace(device.bdf, std::move(known->second));
                continue;
            }
            One one{
                Fd(open(tree_.at(device.folder() + "/generation").c_str(), O_RDONLY | O_CLOEXEC))};
            if (!one.file) continue;
            any_new = true;
            next.emplace(device.bdf, std::move(one));
        }
        files_ = std::move(next);
        return any_new;
    }

    void add_to(std::vector<pollfd>& fds) const {
        for (auto& [bdf, one] : files_) {
            if (one.idle_wakes < most_idle_wakes) fds.push_back({one.file.get(), POLLPRI, 0});
        }
    }
    void note_woken(const std::vector<pollfd>& fds) {
        for (auto& [bdf, one] : files_) {
            for (const pollfd& fd : fds) {
                if (fd.fd == one.file.get() && fd.revents) one.woken = true;
            }
        }
    }

  private:
    static constexpr int most_idle_wakes = 5;
    struct One {
        Fd file;
        std::string value{};
        bool woken = false;
        int idle_wakes = 0;

        std::string read() const {
            char content[64];
            ssize_t got = file ? pread(file.get(), content, sizeof content, 0) : -1;
            return got > 0 ? std::string(content, static_cast<size_t>(got)) : "";
        }
    };

    const Tree& tree_;
    std::map<std::string, One> files_;  // by BDF
};

}  // namespace

void log_line(const std::string& sentence) {
    timespec now{};
    clock_gettime(CLOCK_REALTIME, &now);
    tm parts{};
    gmtime_r(&now.tv_sec, &parts);
    char when[32];
    strftime(when, sizeof when, "%H:%M:%S", &parts);
    std::fprintf(stderr, "%s.%03ld poold: %s\n", when, now.tv_nsec / 1000000, sentence.c_str());
}

Agent::Agent(AgentOptions options)
    : options_(std::move(options)),
      leaving_(log_line),
      drainer_(
          options_.tree, options_.drain, log_line, [this] { poke(); },
          [this](const libpool::Site& range, const std::vector<int>& leaving,
                 const std::function<bool()>& go_on) {
              leaving_.wait_until_told(go_on);  // or they would move pages back
              return vacate(range, leaving, go_on);
          }) {}

void Agent::log_once(std::string& last, const std::string& sentence) {
    if (sentence == last) return;
    last = sentence;
    if (!sentence.empty()) log_line(sentence);
}

bool Agent::sleep(std::chrono::milliseconds time) {
    std::unique_lock guard(lock_);
    return !changed_.wait_for(guard, time, [this] { return stop_.load(); });
}

void Agent::poke() {
    std::lock_guard guard(lock_);
    ++version_;
    ++work_version_;
    changed_.notify_all();
}

void Agent::publish(Seen seen) {
    std::lock_guard guard(lock_);
    seen_ = std::move(seen);
    ++version_;
    ++work_version_;
    changed_.notify_all();
}

// ---- watch -----------------------------------------------------------------------------------

int Agent::run() {
    sigset_t ending;
    sigemptyset(&ending);
    sigaddset(&ending, SIGTERM);
    sigaddset(&ending, SIGINT);
    pthread_sigmask(SIG_BLOCK, &ending, nullptr);  // the threads made from here on inherit it
    log_line(text("version %s, fmd at %s", poold_version, options_.server.spelled.c_str()));
    publish(look(options_.tree));
    std::thread reporter([this] { report_loop(); });
    std::thread follower([this] { follow_loop(); });
    std::thread worker([this] { work_loop(); });
    watch();
    reporter.join();
    follower.join();
    worker.join();
    log_line("stopped; memory stays as it is");
    return 0;
}

void Agent::watch() {
    sigset_t ending;
    sigemptyset(&ending);
    sigaddset(&ending, SIGTERM);
    sigaddset(&ending, SIGINT);
    Fd signals(signalfd(-1, &ending, SFD_CLOEXEC | SFD_NONBLOCK));
    Generations generations(options_.tree);
    Seen seen;
    auto next_beat = Clock::now();
    while (true) {
        generations.arm();
        if (Clock::now() >= next_beat) {
            seen = look(options_.tree);
            next_beat = Clock::now() + options_.heartbeat;
        } else {
            seen.devices = read_devices(options_.tree);  // the hurry is for extents only
        }
        publish(seen);
        if (generations.follow(seen.devices)) continue;
        std::vector<pollfd> fds{{signals.get(), POLLIN, 0}};
        generations.add_to(fds);
        auto left = std::chrono::ceil<std::chrono::milliseconds>(next_beat - Clock::now());
        poll(fds.data(), fds.size(), static_cast<int>(std::max<int64_t>(left.count(), 0)));
        if (fds[0].revents) break;
        generations.note_woken(fds);
    }
    std::lock_guard guard(lock_);
    stop_ = true;
    changed_.notify_all();
}

// ---- report ----------------------------------------------------------------------------------

Result<void> Agent::report(HttpClient& client) {
    Seen seen;
    Notes notes;
    {
        std::lock_guard guard(lock_);
        seen = seen_;
        notes = notes_;
    }
    notes.merge(drainer_.notes());
    last_seq_ = std::max(last_seq_ + 1, boot_milliseconds());
    auto response = client.post("/v1/report", report_json(seen, notes, last_seq_), report_limit);
    if (!response) return std::unexpected(response.error());
    if (response->status != 200) {
        return fail(EPROTO, "fmd refused the report (%d): %s", response->status,
                    sentence_of(*response).c_str());
    }
    return {};
}

void Agent::report_loop() {
    HttpClient client(options_.server, stop_);
    uint64_t told = 0;
    std::chrono::milliseconds delay{0};
    while (!stop_) {
        {
            std::unique_lock guard(lock_);
            changed_.wait(guard, [&] { return stop_ || version_ != told; });
            if (stop_) return;
            told = version_;
        }
        if (auto done = report(client)) {
            if (!report_trouble_.empty()) log_line("fmd takes reports again");
            report_trouble_.clear();
            delay = 0ms;
            continue;
        } else if (!stop_) {
            log_once(report_trouble_, done.error().sentence);
        }
        told = 0;  // again, with what is true then
        delay = doubled(delay, backoff_first, backoff_last);
        if (!sleep(delay)) return;
    }
}

// ---- follow ----------------------------------------------------------------------------------

// True when the list is another one now.
Result<bool> Agent::follow(HttpClient& client, uint64_t after, std::chrono::seconds wait) {
    auto response =
        client.get(text("/v1/desired?after=%llu&wait=%lld", static_cast<unsigned long long>(after),
                        static_cast<long long>(wait.count())),
                   wait + 10s);
    if (!response) return std::unexpected(response.error());
    if (response->status == 204) return false;
    if (response->status != 200) {
        return fail(EPROTO, "fmd gave no list of wishes (%d): %s", response->status,
                    sentence_of(*response).c_str());
    }
    auto desired = parse_desired(response->body);
    if (!desired) return std::unexpected(desired.error());
    std::lock_guard guard(lock_);
    bool news = !desired_ || *desired_ != *desired;
    desired_ = std::move(*desired);
    if (news) ++work_version_;
    changed_.notify_all();
    return news;
}

void Agent::follow_loop() {
    HttpClient client(options_.server, stop_);
    uint64_t after = 0;
    std::chrono::milliseconds delay{0};
    while (!stop_) {
        auto started = Clock::now();
        auto news = follow(client, after, options_.long_poll);
        if (news) {
            if (!follow_trouble_.empty()) log_line("fmd tells its wishes again");
            follow_trouble_.clear();
            delay = 0ms;
            {
                std::lock_guard guard(lock_);
                after = desired_ ? desired_->rev : 0;
            }
            // A server that answers "nothing new" at once would make this spin.
            if (!*news && Clock::now() - started < 200ms && !sleep(250ms)) return;
            continue;
        }
        if (stop_) return;
        log_once(follow_trouble_, news.error().sentence);
        after = 0;  // a new fmd may count anew: ask for the list as it is
        delay = doubled(delay, backoff_first, backoff_last);
        if (!sleep(delay)) return;
    }
}

// ---- work ------------------------------------------------------------------------------------

void Agent::work_loop() {
    uint64_t done = 0;
    while (!stop_) {
        Seen seen;
        std::optional<Desired> desired;
        {
            std::unique_lock guard(lock_);
            changed_.wait_until(guard, next_attempt(),
                                [&] { return stop_ || work_version_ != done; });
            if (stop_) return;
            done = work_version_;
            seen = seen_;
            desired = desired_;
        }
        if (!desired) continue;
        act(decide(*desired, seen.devices, read_blocks(options_.tree, seen, *desired)));
    }
}

// When an order that is still due may be repeated.
Agent::Clock::time_point Agent::next_attempt() const {
    auto soonest = Clock::now() + order_retry_last;
    for (auto& [key, attempt] : attempts_) {
        if (attempt.due) soonest = std::min(soonest, attempt.next);
    }
    return soonest;
}

void Agent::act(const std::vector<Action>& actions) {
    // An order is remembered for a while after it is no longer due: an extent that falls back at
    // once must meet the back-off, not a loop.
    std::erase_if(attempts_,
                  [](auto& one) { return one.second.next + order_retry_last < Clock::now(); });
    for (auto& [key, attempt] : attempts_) attempt.due = false;
    Notes before;
    {
        std::lock_guard guard(lock_);
        before = notes_;
    }
    Notes notes;
    std::vector<DrainJob> jobs;
    for (const Action& action : actions) {
        const Key& key = key_of(action);
        if (auto* one = std::get_if<Empty>(&action))
            jobs.push_back(*one);
        else if (auto* two = std::get_if<Refill>(&action))
            jobs.push_back(*two);
        else if (auto* say = std::get_if<Say>(&action))
            notes[key].error = say->sentence;
        else {
            Attempt& attempt = attempts_[key];
            const Order& order = std::holds_alternative<Order>(action)
                                     ? std::get<Order>(action)
                                     : std::get<CloseDax>(action).order;
            if (attempt.what != order.line) attempt = Attempt{order.line, {}, {}, true};
            attempt.due = true;
            if (Clock::now() < attempt.next) {
                if (before.contains(key)) notes[key] = before[key];
            } else {
                Note note;
                auto error = std::holds_alternative<Order>(action)
                                 ? carry_out(order, attempt)
                                 : close_dax(std::get<CloseDax>(action), attempt, note);
                if (!error.empty()) note.error = error;
                if (note != Note{}) notes[key] = note;
            }
        }
    }
    leaving_.set(leaving_nodes(jobs));
    drainer_.set(std::move(jobs));
    std::lock_guard guard(lock_);
    if (notes_ == notes) return;
    notes_ = std::move(notes);
    ++version_;  // for the report; nothing new to decide
    changed_.notify_all();
}

std::string Agent::carry_out(const Order& order, Attempt& attempt) {
    auto done = options_.tree.write(order.folder + "/want", order.line);
    attempt.delay =
        doubled(attempt.delay, done ? order_patience : order_retry_first, order_retry_last);
    attempt.next = Clock::now() + attempt.delay;
    log_line(describe(order.key) + ": " +
             (done ? "ordered \"" + order.line + "\"" : done.error().sentence));
    return done ? "" : done.error().sentence;
}

std::string Agent::close_dax(const CloseDax& action, Attempt& attempt, Note& note) {
    auto holders = find_dax_holders(options_.tree, action.dax);
    if (holders.empty()) return carry_out(action.order, attempt);
    attempt.next = Clock::now() + order_retry_first;
    Held held;
    for (const Holder& holder : holders) held.used += holder.bytes;
    held.used = std::min(held.used, action.order.key.len);
    held.holders = std::move(holders);
    note.held = held;
    note.error = "/dev/" + action.dax + " is open: " + describe(held, action.order.key.len);
    return "";
}

int Agent::run_once() {
    HttpClient client(options_.server, stop_);
    publish(look(options_.tree));
    if (auto done = report(client); !done) {
        log_line(done.error().sentence);
        return 1;
    }
    log_line("reported");
    if (auto news = follow(client, 0, 0s); !news) {
        log_line(news.error().sentence);
        return 1;
    }
    std::lock_guard guard(lock_);
    log_line(text("fmd wishes %zu extents", desired_ ? desired_->wishes.size() : 0));
    return 0;
}

}  // namespace poold
