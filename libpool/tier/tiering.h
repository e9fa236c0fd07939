// SPDX-License-Identifier: Apache-2.0
// The tiering of this process: the engine with all that it needs, on a thread of its own, a watch
// that tells it once a second which nodes there are and what near memory saves, and the control
// socket, for pooltier and poold. In a forked child it is a copy without threads, which lets go of
// the socket and is good for nothing else, not even to be destroyed.
//
// Threads: any, at once; nobody during or after the destructor.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "evacuate.h"
#include "tier/control.h"
#include "tier/engine.h"
#include "tier/engine_control.h"
#include "tier/nodes.h"
#include "tier/probe.h"
#include "topology.h"

namespace libpool::tier {

struct TieringWish {
    EngineConfig engine;  // its nodes come from the topology
    TierConfig policy;
    std::string sampler = "auto";  // a name of sampler_choice.h
    bool dry = false;              // decides, moves nothing
    double loss_ns = 0;            // what a near access saves; 0: measured now and all along
    bool control = true;           // pooltier and poold may ask it, and set limits
};

class Tiering {
  public:
    // EOPNOTSUPP when there is nothing to tier, no sampler works, or pages cannot be moved: one
    // sentence with the reason. Nothing runs then.
    static Result<std::unique_ptr<Tiering>> start(const Topology& topology,
                                                  const TieringWish& wish);
    ~Tiering();

    Engine& engine() { return *engine_; }
    const Engine& engine() const { return *engine_; }
    // One sentence for people.
    std::string describe() const;

    // See pool_drain(), pool_readmit().
    Result<Evacuation> drain(int node, double seconds, const Progress& progress);
    Result<void> readmit(int node);

  private:
    Tiering(const Topology& topology, const TieringWish& wish);
    Result<void> begin(const Topology& topology, const TieringWish& wish);
    void run_watch();
    void watch_once();
    void tell_nodes();
    void follow_nodes();
    void abandon_in_child();
    void take_stock(const std::string& has_memory);

    // Those there are, for fork().
    class Living;

    const bool dry_;
    std::unique_ptr<Kernel> kernel_;
    std::unique_ptr<Mover> mover_;
    std::unique_ptr<Sampler> sampler_;
    std::unique_ptr<TierPolicy> policy_;
    SystemClock clock_;
    std::unique_ptr<Engine> engine_;
    std::unique_ptr<EngineControl> control_;
    std::unique_ptr<ControlServer> server_;
    std::string not_told_;  // of the choice of the sampler, and why there is no control socket
    std::unique_ptr<LoadSource> loads_;
    std::unique_ptr<LatencyProbe> probe_;  // none when the gain was given; under nodes_lock_

    std::mutex nodes_lock_;  // guards nodes_, told_, seen_, probe_
    NodeBook nodes_;
    TierNodes told_;    // those that the engine has
    std::string seen_;  // the kernel's list of nodes with memory, when last read
    std::mutex drain_lock_;

    std::thread thread_;
    std::thread watch_;
    std::mutex stop_lock_;
    std::condition_variable stop_changed_;
    bool stop_ = false;  // under stop_lock_
};

}  // namespace libpool::tier
