// SPDX-License-Identifier: Apache-2.0
// Invariant 11: at rest desired = observed: what the rack really has is what the durable grants
// say, plugged as their use says; and when all is released nothing is left, not even a byte.
#include <fmt/format.h>

#include <algorithm>

#include "checkers/checkers.h"

namespace cxlpool::fmsim {
namespace {

class DesiredIsObserved : public Checker {
  public:
    explicit DesiredIsObserved(const Truth& truth) : Checker(11, truth) {}

    void settled(const DoctorView*) override {
        for (const GrantView& grant : truth_.manager->grant_views()) {
            if (grant.state != GrantState::active) continue;
            for (const HostName& host : grant.hosts) {
                for (const Extent& extent : grant.extents) look(grant, host, extent);
            }
        }
        no_strangers();
    }

    void emptied() override {
        no_strangers();
        for (const auto& [name, device] : truth_.world.devices()) {
            for (std::size_t block = 0; block < device->blocks(); ++block) {
                if (device->mark(block) == sim::kZeros || truth_.ledger.owner(name, block))
                    continue;
                if (!truth_.who_reaches(name, device->block_range(block)).empty()) continue;
                // What lies beside a foreign extent may wait for it, if it is not called clean.
                const bool clean = truth_.manager->pool().devices.at(name).clean.contains(
                    device->block_range(block));
                if (!clean && foreign_on(name)) continue;
                violated(fmt::format("block {} of {} is free at rest with bytes of #{} in it",
                                     block, name.text, device->mark(block)));
            }
        }
    }

  private:
    void look(const GrantView& grant, const HostName& host, const Extent& extent) {
        const sim::SimHost& real = *truth_.world.hosts().at(host);
        for (const auto& [key, has] : real.extents()) {
            if (key.first->name() != extent.device || key.second != extent.range) continue;
            if (has.state == sim::SimHost::State::plugged && has.use == grant.use) return;
        }
        violated(fmt::format("{} is active, but {} has not plugged {}", grant.name.text, host.text,
                             describe(extent)));
    }

    void no_strangers() {
        for (const auto& [name, device] : truth_.world.devices()) {
            for (std::size_t block = 0; block < device->blocks(); ++block) {
                const Range here = device->block_range(block);
                const LedgerGrant* owner = truth_.ledger.owner(name, block);
                for (const HostName& host : truth_.who_reaches(name, here)) {
                    if (owner != nullptr && owner->hosts.contains(host)) continue;
                    if (truth_.is_foreign(host, name, here)) continue;
                    violated(fmt::format("{} reaches block {} of {}, which no grant gives it",
                                         host.text, block, name.text));
                }
            }
        }
    }

    bool foreign_on(const DeviceName& device) const {
        return std::ranges::any_of(
            truth_.foreign, [&](const auto& claim) { return claim.second.device == device; });
    }
};

}  // namespace

std::unique_ptr<Checker> desired_is_observed(const Truth& truth) {
    return std::make_unique<DesiredIsObserved>(truth);
}

}  // namespace cxlpool::fmsim
