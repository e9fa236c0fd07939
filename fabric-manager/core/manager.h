// SPDX-License-Identifier: Apache-2.0
// The manager: the whole decision-making of fmd as a state machine that does no IO, has no clock,
// no thread, no randomness. One thread owns it. step(input, now) → Output. The caller must
//   1. make the records durable, in order;
//   2. only then start the commands, send the replies and publish the events of the same Output
//      (and of later ones: an Output waits for all records before it);
//   3. feed back every completion and observation, in any order, perhaps twice, perhaps never;
//   4. step a Tick at least every 100 ms.
// Same records replayed + same inputs = same outputs, byte for byte.
// Restart has one path: replay(every record) → start(now) → step(…); nothing is believed about any
// device until the device has been asked.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "core/command.h"
#include "core/fabric.h"
#include "core/intent.h"
#include "core/pool.h"
#include "core/record.h"
#include "core/view.h"

namespace cxlpool {

// A submitted intent. Its reply comes with the Output of the same step or (DoctorScan) of a later
// one.
struct Submit {
    Ticket ticket;
    Intent intent;
};

struct Tick {};

// Every record up to and including `seq` is durable. Decides nothing; dates the journal in
// timelines.
struct Durable {
    Seq seq;
};

using Input = std::variant<Submit, Completion, HostUp, HostDied, HostUnreachable, HostReset,
                           HostReport, Tick, Durable>;

// mono_ms only rises within one life of fmd and decides time-outs; wall_us is written into records.
struct Now {
    Millis mono_ms = 0;
    std::int64_t wall_us = 0;
};

struct Reply {
    Ticket ticket;
    Result<ReplyBody> result;
};

// Something that happened and is not a record: a warning, a host that came or went silent.
struct Event {
    std::int64_t time_us = 0;
    std::string kind;   // "warning", "host", "foreign"
    std::string host;   // or empty
    std::string grant;  // or empty
    std::string text;   // one sentence
};

struct Output {
    std::vector<Record> records;
    std::vector<Command> commands;
    std::vector<Reply> replies;
    std::vector<Event> events;
};

class Manager {
  public:
    Manager(Fabric fabric, Limits limits);
    ~Manager();
    Manager(Manager&&) noexcept;
    Manager& operator=(Manager&&) noexcept;

    // Before start() only. Refuses a record that contradicts what came before it.
    Result<void> replay(const Record& record);

    // Checks the fabric against the journal (a device of another size, serial or identity: refused)
    // and adopts what is new.
    Result<Output> start(Now now);

    Output step(const Input& input, Now now);

    // Whether a report is of the current boot and newer than the last one (else 409 with the
    // sentence). step() ignores a report that this refuses.
    Result<void> judge(const HostReport& report) const;

    // The desired list of one host (contract of the host protocol): what it must have plugged or
    // unplugged. `rev` changes whenever the list does.
    Desired desired(const HostName& host) const;

    // Views for people and programs; reading changes nothing.
    const Pool& pool() const;
    FabricView fabric_view() const;
    std::vector<HostView> host_views() const;
    Result<HostView> host_view(const HostName& name) const;
    std::vector<GrantView> grant_views() const;
    Result<GrantView> grant_view(
        const GrantName& name) const;  // also the latest gone one of that name
    // Bumped by every step that changed anything a view shows: what long-polls watch.
    std::uint64_t revision() const;

  private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace cxlpool
