// SPDX-License-Identifier: Apache-2.0
// For samplers that learn of touches elsewhere: which pages of the armed runs are there, stay
// there, and are huge.
#pragma once

#include <span>
#include <vector>

#include "tier/page_scan.h"
#include "tier/sampler.h"

namespace libpool::tier {

class Presence {
  public:
    explicit Presence(Descriptor pagemap) : pagemap_(std::move(pagemap)) {}

    // A sight for each page of the runs: not_touched where one is, else page_absent.
    Result<std::vector<Sight>> arm(std::span<const AddressRun> runs);
    // Makes absent what has vanished since, and lists the huge ones.
    Result<void> look(std::span<const AddressRun> runs, std::vector<Sight>& sights,
                      std::vector<uint64_t>& huge);

  private:
    Descriptor pagemap_;
    std::vector<Region> regions_;
};

}  // namespace libpool::tier
