// SPDX-License-Identifier: Apache-2.0
// Asking tiered processes: who is there, and what do they say. A name in the abstract namespace
// belongs to whoever takes it first, so every peer is checked to be the process it is called after,
// and to be still what it was when it took the name; what it says is nevertheless only its own
// word. On the pages of another process only root's counts.
#pragma once

#include <sys/types.h>

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "tier/control_json.h"
#include "tier/descriptor.h"

namespace libpool::tier {

inline constexpr double default_deadline_s = 3;
inline constexpr double pages_deadline_s = 20;  // the kernel is asked of every page
inline constexpr size_t process_limit = 4096;
inline constexpr size_t name_limit = 4096;  // of one process, most of them somebody else's

// The pids in names of sockets @pooltier/<pid> or @pooltier/<pid>.<more> that are listened on,
// rising, of the content of /proc/net/unix. Anybody can take such names, also of what is no
// process, so there is no limit here that they could use up.
std::vector<pid_t> parse_control_sockets(std::string_view proc_net_unix);
// The names of one of them without the leading @, the usual one first; at most name_limit.
std::vector<std::string> parse_control_names(std::string_view proc_net_unix, pid_t pid);
// Those that there are, rising; at most process_limit.
Result<std::vector<pid_t>> tiered_processes();
// An order to ask them in, for who has one deadline for all: one of each user after the other, so
// that a user with thousands of silent ones delays mostly own ones.
std::vector<pid_t> by_turns(std::vector<pid_t> pids);

// The kernel's word on a process, for sentences and for choosing tenants.
struct ProcessFacts {
    bool exists = false;
    std::string program;  // comm
    uid_t uid = 0;
};
ProcessFacts process_facts(pid_t pid);

// Who tiers a process from outside, by the word of root's processes.
std::optional<pid_t> attacher_of(pid_t pid);

// Who answers for a process: itself, or who has attached to it. It is asked for its status once, so
// an answer that is none is told at once and silence costs one deadline. Errors as ask().
Result<pid_t> speaker_of(pid_t pid);

// One request, one line. Errors: ESRCH no such process; ENOENT it is not tiered; EACCES; EPERM the
// name is another's, or was taken by the process that this one was before; ETIMEDOUT; EPROTO; each
// a sentence that names the pid.
Result<std::string> ask(pid_t pid, const Request& request, double deadline_s = default_deadline_s);

// In this answer and the next, who is not root speaks for itself, whichever target it names.
Result<Snapshot> ask_status(pid_t pid, double deadline_s = default_deadline_s);
Result<PageAnswer> ask_explain(pid_t pid, uint64_t address, double deadline_s = default_deadline_s);
Result<PageSlice> ask_pages(pid_t pid, const AskPages& wish, double deadline_s = pages_deadline_s);
Result<std::vector<BenefitStep>> ask_benefit(pid_t pid, double deadline_s = default_deadline_s);

// Which page of a process is which number, as its answers call it.
class PageNumbers {
  public:
    explicit PageNumbers(std::vector<PageRange> ranges);
    std::optional<uint64_t> of(uint64_t address) const;  // nothing: not tracked

  private:
    std::vector<PageRange> ranges_;  // by start
};

// Numbers of pages are of 32 bits: 16 TiB. A limit on what is said, not on memory: of an answer
// only the pages that were asked for are kept.
inline constexpr uint64_t tracked_limit_pages = uint64_t{1} << 32;

// What a process believes of these pages, touches/s in their order; 0: not tracked. Slices without
// any of them are not asked for: after the first question there is at most one for each address. An
// answer that changes while it is read (a range that goes) leaves pages without a rate. One
// deadline for all questions; `go_on` is asked before each. Errors as ask(), and ECANCELED; EFBIG.
Result<std::vector<float>> ask_rates(pid_t pid, std::span<const uint64_t> addresses,
                                     const std::function<bool()>& go_on,
                                     double deadline_s = pages_deadline_s);

// A copy of the userfaultfd of a process that waits to be tiered from outside. ENOTSUP: it tiers
// itself.
Result<Descriptor> ask_descriptor(pid_t pid, double deadline_s = default_deadline_s);
Result<void> ask_set(pid_t pid, const Limits& limits, double deadline_s = default_deadline_s);

}  // namespace libpool::tier
