// SPDX-License-Identifier: Apache-2.0
// Policies to compare ours with, written from the papers' descriptions and fed through the same
// interface: they see what our sampler sees, and pay the program's faults for it. Where a paper
// uses a source of its own (PEBS, the kernel's LRU lists), the nearest thing that this interface
// has stands in for it, as each comment says.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "error.h"
#include "tier/policy.h"
#include "tier/tier_policy.h"

namespace libpool::tier {

// Never samples and never moves: pages stay where the kernel put them.
std::unique_ptr<Policy> make_first_touch();

// After TPP (Maruf et al., "TPP: Transparent Page Placement for CXL-Enabled Tiered-Memory",
// ASPLOS 2023): hint faults on far pages; a page that faulted in two scans in a row is promoted.
// Reclaim works ahead of demand: when less than 2 % of near memory is free, pages are demoted from
// the inactive end. The kernel's LRU lists are stood in for by the scans since a page was last
// seen.
std::unique_ptr<Policy> make_tpp();

// After HeMem (Raybuck et al., SOSP 2021) and MEMTIS (Lee et al., "MEMTIS: Efficient Memory Tiering
// with Dynamic Page Classification and Page Size Determination", SOSP 2023): access counts, halved
// at times, in exponential bins; the threshold is the smallest bin such that everything in it and
// above fits near. PEBS samples are stood in for by how soon a page was touched.
std::unique_ptr<Policy> make_histogram();

// After ARMS (Yadalam et al., "ARMS: Adaptive and Robust Memory Tiering System", arXiv 2508.04417):
// a short and a long moving average of each page's rate; the greater of them ranks the pages, and a
// swap goes ahead when what it saves over the time the page stayed hot so far pays for both moves.
std::unique_ptr<Policy> make_two_ewma();

// "first-touch", "tpp", "histogram", "two-ewma", and "ours".
std::vector<std::string_view> policy_names();
Result<std::unique_ptr<Policy>> make_policy(std::string_view name, const TierConfig& config);

}  // namespace libpool::tier
