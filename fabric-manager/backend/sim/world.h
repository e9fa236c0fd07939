// SPDX-License-Identifier: Apache-2.0
// The simulated rack: devices, hosts, the way of commands to them and of completions back, and what
// may go wrong in between. Deterministic: virtual time, chance from one seed, no thread. Commands
// to one host's machine take effect in the order in which they were started, also across lives of
// the manager, as on one management socket; completions and reports may come in any order.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "backend/sim/behaviour.h"
#include "backend/sim/device.h"
#include "backend/sim/host.h"
#include "backend/sim/random.h"
#include "backend/sim/timeline.h"
#include "core/command.h"
#include "core/fabric.h"
#include "core/manager.h"

namespace cxlpool::sim {

// How the rack is put together; how each host behaves. Default: a healthy rack (see
// default_rack()).
struct RackConfig {
    Fabric fabric;
    std::map<HostName, Behaviour> behaviour;  // hosts not named are healthy
    Faults faults;
    std::uint64_t seed = 1;
    std::string run;         // becomes part of instance names: a new run, new machines
    bool old_bytes = false;  // memory starts with somebody else's bytes in it
    bool booted = true;      // hosts are up from the start
    Millis offer_ms = 2;     // a command to a host's machine
    Millis scrub_ms = 10;    // for 64 MiB
};

// What really happened, for checkers and traces. `range` is empty for what concerns a whole host.
struct Effect {
    enum class Kind {
        offered,
        accepted,
        rejected,
        release_asked,
        returned,
        scrub_begun,
        scrubbed,
        host_up,
        host_died,
        foreign_added,
    } kind;
    HostName host;
    DeviceName device;
    Range range;
};
std::string describe(const Effect& effect);

class SimWorld {
  public:
    explicit SimWorld(RackConfig config);

    // ---- what the manager's caller uses ----
    void start_command(const Command& command);
    // Lets the rack live until `now`; what the manager is to hear, in order.
    std::vector<Input> advance(Millis now);
    std::optional<Millis> next_event() const { return timeline_.next(); }
    Millis now() const { return timeline_.now(); }
    // The agents' long-poll. Nothing: fmd does not answer.
    std::function<std::optional<Desired>(const HostName&)> desired;
    // Tells agents whose desired list has moved; call it after each step of the manager.
    void notice_desired();
    // fmd died: completions on their way are lost; commands handed over may still take effect,
    // before any later one; scrubs (they run in fmd) stop half-way.
    void manager_lost();
    // fmd is there (again): it hears which machines it can talk to.
    void manager_found();
    // Before manager_found(): the journal's instance of a host. Its end is told when it has ended
    // already.
    void expect(const HostName& host, const std::string& instance);

    // ---- what may happen to hosts ----
    SimHost& host(const HostName& name) { return *hosts_.at(name); }
    const std::map<HostName, std::unique_ptr<SimHost>>& hosts() const { return hosts_; }
    std::map<DeviceName, std::unique_ptr<SimDevice>>& devices() { return devices_; }
    const std::map<DeviceName, std::unique_ptr<SimDevice>>& devices() const { return devices_; }
    const Fabric& fabric() const { return config_.fabric; }
    void kill(const HostName& name);   // the machine is gone for good
    void start(const HostName& name);  // a new machine for it
    // A warm reset: same machine, new boot after `boot_ms`. Whether fmd hears of it at once is
    // chance.
    void reboot(const HostName& name, Millis boot_ms);
    void set_reachable(const HostName& name, bool reachable);
    // Somebody else than fmd offers memory to a host.
    void add_foreign(const HostName& host, const DeviceName& device, Range range);
    Faults faults;

    // ---- for checkers ----
    std::function<void(const Effect&)> on_effect;
    // Who owns a block when this host stores to it; unset: marks tell hosts apart only.
    std::function<Mark(const SimDevice&, const HostName&, Range)> owner;

  private:
    enum class Fate { fine, lost, refused, failed_with_effect };

    void run_on_host(const Command& command, const HostName& host);
    void run_scrub(const Command& command, const Scrub& scrub);
    void run_fence(const Command& command, const Fence& fence);
    Result<Answer> execute(const CommandBody& body, const HostName& host);
    void complete(const Command& command, Result<Answer> result);
    void deliver(Millis delay, Input input);  // to this life of the manager only
    void send_report(const HostReport& report);
    void tell(Effect::Kind kind, HostName host, DeviceName device, Range range) const;
    Fate draw_fate();

    RackConfig config_;
    Random random_;
    Timeline timeline_;
    std::map<DeviceName, std::unique_ptr<SimDevice>> devices_;
    std::map<HostName, std::unique_ptr<SimHost>> hosts_;
    std::map<HostName, Millis> busy_until_;  // the order of commands on one management socket
    std::map<HostName, std::uint64_t> seen_rev_;
    std::map<DeviceName, Millis> scrubbing_until_;
    std::uint64_t life_ = 0;                                // of the manager
    std::set<std::pair<HostName, std::uint64_t>> dropped_;  // queues that died with their fmd
    bool manager_there_ = false;
    std::vector<Input> outbox_;
};

// h1, h2, h3 attached to mem0 and mem1 of 4 GiB each, memory block 128 MiB.
RackConfig default_rack();

}  // namespace cxlpool::sim
