// SPDX-License-Identifier: Apache-2.0
// Every few seconds: ask all tiered processes, divide the near tier among tenants, tell each its
// part, write the metrics. It keeps nothing that a killed poold would lose: an allotment lapses by
// itself (tier/snapshot.h), and the next round begins from what the processes say.
#pragma once

#include <functional>
#include <optional>
#include <set>
#include <string>

#include "poold/metrics.h"

namespace poold {

struct TiersOptions {
    std::string metrics_file;  // empty: none
    std::string tenants_file;  // empty: nobody is limited
    double interval_s = 5;
    bool wanted() const { return !metrics_file.empty() || !tenants_file.empty(); }
};

class Tiers {
  public:
    using Log = std::function<void(const std::string& sentence)>;
    Tiers(TiersOptions options, Log log);

    // One round. What goes wrong is logged once, until it changes.
    TieringPicture round();
    // Rounds until `wait(seconds)` says false.
    void run(const std::function<bool(double)>& wait);

  private:
    void read_rules();
    std::optional<libpool::Result<TieredProcess>> hear(pid_t pid) const;
    void divide_near(TieringPicture& picture);
    void trouble(std::string& last, const std::string& sentence);

    const TiersOptions options_;
    Log log_;
    TenantsFile rules_;        // the last that was right
    std::set<pid_t> silent_;   // in the last round
    bool have_rules_ = false;  // there was one that was right
    std::string rules_trouble_, divide_trouble_, ask_trouble_, file_trouble_;
};

}  // namespace poold
