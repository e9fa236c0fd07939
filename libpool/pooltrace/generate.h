// SPDX-License-Identifier: Apache-2.0
// Traces from a seed: workloads that look like programs, and adversaries of a tiering policy. In
// the first epoch of each every page is touched in order, so first touch fills near memory with the
// first pages, and the page set is fixed from there on.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "error.h"
#include "pooltrace/trace.h"

namespace libpool::tier::trace {

struct GenerateOptions {
    std::string kind = "hot";
    uint32_t pages = 8192;
    uint32_t near_pages = 1024;  // what cyclic, turns, bighot and phase aim at
    uint32_t epochs = 240;
    double epoch_s = 0.25;
    double accesses_per_s = 2e6;  // of the whole program
    double hot_part = 0.1;        // of the pages: hot, jump, scan
    double hot_share = 0.9;       // of the accesses
    double skew = 0.99;           // zipf
    uint32_t period_epochs = 8;   // cyclic, turns, phase: how long one thing stays
    double far_part = 0.5;        // turns, pairs: part of the time in which the far pages are hot
    bool irregular = false;       // turns: lengths are drawn, these are their means
    double growth = 1;            // turns: of each length over the one before, up to 64 times
    uint64_t seed = 1;
};

struct Generated {
    Trace trace;
    std::vector<uint32_t> jumps;  // epochs at which the hot set changed for good
};

struct KindInfo {
    std::string_view name, what;
    bool adversarial;
};
std::span<const KindInfo> kinds();

Result<Generated> generate(const GenerateOptions& options);

// A small adversarial trace in which everything is drawn from the seed: kind, sizes, rates,
// periods. near_pages is what it aims at.
struct Adversary {
    GenerateOptions options;
    double loss_ns = 0;  // of the world it lives in
    Generated generated;
};
bool is_adversary(std::string_view kind);
// What counts is accesses that miss the caches. A page has 64 lines, and each misses again only
// when the rest of the cache was replaced meanwhile, so one page alone cannot miss at any rate. Our
// policy's bound is for pages up to BankStatus::resolved_rate.
inline constexpr double page_rate_max = 1500;                   // accesses/s
Adversary adversary(uint64_t seed, std::string_view kind = "",  // "": drawn, too
                    double page_rate = page_rate_max);

}  // namespace libpool::tier::trace
