// SPDX-License-Identifier: Apache-2.0
// Invariant 3: every extent seen on the fabric belongs to a grant, or is reported as foreign and
// never touched silently.
#include <fmt/format.h>

#include "checkers/checkers.h"
#include "core/describe.h"

namespace cxlpool::fmsim {
namespace {

class NothingForeign : public Checker {
  public:
    explicit NothingForeign(const Truth& truth) : Checker(3, truth) {}

    void effect(const sim::Effect& effect) override {
        if (effect.kind == sim::Effect::Kind::offered)
            look(effect.host, effect.device, effect.range);
    }

    void record(const Record& record) override {
        // What a grant owned must be free of hosts when the grant is gone.
        const auto* gone = std::get_if<GrantGone>(&record.body);
        if (gone == nullptr) return;
        const LedgerGrant* grant = truth_.ledger.find(gone->id);
        if (grant == nullptr) return;
        for (const Extent& extent : grant->extents) {
            for (const HostName& host : truth_.who_reaches(extent.device, extent.range)) {
                if (truth_.is_foreign(host, extent.device, extent.range)) continue;
                violated(fmt::format("{} is gone, yet {} reaches {}", grant->name.text, host.text,
                                     describe(extent)));
            }
        }
    }

    void command(const Command& command) override {
        const auto touches = [&](const DeviceName& device, const std::vector<Range>& ranges) {
            for (const auto& [host, claim] : truth_.foreign) {
                for (const Range& range : ranges) {
                    if (claim.device != device || !claim.range.overlaps(range)) continue;
                    if (!truth_.reaches(host, device, claim.range)) continue;
                    violated(fmt::format("{} touches {}, which {} has from somebody else",
                                         describe(command), describe(claim), host.text));
                }
            }
        };
        if (const auto* add = std::get_if<AddCapacity>(&command.body))
            touches(add->device, add->extents);
        if (const auto* back = std::get_if<ReleaseCapacity>(&command.body)) {
            touches(back->device, back->extents);
        }
    }

    void settled(const DoctorView* doctor) override {
        for (const auto& [host, claim] : truth_.foreign) {
            if (!truth_.reaches(host, claim.device, claim.range)) continue;
            bool said = false;
            if (doctor != nullptr) {
                for (const DoctorRow& row : doctor->rows) {
                    said = said || (!row.ok && row.extent.device == claim.device &&
                                    row.extent.range.overlaps(claim.range));
                }
            }
            if (!said)
                violated(fmt::format("doctor does not mention {} of {}, which is foreign",
                                     describe(claim), host.text));
        }
    }

  private:
    void look(const HostName& host, const DeviceName& device, Range range) {
        for (std::size_t block : truth_.ledger.block_numbers(device, range)) {
            const LedgerGrant* owner = truth_.ledger.owner(device, block);
            if (owner != nullptr && owner->hosts.contains(host)) continue;
            violated(
                fmt::format("block {} of {} is offered to {}, though no durable grant gives it",
                            block, device.text, host.text));
        }
    }
};

}  // namespace

std::unique_ptr<Checker> nothing_foreign(const Truth& truth) {
    return std::make_unique<NothingForeign>(truth);
}

}  // namespace cxlpool::fmsim
