// SPDX-License-Identifier: Apache-2.0
// Invariant 10: once faults have stopped, every intent settles or fails with a reason.
#include <fmt/format.h>

#include "checkers/checkers.h"
#include "core/describe.h"

namespace cxlpool::fmsim {
namespace {

class EverythingSettles : public Checker {
  public:
    explicit EverythingSettles(const Truth& truth) : Checker(10, truth) {}

    void settled(const DoctorView* doctor) override {
        if (doctor == nullptr) violated("a doctor's scan of a healthy rack got no reply");
        for (const GrantView& grant : truth_.manager->grant_views()) {
            if (grant.state == GrantState::active) continue;
            if (grant.state == GrantState::failed && !grant.reason.empty()) continue;
            if (!grant.waits_for.empty() && beside_foreign(grant)) continue;
            violated(fmt::format("{} is {} on a healthy rack; it waits for \"{}\", reason \"{}\"",
                                 grant.name.text, name_of(grant.state), grant.waits_for,
                                 grant.reason));
        }
    }

    void emptied() override {
        for (const GrantView& grant : truth_.manager->grant_views()) {
            if (grant.state == GrantState::gone || beside_foreign(grant)) continue;
            violated(fmt::format("{} was released long ago and is {}; it waits for \"{}\"",
                                 grant.name.text, name_of(grant.state), grant.waits_for));
        }
    }

  private:
    // Somebody else's extent under a grant's blocks keeps it waiting for ever, and rightly.
    bool beside_foreign(const GrantView& grant) const {
        for (const auto& [host, claim] : truth_.foreign) {
            for (const Extent& extent : grant.extents) {
                if (extent.device == claim.device && extent.range.overlaps(claim.range) &&
                    truth_.reaches(host, claim.device, claim.range)) {
                    return true;
                }
            }
        }
        return false;
    }
};

}  // namespace

std::unique_ptr<Checker> everything_settles(const Truth& truth) {
    return std::make_unique<EverythingSettles>(truth);
}

}  // namespace cxlpool::fmsim
