// SPDX-License-Identifier: Apache-2.0
// A simulated host: its machine (instances), its guest (boots), the DCD driver and poold in it. It
// acts on its own, on the world's timeline; what it may do wrong is in its Behaviour. It reaches
// devices only as a guest does: its event log, its answers, its stores.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "backend/sim/behaviour.h"
#include "backend/sim/device.h"
#include "backend/sim/timeline.h"
#include "core/command.h"
#include "core/ids.h"
#include "core/view.h"

namespace cxlpool::sim {

// What the world lends a host. Everything outlives the host.
struct HostLinks {
    Timeline& timeline;
    std::vector<SimDevice*> devices;  // attached ones, in window order
    std::function<void(const HostReport&)> send_report;
    // The agent's long-poll; nothing when fmd does not answer.
    std::function<std::optional<Desired>(const HostName&)> desired;
    // The mark that the host leaves when it stores to a block.
    std::function<Mark(const SimDevice&, const HostName&, Range)> mark;
    // Something happened that checkers want to see: accepted, rejected, returned.
    std::function<void(const char* what, const HostName&, const SimDevice&, Range)> tell;
};

class SimHost {
  public:
    SimHost(HostName name, Behaviour behaviour, std::string run, HostLinks links);

    Behaviour behaviour;  // after a change: kick()

    const HostName& name() const { return name_; }
    bool powered() const { return powered_; }
    bool up() const { return powered_ && booted_; }
    const std::string& instance() const { return instance_; }
    std::string boot() const;
    bool attached(const SimDevice& device) const;

    void power_on(Millis boot_ms);  // a new instance
    void power_off();
    void reboot(Millis boot_ms);  // same instance, new boot: accepted extents and log survive
    // rmmod: refused while anything is plugged; gives back every accepted extent.
    bool unload_driver();
    void load_driver();

    void kick();                           // look at the log and at the desired list soon
    void desired_moved();                  // the long-poll answered
    void scribble();                       // store to everything it can reach
    bool give_back_one(std::size_t pick);  // unasked; false when it has nothing

    HostReport report();  // raises seq

    // For checkers: what the driver really has.
    enum class State { accepted, plugging, plugged, unplugging };
    struct Extent {
        State state = State::accepted;
        std::optional<Use> use;
        std::string error;
        bool release_asked = false;
        std::optional<Millis> refused_since;  // first unplug try that found memory in use
        int dax = 0;
    };
    using Key = std::pair<SimDevice*, Range>;
    // By name: the order of addresses would differ from run to run.
    struct ByName {
        bool operator()(const Key& one, const Key& two) const {
            return std::tie(one.first->name(), one.second) <
                   std::tie(two.first->name(), two.second);
        }
    };
    using Extents = std::map<Key, Extent, ByName>;
    const Extents& extents() const { return extents_; }

  private:
    void later(Millis delay,
               std::function<void(SimHost&)> action);  // dropped when the boot is over
    void forget_guest();
    void boot_done();
    void driver_work();
    bool answer_front(SimDevice& device);
    void return_asked();
    void drop_extent(const Key& key);
    void agent_work();
    void follow(const Key& key, Extent& extent, const DesiredExtent& wanted);
    void plug(const Key& key, Use use);
    void unplug(const Key& key);
    bool driver_ready() const { return up() && behaviour.driver == Driver::ready; }
    void changed();
    void report_every();
    void send();
    void lie(HostReport& report) const;
    ReportedDevice report_device(SimDevice& device, std::size_t index) const;

    HostName name_;
    std::string run_;
    HostLinks links_;
    bool powered_ = false;
    bool booted_ = false;
    bool report_planned_ = false;
    bool desired_planned_ = false;
    bool retry_planned_ = false;
    std::uint64_t instances_ = 0, boots_ = 0, drivers_ = 0, seq_ = 0;
    int next_dax_ = 0;
    std::string instance_;
    Extents extents_;
};

}  // namespace cxlpool::sim
