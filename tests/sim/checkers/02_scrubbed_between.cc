// SPDX-License-Identifier: Apache-2.0
// Invariant 2: a block is scrubbed between two owners, and between two machines of one host: when
// nobody else of its grant has it, what is offered holds zeros; what is accepted holds the grant's
// own bytes at most.
#include <fmt/format.h>

#include <tuple>

#include "checkers/checkers.h"

namespace cxlpool::fmsim {
namespace {

class ScrubbedBetween : public Checker {
  public:
    explicit ScrubbedBetween(const Truth& truth) : Checker(2, truth) {}

    void effect(const sim::Effect& effect) override {
        if (effect.kind == sim::Effect::Kind::host_died) {
            std::erase_if(had_,
                          [&](const auto& claim) { return std::get<0>(claim) == effect.host; });
        }
        const bool accepted = effect.kind == sim::Effect::Kind::accepted;
        if (!accepted && effect.kind != sim::Effect::Kind::offered) return;
        if (truth_.is_foreign(effect.host, effect.device, effect.range)) return;
        const sim::SimDevice& device = *truth_.world.devices().at(effect.device);
        for (std::size_t block : truth_.ledger.block_numbers(effect.device, effect.range)) {
            const LedgerGrant* owner = truth_.ledger.owner(effect.device, block);
            const sim::Mark mark = device.mark(block);
            if (mark != sim::kZeros && !its_own(effect.host, effect.device, block, mark, owner)) {
                violated(fmt::format("{} is given block {} of {} with the bytes of {} in it",
                                     effect.host.text, block, effect.device.text,
                                     mark == sim::kOldBytes ? std::string("an earlier run")
                                                            : fmt::format("grant #{}", mark)));
            }
            if (accepted && owner != nullptr)
                had_.insert({effect.host, owner->id, effect.device, block});
        }
    }

  private:
    // Sharers see each other's bytes; a machine that gave the extent back unasked may get it again
    // as it was; a new machine may not.
    bool its_own(const HostName& host, const DeviceName& device, std::size_t block, sim::Mark mark,
                 const LedgerGrant* owner) const {
        if (owner == nullptr || mark != owner->id.value) return false;
        return owner->hosts.size() > 1 || had_.contains({host, owner->id, device, block});
    }

    std::set<std::tuple<HostName, GrantId, DeviceName, std::size_t>> had_;
};

}  // namespace

std::unique_ptr<Checker> scrubbed_between(const Truth& truth) {
    return std::make_unique<ScrubbedBetween>(truth);
}

}  // namespace cxlpool::fmsim
