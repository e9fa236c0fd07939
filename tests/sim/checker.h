// SPDX-License-Identifier: Apache-2.0
// A checker watches one invariant of the design (docs/ARCHITECTURE.md) against the rack's truth and
// the durable journal. It is told of everything as it happens; the first violation ends the run.
#pragma once

#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "backend/sim/world.h"
#include "core/command.h"
#include "core/intent.h"
#include "core/manager.h"
#include "ledger.h"

namespace cxlpool::fmsim {

struct Violation {
    int invariant = 0;
    std::string what;
};

// What is really so. The checkers read it; the run owns it.
struct Truth {
    const sim::SimWorld& world;
    const Ledger& ledger;
    const Manager* manager = nullptr;                         // nothing while it is down
    std::vector<std::pair<HostName, Extent>> foreign;         // given by somebody else, on purpose
    std::set<std::pair<HostName, std::string>> fences_asked;  // by an operator
    std::vector<Record> durable;                              // all of them, in order

    bool is_foreign(const HostName& host, const DeviceName& device, Range range) const;
    bool reaches(const HostName& host, const DeviceName& device, Range range) const {
        return world.devices().at(device)->may_reach(host, range);
    }
    // A host that can reach, or may at any moment, some byte of it; foreign claims count.
    std::vector<HostName> who_reaches(const DeviceName& device, Range range) const;
};

class Checker {
  public:
    Checker(int invariant, const Truth& truth) : truth_(truth), invariant_(invariant) {}
    virtual ~Checker() = default;

    virtual void effect(const sim::Effect&) {}         // the rack did something
    virtual void record(const Record&) {}              // has just become durable
    virtual void contradiction(const std::string&) {}  // … and makes no sense to the ledger
    virtual void command(const Command&) {}            // is about to be started
    virtual void heard(const Input&) {}                // is about to be given to the manager
    virtual void repeated(const Input&, const Output&, bool) {}  // what came of hearing it again
    virtual void reply(const Intent&, const Reply&) {}           // is about to be sent
    virtual void crashed() {}
    virtual void restarted() {}  // replayed, not started yet
    virtual void replay_refused(const std::string&) {}
    virtual void settled(const DoctorView*) {}  // faults have stopped long ago
    virtual void emptied() {}                   // … and every grant was released long ago

    int invariant() const { return invariant_; }
    const std::optional<Violation>& violation() const { return violation_; }

  protected:
    void violated(std::string what) {
        if (!violation_) violation_ = Violation{invariant_, std::move(what)};
    }
    const Truth& truth_;

  private:
    int invariant_;
    std::optional<Violation> violation_;
};

// One for each invariant but the 12th, which takes two runs (main.cc).
std::vector<std::unique_ptr<Checker>> all_checkers(const Truth& truth);

}  // namespace cxlpool::fmsim
