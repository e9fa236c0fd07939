// SPDX-License-Identifier: Apache-2.0
// What pooltrace can be told to do. Each takes the words after its name and returns the exit code,
// or an error that is a wrong command line or a file that cannot be used (exit code 2).
#pragma once

#include <span>
#include <string>
#include <vector>

#include "error.h"
#include "pooltrace/arguments.h"
#include "pooltrace/bound.h"
#include "pooltrace/generate.h"
#include "pooltrace/world.h"
#include "tier/tier_policy.h"

namespace libpool::tier::trace {

using Words = std::span<char* const>;

Result<int> command_gen(Words words);
Result<int> command_run(Words words);
Result<int> command_bound(Words words);
Result<int> command_matrix(Words words);
Result<int> command_harm(Words words);
Result<int> command_speed(Words words);

// Options that several commands share.
void add_generator(Arguments& arguments, GenerateOptions& options);  // all but the kind and near
void add_world(Arguments& arguments, World& world, std::string& costs);
void add_policy(Arguments& arguments, TierConfig& config);
Result<void> set_costs(World& world, const std::string& name);  // "native" or "guest"

// "1024" pages or "1/8" of `pages`; at most all.
Result<uint32_t> near_of(const std::string& word, uint32_t pages);

struct Workload {
    std::string name;
    Trace trace;
    std::vector<uint32_t> jumps;
};
Result<Workload> workload_from_file(const std::string& path);
Result<Workload> workload_of_kind(GenerateOptions options, const std::string& kind,
                                  const std::string& near);

}  // namespace libpool::tier::trace
