// SPDX-License-Identifier: Apache-2.0
// The lower half: what carries out commands and tells what it sees. Implementations: sim (a model
// of devices and hosts, with faults) and qmp (QEMU guests that share pool files).
#pragma once

#include <functional>
#include <map>
#include <string>

#include "core/command.h"
#include "core/fabric.h"
#include "core/manager.h"
#include "core/result.h"

namespace cxlpool {

// Where a backend delivers completions and observations (HostUp, HostDied, HostUnreachable, and,
// from sim only, HostReport). Called on the thread that owns the manager, never from inside
// start_command().
using Sink = std::function<void(Input)>;

class Backend {
  public:
    virtual ~Backend() = default;

    // Opens what there is to open (locks pool files, connects) and fills in what only it can know:
    // the identity of each device. Once, before anything else.
    virtual Result<Fabric> open() = 0;

    // Tells of the host's latest instance by the journal, not known to be dead: its HostDied comes
    // as soon as it is dead, at once when it is so already. Between open() and run().
    virtual void expect(const HostName& host, const std::string& instance) = 0;

    // Begins to observe; from now on the sink is called.
    virtual void run(Sink sink) = 0;

    // Never blocks; its Completion comes through the sink, once, or never if the process ends.
    virtual void start_command(const Command& command) = 0;
};

}  // namespace cxlpool
