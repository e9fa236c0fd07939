// SPDX-License-Identifier: Apache-2.0
#include "server/engine.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "core/describe.h"
#include "server/log.h"

namespace cxlpool {
namespace {

template <class T>
void append(std::vector<T>& to, std::vector<T> from) {
    std::ranges::move(from, std::back_inserter(to));
}

void append(Output& to, Output from) {
    append(to.records, std::move(from.records));
    append(to.commands, std::move(from.commands));
    append(to.replies, std::move(from.replies));
    append(to.events, std::move(from.events));
}

bool starts_an_offer(const Record& record) {
    return std::holds_alternative<OfferStarted>(record.body);
}

}  // namespace

Engine::Engine(Manager manager, Store& store, Backend& backend, Clock clock, Pause& pause)
    : manager_(std::move(manager)),
      store_(store),
      backend_(backend),
      clock_(std::move(clock)),
      pause_(pause) {}

Result<void> Engine::replay() {
    const auto records = store_.load();
    if (!records) return std::unexpected(records.error());
    for (const Record& record : *records) {
        if (const auto done = manager_.replay(record); !done) return done;
        if (const auto done = events_.add(record); !done) return done;
    }
    records_ = records->size();
    return {};
}

Result<void> Engine::start() {
    auto output = manager_.start(clock_());
    if (!output) return std::unexpected(output.error());
    return carry_out(std::move(*output), {});
}

Result<void> Engine::check() {
    const auto output = manager_.start(clock_());
    if (!output) return std::unexpected(output.error());
    return {};
}

void Engine::submit(Intent intent, ReplyTo reply) {
    const Ticket ticket{++last_ticket_};
    waiting_.emplace(ticket, std::move(reply));
    enqueue({Submit{ticket, std::move(intent)}, {}});
}

void Engine::observe(Input input, Done done) { enqueue({std::move(input), std::move(done)}); }

void Engine::enqueue(Queued entry) {
    const bool was_empty = queue_.empty();
    queue_.push_back(std::move(entry));
    if (was_empty && wake_) wake_();
}

Result<void> Engine::run_batch() {
    Output output;
    std::vector<Done> done;
    for (std::size_t i = 0; i < most_inputs_per_batch && !queue_.empty(); ++i) {
        Queued next = std::move(queue_.front());
        queue_.pop_front();
        note_completion(next.input);
        if (logs(LogLevel::debug) && !std::holds_alternative<Tick>(next.input))
            log(LogLevel::debug, describe(next.input));
        append(output, manager_.step(next.input, clock_()));
        if (next.done) done.push_back(std::move(next.done));
    }
    if (const auto carried = carry_out(std::move(output), done); !carried) return carried;
    if (!queue_.empty() && wake_) wake_();
    return {};
}

// The pause point lies before the step: nothing of the completion is recorded yet.
void Engine::note_completion(const Input& input) {
    const auto* completion = std::get_if<Completion>(&input);
    if (!completion || !offers_.erase(completion->op)) return;
    if (completion->result) pause_.reached(PausePoint::after_command);
}

Result<void> Engine::carry_out(Output output, const std::vector<Done>& done) {
    if (!output.records.empty()) {
        if (const auto durable = store_.append(output.records); !durable) return durable;
        records_ += output.records.size();
        if (std::ranges::any_of(output.records, starts_an_offer))
            pause_.reached(PausePoint::after_record);
        // What this answers goes with the next batch: it may want records of its own.
        observe(Durable{output.records.back().seq});
    }
    start_commands(output.commands);
    publish(output);
    for (const Reply& reply : output.replies) {
        auto waiting = waiting_.extract(reply.ticket);
        if (!waiting.empty()) waiting.mapped()(reply.result);
    }
    for (const Done& call : done) call();
    return {};
}

void Engine::start_commands(const std::vector<Command>& commands) {
    for (const Command& command : commands) {
        if (logs(LogLevel::debug)) log(LogLevel::debug, describe(command));
        if (std::holds_alternative<AddCapacity>(command.body)) offers_.insert(command.op);
        backend_.start_command(command);
    }
}

void Engine::publish(const Output& output) {
    const std::uint64_t last = events_.last();
    for (const Record& record : output.records) {
        // The manager made the record from the same state: a contradiction is a bug.
        CXLPOOL_CHECK(events_.add(record).has_value());
        log(LogLevel::info, events_.newest().text);
    }
    for (const Event& event : output.events) {
        events_.add(event);
        log(event.kind == "warning" ? LogLevel::warning : LogLevel::info, event.text);
    }
    const std::uint64_t revision = manager_.revision();
    if (changed_ && (revision != revision_ || events_.last() != last)) changed_();
    revision_ = revision;
}

}  // namespace cxlpool
