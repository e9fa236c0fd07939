// SPDX-License-Identifier: Apache-2.0
// The simulated rack as a Backend of fmd. It owns no timer: fmd's loop calls advance() with its own
// monotone time at each tick and after each command, and that is the only time the rack knows.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "backend/sim/world.h"

namespace cxlpool::sim {

class SimBackend : public Backend {
  public:
    // `config.run` tells the machines of this process from those of an earlier one: a new process
    // of fmd finds new machines, as after a power cycle of the whole rack. Empty: drawn at random.
    explicit SimBackend(RackConfig config = default_rack());

    Result<Fabric> open() override;
    void expect(const HostName& host, const std::string& instance) override;
    void run(Sink sink) override;
    void start_command(const Command& command) override;

    // Lets the rack live until `now` and delivers what came of it. Never call it from inside the
    // sink.
    void advance(Millis now);
    // How long the rack has nothing to say: for a loop that would rather sleep than tick.
    std::optional<Millis> next_event() const { return world_->next_event(); }

    // What agents see of Manager::desired(); set by the composition root before run().
    void set_desired(std::function<Desired(const HostName&)> desired);

    SimWorld& world() { return *world_; }

  private:
    std::unique_ptr<SimWorld> world_;
    Sink sink_;
};

}  // namespace cxlpool::sim
