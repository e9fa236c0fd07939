// SPDX-License-Identifier: Apache-2.0
#include "checker.h"

#include <algorithm>

#include "checkers/checkers.h"

namespace cxlpool::fmsim {

bool Truth::is_foreign(const HostName& host, const DeviceName& device, Range range) const {
    return std::ranges::any_of(foreign, [&](const auto& claim) {
        return claim.first == host && claim.second.device == device &&
               claim.second.range.overlaps(range);
    });
}

std::vector<HostName> Truth::who_reaches(const DeviceName& device, Range range) const {
    std::vector<HostName> who;
    for (const auto& [name, host] : world.hosts()) {
        if (reaches(name, device, range)) who.push_back(name);
    }
    return who;
}

std::vector<std::unique_ptr<Checker>> all_checkers(const Truth& truth) {
    std::vector<std::unique_ptr<Checker>> all;
    all.push_back(one_owner(truth));
    all.push_back(scrubbed_between(truth));
    all.push_back(nothing_foreign(truth));
    all.push_back(sums_are_right(truth));
    all.push_back(journal_first(truth));
    all.push_back(replay_converges(truth));
    all.push_back(repeats_change_nothing(truth));
    all.push_back(acknowledged_is_durable(truth));
    all.push_back(devices_are_asked(truth));
    all.push_back(everything_settles(truth));
    all.push_back(desired_is_observed(truth));
    return all;
}

}  // namespace cxlpool::fmsim
