// SPDX-License-Identifier: Apache-2.0
// Invariant 1: no block is usable by two hosts unless its grant says shared. "Usable" counts from
// the offer: a pending extent may be accepted at any moment.
#include <fmt/format.h>

#include "checkers/checkers.h"

namespace cxlpool::fmsim {
namespace {

class OneOwner : public Checker {
  public:
    explicit OneOwner(const Truth& truth) : Checker(1, truth) {}

    void effect(const sim::Effect& effect) override {
        if (effect.kind == sim::Effect::Kind::offered ||
            effect.kind == sim::Effect::Kind::accepted) {
            look(effect.device, effect.range);
        }
    }

  private:
    void look(const DeviceName& device, Range range) {
        for (std::size_t block : truth_.ledger.block_numbers(device, range)) {
            const Range here = truth_.world.devices().at(device)->block_range(block);
            const auto who = truth_.who_reaches(device, here);
            if (who.size() < 2) continue;
            const LedgerGrant* owner = truth_.ledger.owner(device, block);
            for (const HostName& host : who) {
                if (owner != nullptr && owner->hosts.contains(host)) continue;
                violated(
                    fmt::format("{} is usable by {} hosts, {} among them, which {} does not name",
                                cxlpool::describe(Extent{device, here}), who.size(), host.text,
                                owner ? owner->name.text : "no grant"));
            }
        }
    }
};

}  // namespace

std::unique_ptr<Checker> one_owner(const Truth& truth) { return std::make_unique<OneOwner>(truth); }

}  // namespace cxlpool::fmsim
