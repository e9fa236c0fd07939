// SPDX-License-Identifier: Apache-2.0
// What the manager believes beside the journal: what devices answered, what hosts reported, what is
// under way. Nothing of it is durable; after a restart all of it is unknown until asked again.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "core/command.h"
#include "core/fabric.h"
#include "core/manager.h"
#include "core/pool.h"

namespace cxlpool {

// A capped, doubling pause between tries of one thing.
struct Backoff {
    Millis next = 0;  // not before
    int tries = 0;

    bool due(Millis now) const { return now >= next; }
    void again(Millis now, const Limits& limits) {
        Millis pause = limits.retry_first_ms;
        for (int i = 0; i < tries && pause < limits.retry_last_ms; ++i) pause *= 2;
        next = now + std::min(pause, limits.retry_last_ms);
        ++tries;
    }
    void reset() { *this = {}; }
};

// "Has anybody else got any of this?", asked of the devices before an offer and before a scrub.
struct Clearance {
    std::map<HostName, Presence> answers;  // the worst presence over the ranges
    std::map<HostName, OpId> asking;       // a later answer of an earlier question does not count
    Millis asked_at = 0;
    Backoff backoff;
    std::string blocked_by;  // a sentence, or empty
};

enum class Doing {
    nothing,
    asking,
    adding,
    releasing,
};

// One grant on one device of one host, as the device says.
struct LegBelief {
    std::vector<Presence> presence;  // one a range of Grant::ranges_on(device); empty = all unknown
    bool recheck = false;  // the host reported a change: ask again though the answer is known
    Doing doing = Doing::nothing;
    OpId awaited;          // of what it is doing: answers of earlier commands do not count
    bool offered = false;  // the device took an offer that the host is not known to have answered
    Backoff ask, act;
    int refusals = 0;
    std::string trouble;             // what the last failed command said
    std::uint64_t report_floor = 0;  // only reports counted after this are newer than the offer
    std::uint64_t return_floor = 0;  // the same for the last release request (maybe_unread())
    Clearance clearance;

    bool all(Presence what) const;
    bool any(Presence what) const;
};

struct HostBelief {
    bool heard = false;  // the backend has said anything about it in this life of fmd
    bool reachable = false;
    std::string unreachable_why;
    Silence silence = Silence::no_answer;      // while not reachable
    std::optional<std::string> next_instance;  // seen, but the last one is not known to be dead yet
    std::set<std::string> died;  // instances known to be dead, the journal not yet told
    std::optional<HostReport> report;
    Millis report_at = 0;
    std::uint64_t reports = 0;  // counted
    std::set<std::string> past_boots;
    bool said_silent = false;
    bool fencing = false;
    Backoff fence;
    // What one machine's mere word may still cost: journal records of bytes taken for dirty, and
    // warnings.
    int soils_left = 64, warnings_left = 256;
};

struct ScrubJob {
    Extent extent;
    Clearance clearance;
    bool running = false;
    std::string spoiled;  // why its result does not count: somebody reached the bytes meanwhile
};

// Ranges of a device that cannot be scrubbed now, and why; tried again when `backoff` is due.
struct BlockedScrubs {
    RangeSet ranges;
    Backoff backoff;
    std::string why;
};

struct InFlight {
    CommandBody body;
    std::optional<GrantId> grant;  // whose leg (with the host and device of the body) it belongs to
    enum class Purpose { leg, clearance_of_leg, clearance_of_scrub, scrub, fence, doctor } purpose;
    HostName leg_host;  // clearance_of_leg: the leg's host (the body names the host asked)
    Millis started = 0;
};

struct DoctorJob {
    Ticket ticket;
    std::map<OpId, AskPresence> waiting;
    std::map<std::pair<HostName, Extent>, Presence> answers;
    Millis started = 0;
};

struct Manager::Impl {
    Fabric fabric;
    Limits limits;
    Pool pool;
    Now now;
    Output out;

    std::map<HostName, HostBelief> hosts;
    std::map<std::pair<GrantId, LegKey>, LegBelief> legs;
    std::map<DeviceName, ScrubJob> scrubs;  // at most one a device at a time
    std::map<DeviceName, BlockedScrubs> blocked;
    // Free, yet some host can reach it by its device's word; until a scrub of it is done.
    std::map<DeviceName, RangeSet> foreign;
    std::map<OpId, InFlight> in_flight;
    std::vector<DoctorJob> doctors;
    std::map<GrantId, std::vector<TimedRecord>> marks;  // undurable dates for timelines
    std::map<GrantId, Millis> waiting_since;  // offer or release asked, on the monotone clock
    std::vector<std::pair<Seq, GrantId>> undurable;  // created, journal not yet synced
    std::map<GrantName, GrantView> gone;             // the latest gone grant of each name, capped
    std::map<HostName, Desired> desired;
    std::set<std::string> said;  // warnings already given (one each)
    std::uint64_t last_op = 0;
    std::uint64_t revision = 0;

    // -- observations.cc: what devices and hosts say
    void complete(const Completion& completion);
    void host_up(const HostUp& up);
    void host_died(const HostDied& died);
    void host_unreachable(const HostUnreachable& lost);
    void host_reset(const HostReset& reset);
    void host_report(const HostReport& report);
    void boot_ended(HostBelief& host);
    Result<void> judge(const HostReport& report) const;
    void warn_of_foreign(const HostReport& report);
    void date_report(const HostName& host);

    // -- intents.cc: what users ask
    void submit(const Submit& submit);
    Result<GrantView> create(const CreateGrant& intent, Plan* plan);
    Result<GrantView> release(const ReleaseGrant& intent, Plan* plan);
    Result<HostView> fence(const FenceHost& intent, Plan* plan);
    Result<std::vector<Extent>> judge_create(const CreateGrant& intent) const;

    // -- reconcile.cc: desired against believed, until nothing can be done now
    void reconcile();
    void drive_hosts();
    void drive_grant(const Grant& grant);
    void drive_offer(const Grant& grant, const LegKey& key);
    void drive_return(const Grant& grant, const LegKey& key);
    void ask_leg(const Grant& grant, const LegKey& key);
    bool ask_if_unsure(const Grant& grant, const LegKey& key);
    void offer_leg(const Grant& grant, const LegKey& key);
    void leg_answered(const InFlight& op, const Completion& completion);
    void leg_refused(const Grant& grant, const LegKey& key, std::string why);
    void expire_commands();
    bool needs_scrub(const Grant& grant, const LegKey& key) const;
    bool lane_open(const Grant& grant, const LegKey& key) const;
    bool maybe_unread(const Grant& grant, const LegKey& key) const;
    bool plugged(const Grant& grant, const LegKey& key) const;
    bool unplugged(const Grant& grant, const LegKey& key) const;
    void refresh_desired();

    // -- scrub.cc
    void drive_scrubs();
    void scrub_answered(const InFlight& op, const Completion& completion);
    void clearance_answered(Clearance& clearance, const InFlight& op, const Completion& completion);
    enum class Word { device, host };
    void soil(const HostName& host, const Extent& extent, Word whose);
    void block_scrub(const DeviceName& device, Range range, std::string why);
    std::optional<Extent> next_scrub(const DeviceName& device) const;
    bool drive_clearance(Clearance& clearance, const DeviceName& device,
                         const std::vector<Range>& ranges, const std::set<HostName>& except,
                         InFlight::Purpose purpose, std::optional<GrantId> grant,
                         const HostName& leg_host);

    // -- doctor.cc
    void start_doctor(Ticket ticket);
    void drive_doctors();
    DoctorView examine(const DoctorJob& job) const;

    // -- views.cc
    GrantView view(const Grant& grant) const;
    HostView view_host(const HostName& name) const;
    GrantState state_of(const Grant& grant, std::string& reason, std::string& waits_for) const;
    std::string waits_on_leg(const Grant& grant, const LegKey& key) const;
    bool ready(const HostName& name, std::string* why) const;
    bool ready_on(const LegKey& key, std::string* why) const;
    const ReportedDevice* reported_device(const HostName& host, const DeviceName& device) const;
    std::string down_text(const HostName& name) const;

    // -- manager.cc: shared small parts
    void record(RecordBody body);
    OpId command(CommandBody body, InFlight in_flight);
    void event(std::string kind, const HostName& host, const GrantName& grant, std::string text);
    void warn_once(const std::string& key, const HostName& host, const GrantName& grant,
                   std::string text);
    void mark(GrantId grant, std::string what);
    bool alive(const HostName& name) const;
    const DeviceSpec& device(const DeviceName& name) const { return fabric.devices.at(name); }
    const ReportedExtent* reported(const HostName& host, const Extent& extent) const;
    bool report_is_fresh(const HostName& host) const;
};

}  // namespace cxlpool
