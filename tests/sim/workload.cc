// SPDX-License-Identifier: Apache-2.0
#include "workload.h"

#include <fmt/format.h>

#include <algorithm>

namespace cxlpool::fmsim {

namespace {

HostName any_host(const Fabric& fabric, sim::Random& random) {
    auto entry = fabric.hosts.begin();
    std::advance(entry, static_cast<std::ptrdiff_t>(random.below(fabric.hosts.size())));
    return entry->first;
}

CreateGrant draw_create(const Fabric& fabric, sim::Random& random) {
    CreateGrant create;
    create.hosts.push_back(any_host(fabric, random));
    create.use = random.chance(600) ? Use::ram : Use::dax;
    create.size = create.use == Use::ram ? (1 + random.below(6)) * 16 * MiB
                                         : (1 + random.below(20)) * 2 * MiB;
    if (create.use == Use::dax && random.chance(400)) {
        const HostName second = any_host(fabric, random);
        if (second != create.hosts.front()) create.hosts.push_back(second);
    }
    if (random.chance(300)) create.name = GrantName{fmt::format("g{}", 1 + random.below(6))};
    return create;
}

// What must be refused, and must change nothing.
CreateGrant draw_nonsense(const Fabric& fabric, sim::Random& random) {
    CreateGrant create = draw_create(fabric, random);
    switch (random.below(5)) {
        case 0:
            create.size = 0;
            break;
        case 1:
            create.size += 1;
            break;
        case 2:
            create.size = ~Bytes{0};
            break;
        case 3:
            create.hosts = {HostName{"nobody"}};
            break;
        case 4:
            create.name = GrantName{"Not A Name"};
            break;
    }
    return create;
}

}  // namespace

Intent draw_intent(const Fabric& fabric, const Ledger& ledger, bool fences, sim::Random& random) {
    const auto pick = random.below(100);
    if (pick < 5) return draw_nonsense(fabric, random);
    if (pick < 9) return DoctorScan{};
    if (pick < 11 && fences) return FenceHost{any_host(fabric, random)};
    if (pick < 50) {
        std::vector<GrantName> names;
        for (const auto& [id, grant] : ledger.grants()) {
            if (!grant.gone && !grant.released) names.push_back(grant.name);
        }
        if (!names.empty()) return ReleaseGrant{names[random.below(names.size())]};
    }
    CreateGrant create = draw_create(fabric, random);
    if (random.chance(50)) create.mode = Mode::dry_run;
    return create;
}

}  // namespace cxlpool::fmsim
