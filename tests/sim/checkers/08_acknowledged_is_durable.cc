// SPDX-License-Identifier: Apache-2.0
// Invariant 8: acknowledged = durable. What a reply said stands in the journal when the reply goes
// out, and after every crash.
#include <fmt/format.h>

#include "checkers/checkers.h"

namespace cxlpool::fmsim {
namespace {

class AcknowledgedIsDurable : public Checker {
  public:
    explicit AcknowledgedIsDurable(const Truth& truth) : Checker(8, truth) {}

    void reply(const Intent& intent, const Reply& reply) override {
        if (!reply.result) return;
        const auto* view = std::get_if<GrantView>(&*reply.result);
        if (view == nullptr) return;
        if (std::holds_alternative<CreateGrant>(intent)) created_.insert(view->id);
        if (std::holds_alternative<ReleaseGrant>(intent)) released_.insert(view->id);
        look();
    }

    void restarted() override { look(); }

  private:
    void look() {
        for (GrantId id : created_) {
            if (!truth_.ledger.find(id))
                violated(fmt::format("grant #{} was acknowledged and is lost", id.value));
        }
        for (GrantId id : released_) {
            const LedgerGrant* grant = truth_.ledger.find(id);
            if (!grant || !grant->released) {
                violated(
                    fmt::format("the release of grant #{} was acknowledged and is lost", id.value));
            }
        }
    }

    std::set<GrantId> created_, released_;
};

}  // namespace

std::unique_ptr<Checker> acknowledged_is_durable(const Truth& truth) {
    return std::make_unique<AcknowledgedIsDurable>(truth);
}

}  // namespace cxlpool::fmsim
