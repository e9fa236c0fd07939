// SPDX-License-Identifier: Apache-2.0
// Invariant 5: no command without its durable record.
#include <fmt/format.h>

#include "checkers/checkers.h"
#include "core/describe.h"

namespace cxlpool::fmsim {
namespace {

class JournalFirst : public Checker {
  public:
    explicit JournalFirst(const Truth& truth) : Checker(5, truth) {}

    void command(const Command& command) override {
        bool covered = true;
        if (const auto* add = std::get_if<AddCapacity>(&command.body)) {
            covered = covers(add->host, add->device, add->extents, false);
        } else if (const auto* back = std::get_if<ReleaseCapacity>(&command.body)) {
            covered = covers(back->host, back->device, back->extents, true);
        } else if (const auto* scrub = std::get_if<Scrub>(&command.body)) {
            covered = truth_.ledger.scrub_begun(scrub->extent);
        } else if (const auto* fence = std::get_if<Fence>(&command.body)) {
            covered = truth_.ledger.fence_begun(fence->host, fence->instance);
        }
        if (!covered)
            violated(fmt::format("no durable record stands behind: {}", describe(command)));
    }

  private:
    bool covers(const HostName& host, const DeviceName& device, const std::vector<Range>& ranges,
                bool back) const {
        for (const Range& range : ranges) {
            for (std::size_t block : truth_.ledger.block_numbers(device, range)) {
                const LedgerGrant* owner = truth_.ledger.owner(device, block);
                if (owner == nullptr) return false;
                const auto& legs = back ? owner->returning : owner->offered;
                if (!legs.contains({host, device})) return false;
            }
        }
        return true;
    }
};

}  // namespace

std::unique_ptr<Checker> journal_first(const Truth& truth) {
    return std::make_unique<JournalFirst>(truth);
}

}  // namespace cxlpool::fmsim
