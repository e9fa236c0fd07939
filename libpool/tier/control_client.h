// SPDX-License-Identifier: Apache-2.0
// Asking tiered processes: who is there, and what do they say. A name in the abstract namespace
// belongs to whoever takes it first, so every peer is checked to be the process it is called after;
// what it says is nevertheless only its own word.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "tier/control_json.h"
#include "tier/descriptor.h"

namespace libpool::tier {

inline constexpr double default_deadline_s = 3;
inline constexpr double pages_deadline_s = 20;  // the kernel is asked of every page
inline constexpr size_t process_limit = 4096;

// The pids in names of sockets @pooltier/<pid> or @pooltier/<pid>.<more> that are listened on,
// rising, of the content of /proc/net/unix.
std::vector<pid_t> parse_control_sockets(std::string_view proc_net_unix);
// The names of one of them without the leading @, the usual one first.
std::vector<std::string> parse_control_names(std::string_view proc_net_unix, pid_t pid);
Result<std::vector<pid_t>> tiered_processes();

// The kernel's word on a process, for sentences and for choosing tenants.
struct ProcessFacts {
    bool exists = false;
    std::string program;  // comm
    uid_t uid = 0;
};
ProcessFacts process_facts(pid_t pid);

// Who answers for a process: itself, or who has attached to it. It is asked for its status once, so
// an answer that is none is told at once and silence costs one deadline. Errors as ask().
Result<pid_t> speaker_of(pid_t pid);

// One request, one line. Errors: ESRCH no such process; ENOENT it is not tiered; EACCES; EPERM the
// name is another's; ETIMEDOUT; EPROTO; each a sentence that names the pid.
Result<std::string> ask(pid_t pid, const Request& request, double deadline_s = default_deadline_s);

Result<Snapshot> ask_status(pid_t pid, double deadline_s = default_deadline_s);
Result<PageAnswer> ask_explain(pid_t pid, uint64_t address, double deadline_s = default_deadline_s);
Result<PageSlice> ask_pages(pid_t pid, const AskPages& wish, double deadline_s = pages_deadline_s);
Result<std::vector<BenefitStep>> ask_benefit(pid_t pid, double deadline_s = default_deadline_s);
// What a process believes of its pages, by address: rates of tracked ranges. An answer that changes
// while it is read (a range that goes) leaves pages without a rate.
class RatesByAddress {
  public:
    RatesByAddress(std::vector<PageRange> ranges, std::vector<float> rates);
    float of(uint64_t address) const;  // touches/s; 0: not tracked

  private:
    std::vector<PageRange> ranges_;  // by start
    std::vector<float> rates_;       // by number
};
Result<RatesByAddress> ask_rates(pid_t pid);

// A copy of the userfaultfd of a process that waits to be tiered from outside. ENOTSUP: it tiers
// itself.
Result<Descriptor> ask_descriptor(pid_t pid, double deadline_s = default_deadline_s);
Result<void> ask_set(pid_t pid, const Limits& limits, double deadline_s = default_deadline_s);

}  // namespace libpool::tier
