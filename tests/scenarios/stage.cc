// SPDX-License-Identifier: Apache-2.0
#include "stage.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/describe.h"
#include "core/units.h"
#include "script.h"

namespace cxlpool::scenario {

Stage::Stage() { (void)build(read_words("rack mem0:1G h1,h2 clean")); }

void Stage::say(std::string text) {
    if (quiet_) return;
    for (std::string& line : split(text, '\n')) out_.push_back(std::move(line));
}

Result<std::vector<std::string>> Stage::play(const std::string& line) {
    std::string rest = line;
    quiet_ = rest.starts_with("quiet ");
    if (quiet_) rest = rest.substr(6);
    out_.clear();
    if (auto ok = obey(read_words(rest)); !ok) return std::unexpected(ok.error());
    return out_;
}

Result<Stage::Host*> Stage::host(const std::string& name) {
    const auto found = hosts_.find(HostName{name});
    if (found == hosts_.end())
        return fail(Code::invalid, fmt::format("the stage has no host \"{}\"", name));
    return &found->second;
}

Result<void> Stage::obey(const Words& words) {
    const std::string& verb = words.verb;
    if (verb == "rack") return build(words);
    if (verb == "swap") {
        const auto device = fabric_.devices.find(DeviceName{words.at(0)});
        if (device == fabric_.devices.end()) return fail(Code::invalid, "swap which device?");
        device->second.identity = "another-pool";
        return {};
    }
    if (verb == "ready") return ready();
    if (verb == "restart") return restart();
    if (!manager_ && verb != "crash") {
        if (verb != "power" && verb != "show" && verb != "accept" && verb != "foreign") {
            return fail(Code::invalid, "fmd is down: \"ready\" or \"restart\" first");
        }
    }
    if (verb == "tick" || verb == "run") return advance(words);
    if (verb == "complete" || verb == "drop" || verb == "do" || verb == "repeat")
        return answer(words);
    if (verb == "power" || verb == "reboot") return power(words);
    if (verb == "show") return show(words);
    if (verb == "report") return report(words);
    if (verb == "crash") {
        crash();
        return {};
    }
    if (verb == "hold") {
        hold_ = true;
        return {};
    }
    if (verb == "sync") {
        hold_ = false;
        sync();
        return {};
    }
    if (verb == "submit") {
        auto intent = read_intent(words, 0);
        if (!intent) return std::unexpected(intent.error());
        give(Submit{Ticket{++last_ticket_}, *intent});
        return {};
    }
    if (verb == "unreachable") {
        give(HostUnreachable{HostName{words.at(0)}, "its management socket does not answer",
                             Silence::no_answer});
        return {};
    }
    if (verb == "reachable") {
        auto one = host(words.at(0));
        if (!one) return std::unexpected(one.error());
        give(HostUp{HostName{words.at(0)}, (*one)->instance});
        return {};
    }
    if (verb == "agent") return agent(HostName{words.at(0)});
    return own_hand(words);
}

// ---- setting the stage ----

// rack mem0:1G,mem1:1G h1,h2 [block=128M] [clean] [h1.mem0=64M]: the last puts DPA 0 at that
// address.
Result<void> Stage::build(const Words& words) {
    fabric_ = {};
    devices_.clear();
    hosts_.clear();
    manager_.reset();
    journal_.clear();
    std::uint64_t serial = 0;
    std::set<DeviceName> all;
    for (const std::string& one : split(words.at(0), ',')) {
        const auto colon = one.find(':');
        const auto size = parse_size(one.substr(colon + 1));
        if (colon == std::string::npos || !size)
            return fail(Code::invalid, "rack: devices are NAME:SIZE");
        const DeviceName name{one.substr(0, colon)};
        const DeviceSpec spec{
            .serial = ++serial, .size = *size, .block = 2 * MiB, .identity = "pool-" + name.text};
        fabric_.devices[name] = spec;
        devices_[name] = std::make_unique<sim::SimDevice>(name, spec);
        if (!words.has("clean")) devices_[name]->fill(sim::kOldBytes);
        all.insert(name);
    }
    for (const std::string& name : split(words.at(1), ',')) {
        fabric_.hosts[HostName{name}] = {all};
        Host& host = hosts_[HostName{name}];
        host.instance = name + "-machine1";
        host.machines = 1;
        if (words.named.contains("block")) host.memory_block = *parse_size(words.named.at("block"));
        Bytes hpa = 4 * GiB;
        for (const DeviceName& device : all) {
            const std::string key = name + "." + device.text;
            host.hpa[device] = words.named.contains(key) ? *parse_size(words.named.at(key)) : hpa;
            hpa += 64 * GiB;
        }
    }
    const auto put = [&](RecordBody body) {
        journal_.push_back({Seq{journal_.size() + 1}, 0, std::move(body)});
    };
    if (words.has("clean")) {
        for (const auto& [name, spec] : fabric_.devices) {
            put(DeviceAdopted{name, spec.serial, spec.size, spec.block, spec.identity});
            put(ScrubStarted{{name, {0, spec.size}}});
            put(ScrubDone{{name, {0, spec.size}}, spec.size});
        }
    }
    return {};
}

// fmd starts, every host is up and has reported: nobody wants to read that in every story.
Result<void> Stage::ready() {
    const bool was = quiet_;
    quiet_ = true;
    if (auto ok = restart(); !ok) return ok;
    for (const auto& [name, host] : hosts_) {
        if (auto ok = report(read_words("report " + name.text)); !ok) return ok;
    }
    run_all();
    quiet_ = was;
    return {};
}

Result<void> Stage::restart() {
    manager_.emplace(fabric_, limits_);
    for (const Record& record : journal_) {
        if (auto ok = manager_->replay(record); !ok) return ok;
    }
    auto output = manager_->start(now());
    if (!output) {
        manager_.reset();
        say("refused: " + output.error().message);
        return {};
    }
    take(std::move(*output));
    const auto known = manager_->pool().hosts;
    for (const auto& [name, host] : known) {
        const bool ended =
            !host.dead && !host.instance.empty() && host.instance != hosts_[name].instance;
        if (ended) give(HostDied{name, host.instance});
    }
    for (const auto& [name, host] : hosts_) {
        if (host.instance.empty()) {
            give(HostUnreachable{name, "nobody listens on its management socket",
                                 Silence::nobody_listens});
        } else {
            give(HostUp{name, host.instance});
        }
    }
    return {};
}

void Stage::crash() {
    manager_.reset();
    unsynced_.clear();
    held_ = {};
    waiting_.clear();
    done_.clear();
    hold_ = false;
}

// ---- the manager's caller ----

void Stage::give(const Input& input) { take(manager_->step(input, now())); }

void Stage::take(Output output) {
    const std::string text = describe(output);
    if (!text.empty()) say(text);
    const auto append = [](auto& to, auto& from) {
        to.insert(to.end(), std::make_move_iterator(from.begin()),
                  std::make_move_iterator(from.end()));
    };
    append(unsynced_, output.records);
    append(held_.commands, output.commands);
    if (!hold_) sync();
}

void Stage::sync() {
    journal_.insert(journal_.end(), unsynced_.begin(), unsynced_.end());
    unsynced_.clear();
    waiting_.insert(waiting_.end(), held_.commands.begin(), held_.commands.end());
    held_ = {};
}

// tick 100 | tick 35s: in steps of 100 ms, as fmd's loop does; commands wait for "do".
// run 5s: the same, but commands are carried out at once, and questions and answers are not
// printed. run 5s h1,h2: and these hosts report every second, as a living agent does.
Result<void> Stage::advance(const Words& words) {
    const auto length = read_time(words.at(0));
    if (!length) return std::unexpected(length.error());
    const Millis end = now_ms_ + *length;
    while (now_ms_ < end) {
        now_ms_ = std::min(end, now_ms_ + 100);
        give(Tick{});
        if (words.verb == "tick") continue;
        run_all();
        if (now_ms_ % 1000 != 0) continue;
        for (const std::string& name : split(words.at(1), ',')) {
            if (auto ok = report(read_words("report " + name)); !ok) return ok;
            run_all();
        }
    }
    if (words.verb == "run") {
        std::erase_if(out_, [](const std::string& line) {
            return line.starts_with("command op") && line.find(" ask ") != std::string::npos;
        });
    }
    return {};
}

// complete OP ANSWER | repeat OP | drop OP | do [OP]
Result<void> Stage::answer(const Words& words) {
    if (words.verb == "do" && words.plain.empty()) {
        run_all();
        return {};
    }
    if (words.at(0).empty() || words.at(0).find_first_not_of("0123456789") != std::string::npos) {
        return fail(Code::invalid, words.verb + ": which op?");
    }
    const OpId op{std::stoull(words.at(0))};
    if (words.verb == "repeat") {
        const auto found = std::ranges::find(done_, op, &Completion::op);
        if (found == done_.end()) return fail(Code::invalid, "that op has not been completed");
        const Completion again = *found;
        give(again);
        return {};
    }
    const auto found = std::ranges::find(waiting_, op, &Command::op);
    if (found == waiting_.end()) return fail(Code::invalid, "no such op is waiting");
    if (words.verb == "do") {
        run_command(static_cast<std::size_t>(found - waiting_.begin()));
        return {};
    }
    waiting_.erase(found);
    if (words.verb == "drop") return {};
    auto said = read_answer(words);
    if (!said) return std::unexpected(said.error());
    done_.push_back({op, *said});
    give(Completion{op, *said});
    return {};
}

void Stage::run_all() {
    constexpr int most = 1000;
    for (int i = 0; i < most && !waiting_.empty(); ++i) run_command(0);
}

// As the backend does it: on the device, with the device's own answer.
bool Stage::run_command(std::size_t index) {
    const Command command = waiting_[index];
    waiting_.erase(waiting_.begin() + static_cast<std::ptrdiff_t>(index));
    Result<Answer> result = Answer{};
    const auto off = [&](const HostName& name) { return hosts_.at(name).instance.empty(); };
    const auto dead = [&](const HostName& name) {
        return fail(Code::fabric,
                    fmt::format("{}: its management socket does not answer", name.text));
    };
    if (const auto* add = std::get_if<AddCapacity>(&command.body)) {
        if (off(add->host)) {
            result = dead(add->host);
        } else if (auto ok = devices_.at(add->device)->add(add->host, add->extents); !ok) {
            result = std::unexpected(ok.error());
        }
    } else if (const auto* back = std::get_if<ReleaseCapacity>(&command.body)) {
        if (off(back->host)) {
            result = dead(back->host);
        } else if (auto ok = devices_.at(back->device)->release(back->host, back->extents); !ok) {
            result = std::unexpected(ok.error());
        }
    } else if (const auto* ask = std::get_if<AskPresence>(&command.body)) {
        std::vector<Presence> all;
        for (const Range& range : ask->ranges) {
            all.push_back(devices_.at(ask->device)->presence(ask->host, range));
        }
        result = off(ask->host) ? Result<Answer>{dead(ask->host)} : Result<Answer>{Answer{all}};
    } else if (const auto* scrub = std::get_if<Scrub>(&command.body)) {
        devices_.at(scrub->extent.device)->erase(scrub->extent.range);
        result = Answer{ScrubReceipt{scrub->extent.range.length}};
    } else if (const auto* fence = std::get_if<Fence>(&command.body)) {
        Host& host = hosts_.at(fence->host);
        if (host.instance == fence->instance) {
            host.instance.clear();
            host.plugged.clear();
            for (auto& [name, device] : devices_) device->forget(fence->host);
        }
        done_.push_back({command.op, result});
        give(Completion{command.op, result});
        give(HostDied{fence->host, fence->instance});
        return true;
    }
    done_.push_back({command.op, result});
    give(Completion{command.op, result});
    return true;
}

// ---- hosts ----

// power off h1 | power on h1 | reboot h1 [told]
Result<void> Stage::power(const Words& words) {
    const bool reboot = words.verb == "reboot";
    const std::string name = words.at(reboot ? 0 : 1);
    auto one = host(name);
    if (!one) return std::unexpected(one.error());
    Host& it = **one;
    it.plugged.clear();
    if (reboot) {
        ++it.boots;
        it.seq = 0;
        if (words.has("told")) give(HostReset{HostName{name}});
        return {};
    }
    if (words.at(0) == "off") {
        const std::string instance = std::exchange(it.instance, "");
        for (auto& [device, unused] : devices_) unused->forget(HostName{name});
        if (manager_) give(HostDied{HostName{name}, instance});
        return {};
    }
    it.instance = fmt::format("{}-machine{}", name, ++it.machines);
    it.boots = 1;
    it.seq = 0;
    if (manager_) give(HostUp{HostName{name}, it.instance});
    return {};
}

// What a host's driver or a third party does with the devices themselves.
Result<void> Stage::own_hand(const Words& words) {
    const std::string& verb = words.verb;
    auto one = host(words.at(0));
    if (!one) return fail(Code::invalid, fmt::format("no command: {}", verb));
    const HostName name{words.at(0)};
    if (verb == "accept" || verb == "reject") {
        for (auto& [device_name, device] : devices_) {
            while (true) {
                const auto group = device->next_group(name);
                if (group.empty() || !device->answer(name, group, verb == "accept")) break;
                auto& log = device->log(name);
                log.erase(log.begin(), log.begin() + static_cast<std::ptrdiff_t>(group.size()));
                for (const Range& range : group) {
                    say(fmt::format("{} {}s {}", name.text, verb,
                                    describe(Extent{device_name, range})));
                }
            }
        }
        return {};
    }
    auto extent = read_extent(words.at(1));
    if (!extent) return std::unexpected(extent.error());
    if (!devices_.contains(extent->device)) return fail(Code::invalid, "no such device");
    sim::SimDevice& device = *devices_.at(extent->device);
    if (verb == "foreign") {
        if (auto ok = device.add(name, {extent->range}); !ok) return std::unexpected(ok.error());
        return {};
    }
    if (verb == "write") {
        device.write(name, extent->range, static_cast<sim::Mark>(name.text.back()));
        return {};
    }
    if (verb == "giveback") {
        (*one)->plugged.erase(*extent);
        if (!device.give_back(name, extent->range))
            return fail(Code::invalid, "it has not got that");
        return {};
    }
    return fail(Code::invalid, fmt::format("no command: {}", verb));
}

// The agent does what it is asked to, the driver answers release requests, and a report follows.
Result<void> Stage::agent(const HostName& name) {
    auto one = host(name.text);
    if (!one) return std::unexpected(one.error());
    Host& it = **one;
    for (const DesiredExtent& wanted : manager_->desired(name).extents) {
        for (auto& [device_name, device] : devices_) {
            if (device->spec().serial != wanted.serial) continue;
            const auto& all = device->accepted(name);
            if (std::ranges::find(all, wanted.range) == all.end()) continue;
            const Extent extent{device_name, wanted.range};
            if (wanted.plugged) {
                it.plugged[extent] = wanted.use;
            } else {
                it.plugged.erase(extent);
            }
        }
    }
    for (auto& [device_name, device] : devices_) {
        auto& log = device->log(name);
        std::erase_if(log, [&](const sim::LogRecord& record) {
            if (record.kind != sim::LogRecord::Kind::release) return false;
            const bool busy = std::ranges::any_of(it.plugged, [&](const auto& entry) {
                return entry.first.device == device_name &&
                       entry.first.range.overlaps(record.range);
            });
            if (!busy && device->give_back(name, record.range)) {
                say(fmt::format("{} returns {}", name.text,
                                describe(Extent{device_name, record.range})));
            }
            return !busy;
        });
    }
    return report(read_words("report " + name.text));
}

HostReport Stage::compose(const HostName& name, const Words& words) {
    Host& it = hosts_.at(name);
    const auto value = [&](const std::string& key, const std::string& otherwise) {
        return words.named.contains(key) ? words.named.at(key) : otherwise;
    };
    HostReport said;
    said.host = name;
    said.boot = value("boot", fmt::format("{}-boot{}", it.instance, it.boots));
    said.seq = words.named.contains("seq") ? std::stoull(words.named.at("seq")) : ++it.seq;
    said.driver_state = value("driver", "ready");
    if (said.driver_state == "ready") said.driver = said.boot + "-driver";
    said.driver_error = value("error", "");
    said.online_policy = value("policy", "offline");
    said.memory_block = it.memory_block;
    said.poold_version = "0.1.0";
    if (said.driver_state != "ready") return said;
    int node = 0, next_dax = 0;
    for (auto& [device_name, device] : devices_) {
        if (value("lacks", "") == device_name.text) continue;
        ReportedDevice& out = said.devices.emplace_back();
        if (value("broken", "") == device_name.text) out.state = "broken";
        out.serial = device->spec().serial;
        out.region_len = device->spec().size;
        out.hpa = it.hpa.contains(device_name) ? it.hpa.at(device_name) : 4 * GiB;
        ++node;
        for (const Range& range : device->accepted(name)) {
            ReportedExtent& extent = out.extents.emplace_back();
            extent.serial = out.serial;
            extent.range = range;
            const auto plugged = it.plugged.find({device_name, range});
            const std::string claim = value("claims", "");
            const bool in = claim.empty() ? plugged != it.plugged.end() : claim == "plugged";
            extent.state = in ? "plugged" : "accepted";
            if (!in) continue;
            extent.use = plugged == it.plugged.end() ? Use::ram : plugged->second;
            extent.dax = fmt::format("dax{}.0", next_dax++);
            if (extent.use == Use::ram) extent.node = node;
            if (words.named.contains("held")) {
                extent.used = *parse_size(words.named.at("held"));
                extent.held_kernel = 6 * MiB;
                extent.held.push_back({812, "python3", *extent.used - extent.held_kernel});
                extent.error = "memory in use cannot be taken away";
            }
        }
        if (value("claims", "") == "nothing") out.extents.clear();
        if (auto lie = read_extent(value("lie", "")); lie && lie->device == device_name) {
            out.extents.push_back({.serial = out.serial,
                                   .range = lie->range,
                                   .state = "plugged",
                                   .use = Use::ram,
                                   .node = node,
                                   .dax = "dax9.0",
                                   .error = {},
                                   .used = {},
                                   .held = {}});
        }
    }
    return said;
}

Result<void> Stage::report(const Words& words) {
    auto one = host(words.at(0));
    if (!one) return std::unexpected(one.error());
    const HostReport said = compose(HostName{words.at(0)}, words);
    if (auto good = manager_->judge(said); !good) say("409 " + good.error().message);
    give(said);
    return {};
}

// ---- looking ----

Result<void> Stage::show(const Words& words) {
    const std::string what = words.at(0);
    if (what == "journal") {
        for (const Record& record : journal_) say(describe(record));
        return {};
    }
    if (what == "bytes") {
        auto extent = read_extent(words.at(1));
        if (!extent) return std::unexpected(extent.error());
        std::set<std::string> found;
        const sim::SimDevice& device = *devices_.at(extent->device);
        for (std::size_t block = 0; block < device.blocks(); ++block) {
            if (!device.block_range(block).overlaps(extent->range)) continue;
            const sim::Mark mark = device.mark(block);
            found.insert(mark == sim::kZeros ? "zeros"
                         : mark == sim::kOldBytes
                             ? "bytes of an earlier run"
                             : fmt::format("bytes of h{}", static_cast<char>(mark)));
        }
        std::string text;
        for (const std::string& one : found) text += (text.empty() ? "" : ", ") + one;
        say(describe(*extent) + ": " + text);
        return {};
    }
    if (!manager_) return fail(Code::invalid, "fmd is down");
    if (what == "desired") {
        for (const DesiredExtent& one : manager_->desired(HostName{words.at(1)}).extents) {
            say(fmt::format("{:#x}{} {} {} {}", one.serial, describe(one.range), one.grant.text,
                            name_of(one.use), one.plugged ? "plugged" : "unplugged"));
        }
        if (out_.empty()) say("nothing");
        return {};
    }
    if (what == "hosts") {
        for (const HostView& view : manager_->host_views()) {
            say(fmt::format("{} {}: {}; granted {}", view.name.text, name_of(view.state),
                            view.state_text, describe_size(view.granted)));
        }
        return {};
    }
    if (what == "fabric") {
        for (const DeviceView& view : manager_->fabric_view().devices) {
            say(fmt::format("{}: free {}, granted {}, dirty {}{}{}", view.name.text,
                            describe_size(view.free), describe_size(view.granted),
                            describe_size(view.dirty), view.note.empty() ? "" : "; ", view.note));
        }
        return {};
    }
    const auto print = [&](const GrantView& view) {
        std::string text =
            fmt::format("{} {} {}", view.name.text, name_of(view.state), describe_size(view.size));
        for (const Extent& extent : view.extents) text += " " + describe(extent);
        for (const SeenOn& seen : view.seen) {
            text += " " + seen.host.text;
            for (const int node : seen.nodes) text += fmt::format(":node{}", node);
            for (const std::string& dax : seen.dax) text += ":" + dax;
        }
        if (!view.waits_for.empty()) text += "; waits for " + view.waits_for;
        if (!view.reason.empty()) text += "; because " + view.reason;
        say(text);
    };
    if (what == "grants") {
        const auto all = manager_->grant_views();
        for (const GrantView& view : all) print(view);
        if (all.empty()) say("no grants");
        return {};
    }
    if (what == "grant") {
        auto view = manager_->grant_view(GrantName{words.at(1)});
        if (view) {
            print(*view);
        } else {
            say(view.error().message);
        }
        return {};
    }
    return fail(Code::invalid, fmt::format("show what? \"{}\"", what));
}

}  // namespace cxlpool::scenario
