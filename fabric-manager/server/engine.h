// SPDX-License-Identifier: Apache-2.0
// The one place that keeps the manager's contract (core/manager.h): inputs are queued; run_batch()
// steps the manager through all that are there, makes their records durable in one append, and only
// then starts the commands, sends the replies and publishes the events. Nothing else calls step().
// One thread. Whoever reads a view between two batches reads durable state, since no step runs
// outside of one. After a failed append nothing is acknowledged any more: run_batch() says why, and
// fmd exits.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <set>

#include "backend/backend.h"
#include "core/manager.h"
#include "server/events.h"
#include "server/pause.h"
#include "store/store.h"

namespace cxlpool {

class Engine {
  public:
    using Clock = std::function<Now()>;
    using ReplyTo = std::function<void(const Result<ReplyBody>&)>;
    using Done = std::function<void()>;

    static constexpr std::size_t most_inputs_per_batch = 256;

    Engine(Manager manager, Store& store, Backend& backend, Clock clock, Pause& pause);

    // load → replay: the manager as it was. Once, first; then the backend may be told what to look
    // for.
    Result<void> replay();
    // The manager's first output, carried out. Once, after replay().
    Result<void> start();
    // Instead of start(): whether the journal fits the fabric. Changes nothing.
    Result<void> check();

    // Queues an intent; the reply comes when what it rests on is durable.
    void submit(Intent intent, ReplyTo reply);
    // Queues anything else; `done` is called when it was stepped and what came of it is durable.
    void observe(Input input, Done done = {});

    bool has_work() const { return !queue_.empty(); }
    Result<void> run_batch();

    // Called when the queue turns from empty to not empty: time to plan a run_batch().
    void on_work(Done wake) { wake_ = std::move(wake); }
    // Called after a batch that changed a view or published an event.
    void on_change(Done changed) { changed_ = std::move(changed); }

    const Manager& manager() const { return manager_; }
    const EventLog& events() const { return events_; }
    std::size_t records() const { return records_; }

  private:
    struct Queued {
        Input input;
        Done done;
    };

    void enqueue(Queued entry);
    void note_completion(const Input& input);
    Result<void> carry_out(Output output, const std::vector<Done>& done);
    void start_commands(const std::vector<Command>& commands);
    void publish(const Output& output);

    Manager manager_;
    Store& store_;
    Backend& backend_;
    Clock clock_;
    Pause& pause_;
    EventLog events_;
    std::deque<Queued> queue_;
    std::map<Ticket, ReplyTo> waiting_;
    std::uint64_t last_ticket_ = 0;
    std::set<OpId> offers_;  // AddCapacity commands that have not been completed
    std::size_t records_ = 0;
    std::uint64_t revision_ = 0;
    Done wake_;
    Done changed_;
};

}  // namespace cxlpool
