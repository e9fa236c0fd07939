// SPDX-License-Identifier: Apache-2.0
// What the durable journal says, kept by a naive twin of the core's pool: one owner number a DC
// block, no interval arithmetic, nothing shared with core/pool.cc. Checkers compare the rack's
// truth with it.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "core/fabric.h"
#include "core/record.h"

namespace cxlpool::fmsim {

struct LedgerGrant {
    GrantId id;
    GrantName name;
    std::set<HostName> hosts;
    Use use = Use::ram;
    std::vector<Extent> extents;
    bool released = false, gone = false, was_active = false;
    std::string failure;
    std::set<std::pair<HostName, DeviceName>> offered;    // OfferStarted, not Returned
    std::set<std::pair<HostName, DeviceName>> returning;  // ReturnStarted, not Returned
};

class Ledger {
  public:
    explicit Ledger(const Fabric& fabric);

    // A sentence when the record contradicts what was there; the ledger then follows it all the
    // same.
    std::optional<std::string> apply(const Record& record);

    const LedgerGrant* owner(const DeviceName& device, std::size_t block) const;
    const LedgerGrant* find(GrantId id) const;
    const LedgerGrant* find_live(const GrantName& name) const;
    const std::map<GrantId, LedgerGrant>& grants() const { return grants_; }
    // Offered to this machine of the host, and not erased since.
    bool held_since_scrub(const HostName& host, const DeviceName& device, std::size_t block) const;
    bool scrub_begun(const Extent& extent) const { return scrubs_.contains(extent); }
    bool fence_begun(const HostName& host, const std::string& instance) const {
        return fences_.contains({host, instance});
    }
    std::size_t blocks_of(const Extent& extent) const;
    std::vector<std::size_t> block_numbers(const DeviceName& device, Range range) const;

  private:
    void set_owner(const LedgerGrant& grant, GrantId to);

    const Fabric& fabric_;
    std::map<GrantId, LedgerGrant> grants_;
    std::map<DeviceName, std::vector<GrantId>> owners_;  // 0 = free
    std::map<std::pair<HostName, DeviceName>, std::set<std::size_t>> held_;
    std::set<Extent> scrubs_;
    std::set<std::pair<HostName, std::string>> fences_;
};

}  // namespace cxlpool::fmsim
