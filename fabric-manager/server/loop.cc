// SPDX-License-Identifier: Apache-2.0
#include "server/loop.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <chrono>
#include <map>
#include <set>

#include "server/api.h"
#include "server/host_api.h"
#include "server/http_server.h"
#include "server/log.h"

namespace cxlpool {
namespace {

namespace asio = boost::asio;
using asio::awaitable;
using asio::steady_timer;
using Clock = std::chrono::steady_clock;

constexpr auto as_result = asio::as_tuple(asio::use_awaitable);

Clock::time_point in(Millis ms) { return Clock::now() + std::chrono::milliseconds(ms); }

Handled reply(Response response) { return {std::move(response), {}}; }
Handled reply(const Refusal& refused) { return reply(answer(refused)); }
Handled reply(const Error& error) { return reply(refusal(error)); }

template <class T>
Handled reply(const Result<T>& result, int status = 200) {
    if (!result) return reply(result.error());
    return reply(Response{status, wire::encode(*result)});
}

// Timers of those who wait for a change. Cancelled together; each is in the set while it waits.
class Waiters {
  public:
    class Place {
      public:
        Place(Waiters& waiters, steady_timer& timer) : waiters_(waiters), timer_(timer) {
            waiters_.timers_.insert(&timer_);
        }
        Place(const Place&) = delete;
        ~Place() { waiters_.timers_.erase(&timer_); }

      private:
        Waiters& waiters_;
        steady_timer& timer_;
    };

    void wake() {
        for (steady_timer* timer : timers_) timer->cancel();
    }

  private:
    std::set<steady_timer*> timers_;
};

}  // namespace

// Held by every handler that runs: what they touch lives until the last of them is gone.
struct Loop::State : std::enable_shared_from_this<Loop::State> {
    State(asio::io_context& the_io, Engine& the_engine, Pause& the_pause, LoopOptions the_options)
        : io(the_io),
          engine(the_engine),
          pause(the_pause),
          options(std::move(the_options)),
          tick_timer(io),
          driven_timer(io),
          signals(io, SIGTERM, SIGINT) {}

    void begin();
    void plan_batch();
    void batch();
    void tick();
    void drive();
    void stop(Result<void> why);

    template <class Ready>
    awaitable<bool> until(Connection& connection, Millis ms, Ready ready);
    awaitable<Handled> api(Request request, Connection& connection);
    awaitable<Handled> carry_out(WaitGrant call, Connection& connection);
    awaitable<Handled> carry_out(ListEvents call, Connection& connection);
    awaitable<Handled> carry_out(Do call);
    awaitable<Handled> host(HostName name, Request request, Connection& connection);
    awaitable<Handled> take(HostName name, wire::ReportMessage message);
    awaitable<Handled> desired(HostName name, AskDesired call, Connection& connection);

    asio::io_context& io;
    Engine& engine;
    Pause& pause;
    LoopOptions options;
    steady_timer tick_timer;
    steady_timer driven_timer;
    asio::signal_set signals;
    Waiters waiters;
    bool batch_planned = false;
    Result<void> outcome;
    // Hosts that have been told their desired list in this life of fmd: a revision that a host
    // remembers from an earlier life means nothing, so each is told once whatever it asks for.
    std::set<HostName> told;
    std::set<HostName> misnamed;  // hosts whose agent calls itself something else: said once
};

// ---- the engine's errands ----

void Loop::State::begin() {
    engine.on_work([this] { plan_batch(); });
    engine.on_change([this] { waiters.wake(); });
    signals.async_wait([this](const boost::system::error_code& error, int signal) {
        if (error) return;
        log(LogLevel::info, fmt::format("stopping: {}", signal == SIGTERM ? "SIGTERM" : "SIGINT"));
        stop({});
    });
    if (engine.has_work()) plan_batch();
    tick();
    drive();
}

// Posted, not called: every handler that is ready now comes first, and its input is in the same
// commit.
void Loop::State::plan_batch() {
    if (std::exchange(batch_planned, true)) return;
    asio::post(io, [this] { batch(); });
}

void Loop::State::batch() {
    batch_planned = false;
    if (const auto done = engine.run_batch(); !done) return stop(done);
    drive();
}

void Loop::State::tick() {
    engine.observe(Tick{});
    tick_timer.expires_after(std::chrono::milliseconds(tick_ms));
    tick_timer.async_wait([this](const boost::system::error_code& error) {
        if (!error) tick();
    });
}

// Lets a driven backend live up to now, and comes back when it has something to say.
void Loop::State::drive() {
    if (!options.driven) return;
    options.driven->advance(now().mono_ms);
    const auto next = options.driven->next_event();
    if (!next) return;
    driven_timer.expires_at(in(std::max<Millis>(1, *next - now().mono_ms)));
    driven_timer.async_wait([this](const boost::system::error_code& error) {
        if (!error) drive();
    });
}

void Loop::State::stop(Result<void> why) {
    outcome = std::move(why);
    io.stop();
}

// Waits until ready() or the time is over (true), or until the client has gone (false).
template <class Ready>
awaitable<bool> Loop::State::until(Connection& connection, Millis ms, Ready ready) {
    steady_timer timer(io);
    const auto deadline = in(ms);
    while (!ready() && Clock::now() < deadline) {
        timer.expires_at(deadline);
        const Waiters::Place place(waiters, timer);
        if (!co_await connection.wait(timer)) co_return false;
    }
    co_return true;
}

// ---- calls of fmctl ----

awaitable<Handled> Loop::State::api(Request request, Connection& connection) {
    if (logs(LogLevel::debug)) log(LogLevel::debug, request.method + " " + request.target);
    const auto call = route_api(request);
    if (!call) co_return reply(call.error());
    const Manager& manager = engine.manager();
    if (std::holds_alternative<ShowFabric>(*call)) {
        const wire::FabricInfo info{options.fabric_name, options.backend_name,
                                    manager.fabric_view()};
        co_return reply(Response{200, wire::encode(info)});
    }
    if (std::holds_alternative<ListHosts>(*call))
        co_return reply(Response{200, wire::encode(manager.host_views())});
    if (const auto* show = std::get_if<ShowHost>(&*call))
        co_return reply(manager.host_view(show->name));
    if (std::holds_alternative<ListGrants>(*call))
        co_return reply(Response{200, wire::encode(manager.grant_views())});
    if (const auto* show = std::get_if<ShowGrant>(&*call))
        co_return reply(manager.grant_view(show->name));
    if (const auto* wait = std::get_if<WaitGrant>(&*call))
        co_return co_await carry_out(*wait, connection);
    if (const auto* list = std::get_if<ListEvents>(&*call))
        co_return co_await carry_out(*list, connection);
    co_return co_await carry_out(std::get<Do>(*call));
}

awaitable<Handled> Loop::State::carry_out(WaitGrant call, Connection& connection) {
    const auto done = [&] {
        const auto view = engine.manager().grant_view(call.name);
        return !view || wire::settled(view->state);
    };
    co_await until(connection, call.timeout_ms, done);
    co_return reply(engine.manager().grant_view(call.name));
}

awaitable<Handled> Loop::State::carry_out(ListEvents call, Connection& connection) {
    const EventLog& events = engine.events();
    co_await until(connection, call.wait_ms, [&] { return events.last() > call.after; });
    const auto found = events.since(call.after, call.limit);
    co_return reply(Response{200, wire::encode(found)});
}

awaitable<Handled> Loop::State::carry_out(Do call) {
    const auto* create = std::get_if<CreateGrant>(&call.intent);
    const bool creates = create && create->mode == Mode::real;
    // The reply outlives this frame when fmd stops meanwhile: hence shared.
    const auto timer = std::make_shared<steady_timer>(io, steady_timer::time_point::max());
    const auto result = std::make_shared<std::optional<Result<ReplyBody>>>();
    engine.submit(std::move(call.intent), [timer, result](const Result<ReplyBody>& body) {
        *result = body;
        timer->cancel();
    });
    while (!*result) co_await timer->async_wait(as_result);
    Handled handled = reply(**result, call.success);
    if (creates && **result) handled.sent = [this] { pause.reached(PausePoint::after_reply); };
    co_return handled;
}

// ---- calls of poold ----

awaitable<Handled> Loop::State::host(HostName name, Request request, Connection& connection) {
    auto call = route_host(name, request);
    if (!call) {
        log(LogLevel::warning, fmt::format("{}: refused a call of its agent: {}", name.text,
                                           call.error().error.message));
        co_return reply(call.error());
    }
    if (auto* report = std::get_if<TakeReport>(&*call))
        co_return co_await take(std::move(name), std::move(report->message));
    co_return co_await desired(std::move(name), std::get<AskDesired>(*call), connection);
}

awaitable<Handled> Loop::State::take(HostName name, wire::ReportMessage message) {
    if (!message.claimed_host.empty() && message.claimed_host != name.text &&
        misnamed.insert(name).second)
        log(LogLevel::warning, fmt::format("{}: its agent calls itself {}; the socket counts",
                                           name.text, message.claimed_host));
    if (const auto fresh = engine.manager().judge(message.report); !fresh)
        co_return reply(fresh.error());
    const auto timer = std::make_shared<steady_timer>(io, steady_timer::time_point::max());
    const auto done = std::make_shared<bool>(false);
    engine.observe(std::move(message.report), [timer, done] {
        *done = true;
        timer->cancel();
    });
    while (!*done) co_await timer->async_wait(as_result);
    co_return reply(Response{200, wire::encode_rev(engine.manager().desired(name).rev)});
}

awaitable<Handled> Loop::State::desired(HostName name, AskDesired call, Connection& connection) {
    const Manager& manager = engine.manager();
    const bool first = told.insert(name).second;
    const auto changed = [&] { return first || manager.desired(name).rev != call.after; };
    co_await until(connection, call.wait_ms, changed);
    if (!changed()) co_return reply(Response{204, ""});
    co_return reply(Response{200, wire::encode(manager.desired(name))});
}

// ---- the loop ----

Loop::Loop(asio::io_context& io, Engine& engine, Pause& pause, LoopOptions options)
    : state_(std::make_shared<State>(io, engine, pause, std::move(options))) {}

Loop::~Loop() = default;

void Loop::serve_api(UnixListener& listener) {
    serve_http(state_->io, listener.release_fd(), state_->options.api_limits,
               [state = state_](Request request, Connection& connection) {
                   return state->api(std::move(request), connection);
               });
}

void Loop::serve_host(const HostName& host, UnixListener& listener) {
    serve_http(state_->io, listener.release_fd(), state_->options.host_limits,
               [state = state_, host](Request request, Connection& connection) {
                   return state->host(host, std::move(request), connection);
               });
}

Result<void> Loop::run() {
    state_->begin();
    state_->io.run();
    return state_->outcome;
}

Now Loop::now() {
    using namespace std::chrono;
    static const Clock::time_point start = Clock::now();
    return {duration_cast<milliseconds>(Clock::now() - start).count(),
            duration_cast<microseconds>(system_clock::now().time_since_epoch()).count()};
}

}  // namespace cxlpool
