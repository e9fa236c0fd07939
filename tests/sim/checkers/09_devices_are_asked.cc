// SPDX-License-Identifier: Apache-2.0
// Invariant 9: force only after a fence that an operator asked for; and nothing a host *says*
// frees, scrubs or moves an extent. Before a scrub and before an offer the devices were asked, in
// this life of the manager, about every host that may have held the block since it was last erased,
// and said "none" (the erasure before had asked about all earlier ones); and they said the truth.
#include <fmt/format.h>

#include <map>
#include <tuple>

#include "checkers/checkers.h"
#include "core/describe.h"

namespace cxlpool::fmsim {
namespace {

class DevicesAreAsked : public Checker {
  public:
    explicit DevicesAreAsked(const Truth& truth) : Checker(9, truth) {}

    void crashed() override {
        said_.clear();
        asked_.clear();
    }

    void heard(const Input& input) override {
        if (const auto* done = std::get_if<Completion>(&input)) answered(*done);
    }

    void command(const Command& command) override {
        if (const auto* ask = std::get_if<AskPresence>(&command.body)) {
            asked_[command.op] = *ask;
        } else if (const auto* add = std::get_if<AddCapacity>(&command.body)) {
            for (const Range& range : add->extents) {
                cleared(command, add->device, range, &add->host);
                forget(add->host, add->device, range, command.op);
            }
        } else if (const auto* scrub = std::get_if<Scrub>(&command.body)) {
            cleared(command, scrub->extent.device, scrub->extent.range, nullptr);
        } else if (const auto* fence = std::get_if<Fence>(&command.body)) {
            if (!truth_.fences_asked.contains({fence->host, fence->instance})) {
                violated(fmt::format("nobody asked for: {}", describe(command)));
            }
        }
    }

    void effect(const sim::Effect& effect) override {
        const bool scrub = effect.kind == sim::Effect::Kind::scrub_begun ||
                           effect.kind == sim::Effect::Kind::scrubbed;
        if (!scrub) return;
        for (const HostName& host : truth_.who_reaches(effect.device, effect.range)) {
            violated(fmt::format("{} is erased while {} reaches it",
                                 describe(Extent{effect.device, effect.range}), host.text));
        }
    }

    void record(const Record& record) override {
        if (const auto* back = std::get_if<Returned>(&record.body)) {
            const LedgerGrant* grant = truth_.ledger.find(back->id);
            if (grant == nullptr) return;
            for (const Extent& extent : grant->extents) {
                if (extent.device == back->device &&
                    truth_.reaches(back->host, extent.device, extent.range)) {
                    violated(fmt::format("{} is said to be returned by {}, which still reaches it",
                                         describe(extent), back->host.text));
                }
            }
        }
        if (const auto* dead = std::get_if<HostDead>(&record.body)) {
            const sim::SimHost& host = *truth_.world.hosts().at(dead->host);
            if (host.powered() && host.instance() == dead->instance) {
                violated(fmt::format("{} is said to be dead and is alive", dead->instance));
            }
        }
    }

  private:
    using Key = std::tuple<HostName, DeviceName, std::size_t>;

    void answered(const Completion& done) {
        const auto found = asked_.find(done.op);
        if (found == asked_.end()) return;
        const AskPresence& ask = found->second;
        const auto* answer =
            done.result ? std::get_if<std::vector<Presence>>(&*done.result) : nullptr;
        for (std::size_t i = 0; i < ask.ranges.size(); ++i) {
            for (std::size_t block : truth_.ledger.block_numbers(ask.device, ask.ranges[i])) {
                Said& said = said_[{ask.host, ask.device, block}];
                if (done.op < said.by) continue;  // a late answer to an older question
                said.by = done.op;
                said.none =
                    answer != nullptr && i < answer->size() && (*answer)[i] == Presence::none;
            }
        }
        asked_.erase(found);
    }

    void forget(const HostName& host, const DeviceName& device, Range range, OpId by) {
        for (std::size_t block : truth_.ledger.block_numbers(device, range)) {
            said_[{host, device, block}] = {by, false};
        }
    }

    void cleared(const Command& command, const DeviceName& device, Range range,
                 const HostName* offered_to) {
        for (std::size_t block : truth_.ledger.block_numbers(device, range)) {
            const LedgerGrant* owner = truth_.ledger.owner(device, block);
            for (const auto& [name, host] : truth_.world.hosts()) {
                if (!truth_.ledger.held_since_scrub(name, device, block)) continue;
                if (offered_to && owner && owner->hosts.contains(name)) continue;
                const auto said = said_.find({name, device, block});
                if (said != said_.end() && said->second.none) continue;
                violated(fmt::format("{}: {} held block {} and was not asked about it",
                                     describe(command), name.text, block));
            }
        }
    }

    // The latest question with an answer, and whether it was "none".
    struct Said {
        OpId by;
        bool none = false;
    };
    std::map<Key, Said> said_;
    std::map<OpId, AskPresence> asked_;
};

}  // namespace

std::unique_ptr<Checker> devices_are_asked(const Truth& truth) {
    return std::make_unique<DevicesAreAsked>(truth);
}

}  // namespace cxlpool::fmsim
