// SPDX-License-Identifier: Apache-2.0
// A pooled memory device as the fabric sees it: one DC region, a port for each attached host, and
// the memory itself. It knows nothing of grants. It does to extents what QEMU's model does (FACTS,
// section 3): an event log of 8 records, groups answered whole and strictly in order, an offer that
// cannot be withdrawn, acceptance that survives a guest reboot and is forgotten with the machine.
//
// Memory is kept as one mark a DC block: whose bytes stand there. That is all a leak needs to be
// seen.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/command.h"
#include "core/extents.h"
#include "core/fabric.h"
#include "core/ids.h"

namespace cxlpool::sim {

// Whose bytes a DC block holds.
using Mark = std::uint64_t;
inline constexpr Mark kZeros = 0;
inline constexpr Mark kOldBytes = ~Mark{0};  // of a life before this simulation

struct LogRecord {
    enum class Kind { add, release } kind = Kind::add;
    Range range;
    bool more = false;  // the group goes on with the next record
};

class SimDevice {
  public:
    static constexpr std::size_t kLogRecords = 8;

    SimDevice(DeviceName name, DeviceSpec spec);

    const DeviceName& name() const { return name_; }
    const DeviceSpec& spec() const { return spec_; }

    // ---- the fabric manager's side
    // ----------------------------------------------------------------- Offers a group. Nothing
    // happens unless all of it can be offered; a group that is there already (pending or accepted,
    // whole) is found done. Records beyond the log's 8 are lost, as in QEMU.
    Result<void> add(const HostName& host, const std::vector<Range>& group);
    // Asks for accepted extents back; done when there is nothing to ask for.
    Result<void> release(const HostName& host, const std::vector<Range>& ranges);
    Presence presence(const HostName& host, Range range) const;
    void erase(Range range);

    // ---- the host's side ----
    std::deque<LogRecord>& log(const HostName& host) { return ports_[host].log; }
    // The whole first group of the log, or nothing when it is cut off or not there.
    std::vector<Range> next_group(const HostName& host) const;
    // Answers the first pending group: all of it, or (rejects) nothing of it. False: not the group
    // whose turn it is (return code 15).
    bool answer(const HostName& host, const std::vector<Range>& group, bool accept);
    // 0x4803; false when not all of it is accepted.
    bool give_back(const HostName& host, Range range);
    const std::vector<Range>& accepted(const HostName& host) const;
    // Stores to blocks that the host cannot reach vanish.
    void write(const HostName& host, Range range, Mark mark);

    void forget(const HostName& host) { ports_.erase(host); }  // the machine is gone
    std::uint64_t lost_records() const { return lost_records_; }

    // ---- truth for checkers ----
    std::size_t blocks() const { return memory_.size(); }
    Mark mark(std::size_t block) const { return memory_[block]; }
    void fill(Mark mark) { memory_.assign(memory_.size(), mark); }
    Range block_range(std::size_t block) const { return {block * spec_.block, spec_.block}; }
    // Pending or accepted: it can, or may at any moment, reach the block.
    bool may_reach(const HostName& host, Range range) const {
        return presence(host, range) != Presence::none;
    }

  private:
    struct Port {
        std::deque<LogRecord> log;
        std::deque<std::vector<Range>> pending;  // groups not answered yet, oldest first
        std::vector<Range> accepted;             // extents as they were offered, by DPA
    };

    Result<void> check(const HostName& host, const std::vector<Range>& group) const;
    bool is_pending(const Port& port, Range range) const;
    bool is_accepted(const Port& port, Range range) const;
    void put(Port& port, LogRecord record);

    DeviceName name_;
    DeviceSpec spec_;
    std::map<HostName, Port> ports_;
    std::vector<Mark> memory_;
    std::uint64_t lost_records_ = 0;
};

}  // namespace cxlpool::sim
