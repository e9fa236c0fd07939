// SPDX-License-Identifier: Apache-2.0
#include "ledger.h"

#include <fmt/format.h>

namespace cxlpool::fmsim {

Ledger::Ledger(const Fabric& fabric) : fabric_(fabric) {
    for (const auto& [name, spec] : fabric.devices) owners_[name].resize(spec.size / spec.block);
}

std::vector<std::size_t> Ledger::block_numbers(const DeviceName& device, Range range) const {
    const DeviceSpec& spec = fabric_.devices.at(device);
    std::vector<std::size_t> numbers;
    for (std::size_t block = 0; block < spec.size / spec.block; ++block) {
        if (Range{block * spec.block, spec.block}.overlaps(range)) numbers.push_back(block);
    }
    return numbers;
}

const LedgerGrant* Ledger::owner(const DeviceName& device, std::size_t block) const {
    return find(owners_.at(device)[block]);
}

const LedgerGrant* Ledger::find(GrantId id) const {
    const auto found = grants_.find(id);
    return found == grants_.end() ? nullptr : &found->second;
}

const LedgerGrant* Ledger::find_live(const GrantName& name) const {
    for (const auto& [id, grant] : grants_) {
        if (grant.name == name && !grant.gone) return &grant;
    }
    return nullptr;
}

bool Ledger::held_since_scrub(const HostName& host, const DeviceName& device,
                              std::size_t block) const {
    const auto found = held_.find({host, device});
    return found != held_.end() && found->second.contains(block);
}

void Ledger::set_owner(const LedgerGrant& grant, GrantId to) {
    for (const Extent& extent : grant.extents) {
        for (std::size_t block : block_numbers(extent.device, extent.range)) {
            owners_.at(extent.device)[block] = to;
        }
    }
}

std::optional<std::string> Ledger::apply(const Record& record) {
    std::optional<std::string> wrong;
    const auto grant_of = [&](GrantId id) -> LedgerGrant& {
        if (!grants_.contains(id) || grants_.at(id).gone) {
            wrong = fmt::format("record {} is about grant #{}, which does not live",
                                record.seq.value, id.value);
        }
        return grants_[id];
    };
    if (const auto* created = std::get_if<GrantCreated>(&record.body)) {
        LedgerGrant grant{.id = created->id,
                          .name = created->name,
                          .hosts = {created->hosts.begin(), created->hosts.end()},
                          .use = created->use,
                          .extents = created->extents,
                          .failure = {},
                          .offered = {},
                          .returning = {}};
        if (find_live(created->name)) wrong = fmt::format("{} lives twice", created->name.text);
        for (const Extent& extent : grant.extents) {
            for (std::size_t block : block_numbers(extent.device, extent.range)) {
                if (const LedgerGrant* other = owner(extent.device, block)) {
                    wrong = fmt::format("{} and {} both own block {} of {}", other->name.text,
                                        grant.name.text, block, extent.device.text);
                }
            }
        }
        set_owner(grant, grant.id);
        grants_[grant.id] = std::move(grant);
    } else if (const auto* offer = std::get_if<OfferStarted>(&record.body)) {
        LedgerGrant& grant = grant_of(offer->id);
        grant.offered.insert({offer->host, offer->device});
        for (const Extent& extent : grant.extents) {
            if (extent.device != offer->device) continue;
            for (std::size_t block : block_numbers(extent.device, extent.range)) {
                held_[{offer->host, offer->device}].insert(block);
            }
        }
    } else if (const auto* active = std::get_if<GrantActive>(&record.body)) {
        grant_of(active->id).was_active = true;
    } else if (const auto* released = std::get_if<GrantReleased>(&record.body)) {
        grant_of(released->id).released = true;
    } else if (const auto* started = std::get_if<ReturnStarted>(&record.body)) {
        grant_of(started->id).returning.insert({started->host, started->device});
    } else if (const auto* returned = std::get_if<Returned>(&record.body)) {
        LedgerGrant& grant = grant_of(returned->id);
        grant.offered.erase({returned->host, returned->device});
        grant.returning.erase({returned->host, returned->device});
    } else if (const auto* failed = std::get_if<GrantFailed>(&record.body)) {
        grant_of(failed->id).failure = failed->reason;
    } else if (const auto* gone = std::get_if<GrantGone>(&record.body)) {
        LedgerGrant& grant = grant_of(gone->id);
        if (!grant.offered.empty()) wrong = grant.name.text + " is gone while it is offered";
        grant.gone = true;
        set_owner(grant, GrantId{});
    } else if (const auto* dead = std::get_if<HostDead>(&record.body)) {
        for (auto& [key, blocks] : held_) {
            if (key.first == dead->host) blocks.clear();
        }
        for (auto& [id, grant] : grants_) {
            std::erase_if(grant.offered, [&](const auto& leg) { return leg.first == dead->host; });
            std::erase_if(grant.returning,
                          [&](const auto& leg) { return leg.first == dead->host; });
        }
    } else if (const auto* scrub = std::get_if<ScrubStarted>(&record.body)) {
        scrubs_.insert(scrub->extent);
    } else if (const auto* done = std::get_if<ScrubDone>(&record.body)) {
        scrubs_.erase(done->extent);
        for (std::size_t block : block_numbers(done->extent.device, done->extent.range)) {
            for (auto& [key, blocks] : held_) {
                if (key.second == done->extent.device) blocks.erase(block);
            }
        }
    } else if (const auto* fence = std::get_if<FenceStarted>(&record.body)) {
        fences_.insert({fence->host, fence->instance});
    }
    return wrong;
}

}  // namespace cxlpool::fmsim
