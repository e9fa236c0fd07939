// SPDX-License-Identifier: Apache-2.0
// Invariant 6: replaying any durable prefix converges. Every restart must replay to exactly what
// the twin made of the same records; and a random prefix must replay and start, too (that it then
// settles is what the liveness phase shows after each crash).
#include <fmt/format.h>

#include "backend/sim/random.h"
#include "checkers/checkers.h"

namespace cxlpool::fmsim {
namespace {

class ReplayConverges : public Checker {
  public:
    explicit ReplayConverges(const Truth& truth) : Checker(6, truth) {}

    void replay_refused(const std::string& why) override { violated(why); }

    void restarted() override {
        compare(truth_.manager->pool());
        prefix(random_.below(truth_.durable.size() + 1));
    }

    void settled(const DoctorView*) override {
        Manager twin(truth_.world.fabric(), {});
        for (const Record& record : truth_.durable) {
            if (auto ok = twin.replay(record); !ok) return violated(ok.error().message);
        }
        if (!(twin.pool() == truth_.manager->pool())) {
            violated("the running manager's pool is not what its journal replays to");
        }
    }

  private:
    void compare(const Pool& pool) {
        std::size_t live = 0;
        for (const auto& [id, grant] : truth_.ledger.grants()) {
            if (grant.gone) continue;
            ++live;
            const auto found = pool.grants.find(id);
            if (found == pool.grants.end()) {
                return violated(fmt::format("after the replay {} is missing", grant.name.text));
            }
            const Grant& other = found->second;
            if (other.name != grant.name || other.extents != grant.extents ||
                other.released != grant.released || other.failure != grant.failure) {
                return violated(fmt::format("after the replay {} is another one", grant.name.text));
            }
        }
        if (live != pool.grants.size()) {
            violated(fmt::format("the replay made {} grants of {}", pool.grants.size(), live));
        }
    }

    void prefix(std::size_t length) {
        Manager twin(truth_.world.fabric(), {});
        for (std::size_t i = 0; i < length; ++i) {
            if (auto ok = twin.replay(truth_.durable[i]); !ok) {
                return violated(fmt::format("prefix {}: {}", length, ok.error().message));
            }
        }
        if (auto ok = twin.start({0, 0}); !ok) {
            violated(fmt::format("prefix {} does not start: {}", length, ok.error().message));
        }
    }

    sim::Random random_{42};
};

}  // namespace

std::unique_ptr<Checker> replay_converges(const Truth& truth) {
    return std::make_unique<ReplayConverges>(truth);
}

}  // namespace cxlpool::fmsim
