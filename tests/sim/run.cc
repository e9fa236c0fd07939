// SPDX-License-Identifier: Apache-2.0
#include "run.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "core/describe.h"
#include "workload.h"

namespace cxlpool::fmsim {

namespace {

constexpr Millis kTick = 100;
constexpr std::size_t kLastEvents = 30;

}  // namespace

Run::Run(std::uint64_t seed, Plant plant, bool print_trace)
    : seed_(seed),
      plant_(plant),
      print_trace_(print_trace),
      swarm_(draw_swarm(seed)),
      random_(seed * 104729 + 7),
      world_(swarm_.rack),
      ledger_(world_.fabric()),
      truth_{world_, ledger_, nullptr, {}, {}, {}},
      checkers_(all_checkers(truth_)) {
    if (plant_ == Plant::touch_foreign) swarm_.foreign = true;
    if (plant_ == Plant::torn_replay || plant_ == Plant::early_reply) swarm_.crash_per_effect = 20;
    if (plant_ == Plant::early_reply || plant_ == Plant::early_command ||
        plant_ == Plant::own_clock) {
        swarm_.sync_ms = 20;
    }
    if (plant_ == Plant::believed_repeat) world_.faults.completion_repeated = 300;
    verdict_.story = swarm_.describe();
    world_.on_effect = [this](const sim::Effect& effect) {
        tell("rack " + describe(effect));
        // What somebody else gave is gone with the machine, or when it is given back.
        if (effect.kind == sim::Effect::Kind::host_died ||
            effect.kind == sim::Effect::Kind::returned) {
            std::erase_if(truth_.foreign, [&](const auto& claim) {
                return claim.first == effect.host &&
                       !truth_.reaches(claim.first, claim.second.device, claim.second.range);
            });
        }
        check([&](Checker& checker) { checker.effect(effect); });
    };
    world_.owner = [this](const sim::SimDevice& device, const HostName& host, Range range) {
        const std::size_t block = range.dpa / device.spec().block;
        const LedgerGrant* owner = ledger_.owner(device.name(), block);
        const bool its = owner != nullptr && owner->hosts.contains(host);
        return its ? owner->id.value : sim::Mark{1} << 62;
    };
    world_.desired = [this](const HostName& host) -> std::optional<Desired> {
        if (!manager_) return std::nullopt;
        Desired list = manager_->desired(host);
        if (plant_ == Plant::never_plugged) list.extents.clear();
        return list;
    };
}

Now Run::now() const { return {world_.now(), (1'800'000'000'000 + world_.now()) * 1000}; }

void Run::tell(const std::string& line) {
    std::string full = fmt::format("{:>7} {}", world_.now(), line);
    for (const char c : full)
        verdict_.trace_hash =
            (verdict_.trace_hash ^ static_cast<unsigned char>(c)) * 0x100000001B3ULL;
    if (print_trace_) fmt::print("{}\n", full);
    last_.push_back(std::move(full));
    if (last_.size() > kLastEvents) last_.pop_front();
}

template <class Tell>
void Run::check(Tell tell_checker) {
    for (auto& checker : checkers_) {
        tell_checker(*checker);
        if (!over() && checker->violation()) verdict_.violation = checker->violation();
    }
}

// ---- the manager's caller ----

void Run::hear(const Input& input) {
    if (!manager_ || over()) return;
    if (plant_ == Plant::deaf_manager && verdict_.grants != 0 &&
        std::holds_alternative<HostReport>(input)) {
        return;
    }
    bool again = false;
    if (const auto* done = std::get_if<Completion>(&input)) {
        again = !completed_.insert(done->op).second;
        outstanding_.erase(done->op);
    }
    if (const auto* report = std::get_if<HostReport>(&input)) again = !manager_->judge(*report);
    if (!again) return feed(input);
    // What is due now is due anyway; beyond that a repetition must change nothing.
    for (int i = 0; i < 3; ++i) {
        if (manager_ && !over()) feed(Tick{});
    }
    if (!manager_ || over()) return;
    Input heard = input;
    if (plant_ == Plant::believed_repeat && !outstanding_.empty()) {
        if (auto* done = std::get_if<Completion>(&heard)) done->op = *outstanding_.begin();
    }
    tell("again " + describe(heard));
    const Pool before = manager_->pool();
    const Output output = manager_->step(heard, now());
    const bool changed = !(before == manager_->pool());
    check([&](Checker& checker) { checker.repeated(heard, output, changed); });
    absorb(output);
}

void Run::feed(const Input& input) {
    if (!std::holds_alternative<Tick>(input)) tell("in   " + describe(input));
    check([&](Checker& checker) { checker.heard(input); });
    ++verdict_.steps;
    Input heard = input;
    if (plant_ == Plant::blind_device) {
        if (auto* done = std::get_if<Completion>(&heard); done && done->result) {
            if (auto* answer = std::get_if<std::vector<Presence>>(&*done->result)) {
                std::ranges::fill(*answer, Presence::none);
            }
        }
    }
    if (plant_ == Plant::never_plugged) {
        if (auto* report = std::get_if<HostReport>(&heard)) {
            const Desired list = manager_->desired(report->host);
            for (ReportedDevice& device : report->devices) {
                device.extents.clear();
                for (const DesiredExtent& wanted : list.extents) {
                    if (wanted.serial != device.serial) continue;
                    device.extents.push_back({.serial = wanted.serial,
                                              .range = wanted.range,
                                              .state = wanted.plugged ? "plugged" : "accepted",
                                              .use = wanted.use,
                                              .node = 1,
                                              .dax = "dax0.0",
                                              .error = {},
                                              .used = {},
                                              .held = {}});
                }
            }
        }
    }
    absorb(manager_->step(heard, now()));
}

void Run::absorb(Output output) {
    if (plant_ == Plant::short_grant) {
        for (Record& record : output.records) {
            if (auto* created = std::get_if<GrantCreated>(&record.body)) {
                Range& range = created->extents.front().range;
                if (range.length > 2 * MiB) range.length -= 2 * MiB;
            }
        }
    }
    const std::string text = describe(output);
    if (!text.empty()) tell("out  " + text);
    if (!output.records.empty()) {
        if (auto ok = store_.append(output.records); !ok) {
            verdict_.violation = Violation{8, ok.error().message};
            return;
        }
        unsynced_.insert(unsynced_.end(), output.records.begin(), output.records.end());
    }
    if (plant_ == Plant::early_command) {
        for (Command& command : output.commands) start_command(std::move(command));
        output.commands.clear();
    }
    if (plant_ == Plant::early_reply) {
        for (const Reply& reply : output.replies) send(reply);
        output.replies.clear();
    }
    const Seq upto = unsynced_.empty() ? Seq{} : unsynced_.back().seq;
    pending_.push_back({std::move(output), upto});
    if (sync_at_ == 0) sync_at_ = world_.now() + random_.between(0, swarm_.sync_ms);
    if (plant_ == Plant::own_clock) {
        sync_at_ += std::chrono::steady_clock::now().time_since_epoch().count() / 1000 % 5;
    }
    if (swarm_.sync_ms == 0) sync();
}

void Run::made_durable(const std::vector<Record>& records) {
    for (const Record& record : records) {
        truth_.durable.push_back(record);
        const auto wrong = ledger_.apply(record);
        if (wrong) check([&](Checker& checker) { checker.contradiction(*wrong); });
        check([&](Checker& checker) { checker.record(record); });
        if (std::holds_alternative<GrantCreated>(record.body)) ++verdict_.grants;
    }
}

// The commit has reached the disk: what waited for it may happen now, one effect after the other,
// and fmd may die after each of them.
void Run::sync() {
    sync_at_ = 0;
    if (maybe_crash()) return;
    store_.sync();
    if (!unsynced_.empty()) {
        inbox_.push_back(Durable{unsynced_.back().seq});
        made_durable(std::exchange(unsynced_, {}));
    }
    std::deque<Pending> ready = std::exchange(pending_, {});
    for (Pending& one : ready) {
        if (!manager_ || over()) return;
        effects(one.output);
    }
    while (!inbox_.empty() && manager_ && !over()) {
        const Input input = inbox_.front();
        inbox_.pop_front();
        feed(input);
    }
}

void Run::effects(Output& output) {
    if (maybe_crash()) return;
    for (Command& command : output.commands) {
        start_command(std::move(command));
        if (over() || maybe_crash()) return;
    }
    for (const Reply& reply : output.replies) {
        send(reply);
        if (over() || maybe_crash()) return;
    }
}

void Run::start_command(Command command) {
    check([&](Checker& checker) { checker.command(command); });
    if (over()) return;
    outstanding_.insert(command.op);
    if (plant_ != Plant::no_scrub || !std::holds_alternative<Scrub>(command.body)) {
        world_.start_command(command);
    }
    if (plant_ == Plant::two_hosts) {
        if (const auto* add = std::get_if<AddCapacity>(&command.body)) {
            for (const auto& [name, host] : world_.fabric().hosts) {
                if (name == add->host || !host.devices.contains(add->device)) continue;
                AddCapacity twin = *add;
                twin.host = name;
                world_.start_command({OpId{command.op.value + 1'000'000}, twin});
                break;
            }
        }
    }
    if (plant_ == Plant::no_scrub) {
        if (const auto* scrub = std::get_if<Scrub>(&command.body)) {
            inbox_.push_back(
                Completion{command.op, Answer{ScrubReceipt{scrub->extent.range.length}}});
        }
    }
}

void Run::send(const Reply& reply) {
    const auto asked = asked_.find(reply.ticket);
    if (asked == asked_.end()) return;
    check([&](Checker& checker) { checker.reply(asked->second, reply); });
    if (reply.result) {
        if (const auto* doctor = std::get_if<DoctorView>(&*reply.result)) doctor_ = *doctor;
    }
    asked_.erase(asked);
}

// ---- crashes ----

bool Run::maybe_crash() {
    if (!faults_on_ || !manager_ || !random_.chance(swarm_.crash_per_effect)) return false;
    crash();
    return true;
}

void Run::crash() {
    const std::size_t survivors = random_.below(unsynced_.size() + 1);
    tell(fmt::format("CRASH {} of {} unsynced records survive", survivors, unsynced_.size()));
    ++verdict_.crashes;
    store_.crash(survivors);
    unsynced_.resize(survivors);
    made_durable(std::exchange(unsynced_, {}));
    manager_.reset();
    truth_.manager = nullptr;
    pending_.clear();
    inbox_.clear();
    asked_.clear();
    completed_.clear();
    outstanding_.clear();
    sync_at_ = 0;
    world_.manager_lost();
    check([](Checker& checker) { checker.crashed(); });
    restart_at_ = world_.now() + random_.between(1, 5'000);
    if (swarm_.foreign) add_foreign();
}

void Run::restart() {
    tell("RESTART");
    restart_at_ = 0;
    auto records = store_.load();
    if (!records) {
        verdict_.violation = Violation{8, records.error().message};
        return;
    }
    if (plant_ == Plant::torn_replay && records->size() > 3) {
        records->erase(records->begin() + static_cast<std::ptrdiff_t>(records->size() / 2));
    }
    manager_.emplace(world_.fabric(), swarm_.limits);
    truth_.manager = &*manager_;
    for (const Record& record : *records) {
        if (auto ok = manager_->replay(record); !ok) {
            check([&](Checker& checker) { checker.replay_refused(ok.error().message); });
            return;
        }
    }
    check([](Checker& checker) { checker.restarted(); });
    auto output = manager_->start(now());
    if (!output) {
        check([&](Checker& checker) { checker.replay_refused(output.error().message); });
        return;
    }
    for (const auto& [name, host] : manager_->pool().hosts) {
        if (!host.instance.empty() && !host.dead) world_.expect(name, host.instance);
    }
    world_.manager_found();
    absorb(std::move(*output));
}

// ---- the course of a run ----

// Somebody else gives a host something that no grant owns, while fmd cannot see it happen.
void Run::add_foreign() {
    if (truth_.foreign.size() >= 2) return;
    auto host = world_.fabric().hosts.begin();
    std::advance(host, static_cast<std::ptrdiff_t>(random_.below(world_.fabric().hosts.size())));
    if (host->second.devices.empty() || !world_.host(host->first).powered()) return;
    const DeviceName device = *host->second.devices.begin();
    const DeviceSpec& spec = world_.fabric().devices.at(device);
    const Range range{random_.below(spec.size / spec.block - 1) * spec.block, 2 * spec.block};
    for (std::size_t block : ledger_.block_numbers(device, range)) {
        if (ledger_.owner(device, block)) return;
    }
    if (!truth_.who_reaches(device, range).empty()) return;
    truth_.foreign.push_back({host->first, {device, range}});
    world_.add_foreign(host->first, device, range);
}

void Run::submit(Intent intent) {
    const Ticket ticket{++last_ticket_};
    if (const auto* fence = std::get_if<FenceHost>(&intent)) {
        // What the operator sees is what the manager knows: its latest instance, dead or not.
        const auto known = manager_->pool().hosts.find(fence->host);
        if (known != manager_->pool().hosts.end()) {
            truth_.fences_asked.insert({fence->host, known->second.instance});
        }
    }
    asked_.emplace(ticket, intent);
    feed(Submit{ticket, std::move(intent)});
}

void Run::turn(Millis until, bool faults) {
    Millis next = std::min(until, next_tick_);
    if (const auto event = world_.next_event()) next = std::min(next, *event);
    for (const Millis at : {sync_at_, restart_at_}) {
        if (at != 0) next = std::min(next, at);
    }
    next = std::max(next, world_.now());
    for (const Input& input : world_.advance(next)) hear(input);
    if (over()) return;
    const Millis time = world_.now();
    if (manager_ && sync_at_ != 0 && sync_at_ <= time) sync();
    if (!manager_ && restart_at_ <= time) restart();
    if (faults && time >= next_intent_ && manager_ && !over()) {
        next_intent_ = time + random_.between(1, 2 * swarm_.intent_every_ms);
        submit(draw_intent(world_.fabric(), ledger_, swarm_.power_cycles, random_));
    }
    if (plant_ == Plant::touch_foreign && manager_ && !over()) {
        for (const auto& [host, claim] : truth_.foreign) {
            start_command({OpId{9'000'000}, ReleaseCapacity{host, claim.device, {claim.range}}});
        }
    }
    if (faults && swarm_.chaos_every_ms != 0 && time >= next_chaos_) {
        next_chaos_ = time + random_.between(1, 2 * swarm_.chaos_every_ms);
        const std::string what = chaos(swarm_, world_, random_);
        if (!what.empty()) tell("chaos " + what);
    }
    if (time >= next_tick_) {
        next_tick_ = time + kTick;
        if (manager_ && !over()) feed(Tick{});
    }
    world_.notice_desired();
}

void Run::phase(Millis until, bool faults) {
    faults_on_ = faults;
    while (world_.now() < until && !over()) turn(until, faults);
}

void Run::settle() {
    tell("HEAL");
    heal(world_);
    if (!manager_) restart_at_ = world_.now();
    phase(world_.now() + swarm_.liveness_ms, false);
    if (over()) return;
    doctor_.reset();
    submit(DoctorScan{});
    phase(world_.now() + 5'000, false);
    if (over()) return;
    check([&](Checker& checker) { checker.settled(doctor_ ? &*doctor_ : nullptr); });
    tell("RELEASE ALL");
    std::vector<GrantName> names;
    for (const auto& [id, grant] : ledger_.grants()) {
        if (!grant.gone && !grant.released) names.push_back(grant.name);
    }
    for (const GrantName& name : names) {
        if (!over()) submit(ReleaseGrant{name});
    }
    phase(world_.now() + swarm_.liveness_ms, false);
    if (!over()) check([](Checker& checker) { checker.emptied(); });
}

Verdict Run::go() {
    if (swarm_.foreign) add_foreign();
    restart();
    if (!over()) phase(swarm_.safety_ms, true);
    if (!over()) settle();
    verdict_.last_events.assign(last_.begin(), last_.end());
    return verdict_;
}

}  // namespace cxlpool::fmsim
