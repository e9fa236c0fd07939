// SPDX-License-Identifier: Apache-2.0
// One run of the simulator: a manager, its journal, a rack, a workload, faults; first a safety
// phase with faults, then a liveness phase without. The run is the manager's caller and keeps its
// contract (core/manager.h) to the letter, crashes included; everything it does comes from the
// seed.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "checker.h"
#include "plant.h"
#include "store/memory_store.h"
#include "swarm.h"

namespace cxlpool::fmsim {

struct Verdict {
    std::optional<Violation> violation;
    std::uint64_t trace_hash = 0;
    std::uint64_t steps = 0, crashes = 0, grants = 0;
    std::vector<std::string> last_events;
    std::string story;  // what the seed drew
};

class Run {
  public:
    Run(std::uint64_t seed, Plant plant, bool print_trace);
    Verdict go();

  private:
    struct Pending {  // an Output that waits for its records
        Output output;
        Seq upto;
    };

    void phase(Millis until, bool faults);
    void turn(Millis until, bool faults);  // one event or tick
    void submit(Intent intent);
    void hear(const Input& input);
    void feed(const Input& input);
    void absorb(Output output);
    void sync();
    void effects(Output& output);
    void start_command(Command command);
    void send(const Reply& reply);
    void made_durable(const std::vector<Record>& records);
    bool maybe_crash();
    void crash();
    void restart();
    void settle();
    void add_foreign();
    void tell(const std::string& line);
    template <class Tell>
    void check(Tell tell_checker);
    Now now() const;
    bool over() const { return verdict_.violation.has_value(); }

    std::uint64_t seed_;
    Plant plant_;
    bool print_trace_;
    Swarm swarm_;
    sim::Random random_;
    sim::SimWorld world_;
    Ledger ledger_;
    Truth truth_;
    std::vector<std::unique_ptr<Checker>> checkers_;
    MemoryStore store_{MemoryStore::Durable::at_sync};
    std::optional<Manager> manager_;
    std::deque<Pending> pending_;
    std::vector<Record> unsynced_;
    std::deque<Input> inbox_;  // Durable(seq), to be heard after the step in hand
    Millis sync_at_ = 0, restart_at_ = 0, next_intent_ = 0, next_chaos_ = 0, next_tick_ = 0;
    bool faults_on_ = true;
    std::uint64_t last_ticket_ = 0;
    std::map<Ticket, Intent> asked_;
    std::set<OpId> completed_, outstanding_;  // of this life
    std::map<HostName, std::pair<std::string, std::uint64_t>> newest_report_;
    std::optional<DoctorView> doctor_;
    std::deque<std::string> last_;
    Verdict verdict_;
};

}  // namespace cxlpool::fmsim
