// SPDX-License-Identifier: Apache-2.0
// What a program under `pooltier run` is told: environment variables POOLTIER_NAME=VALUE, or the
// same as lines `name = value` of a file. One strict parser for both, used by the preload library
// and by pooltier: a wrong word is an error and never a default.
//
//   file  = { [ name "=" value ] [ "#" … ] NL }
//   name  = on | near_limit | cpu | mbps | near_nodes | far_nodes | require | seed | sampler
//         | tenant | min_range | loss_ns | wait | hand_over | say
//
// In the environment POOLTIER is `on`, and POOLTIER_CONFIG names a file that is read first.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "error.h"

namespace libpool::tier {

enum class SamplerWish { automatic, rwp, wp, damon };

// What goes to standard error.
enum class Say {
    none,
    trouble,  // one sentence when the program runs untiered
    all,
};

struct Settings {
    bool on = false;
    bool require = false;  // rather not run than run untiered
    uint64_t near_limit_bytes = UINT64_MAX;
    double cpu_share = 0.01;              // "1" or "0.5%": of the program's CPU time
    uint64_t move_limit_bytes_per_s = 0;  // "mbps": MiB/s; 0 = no cap
    std::vector<int> near_nodes;          // rising; empty: as the topology says
    std::vector<int> far_nodes;           // likewise
    uint64_t seed = 0;                    // 0: draw one
    SamplerWish sampler = SamplerWish::automatic;
    std::string tenant;                  // 1 to 63 of A-Za-z0-9_.-, or empty
    uint64_t min_range_bytes = 2 << 20;  // smaller mappings are not tracked
    double loss_ns = 0;      // what an access to a far page costs more; 0: measured at start
    bool wait = false;       // with one tier only, for a second one (a grant)
    bool hand_over = false;  // open the sampler only, and wait for `pooltier attach` to tier it
    Say say = Say::trouble;
    friend bool operator==(const Settings&, const Settings&) = default;
};

inline constexpr size_t settings_file_limit_bytes = 64 << 10;

// Of `environment`, an array that ends with nullptr: environ.
Result<Settings> settings_from_environment(const char* const* environment);

// The lines of a file called `name`, on top of what `settings` holds. Unchanged on failure.
Result<void> apply_text(Settings& settings, std::string_view lines, const std::string& name);

// One `name`, `value` pair; the sentence does not say where it stood.
Result<void> apply_setting(Settings& settings, std::string_view name, std::string_view value);

// Checks what concerns more than one setting.
Result<void> check_settings(const Settings& settings);

// "POOLTIER=1", "POOLTIER_CPU=…": all that differs from the defaults, so that
// settings_from_environment() of it gives the same settings.
std::vector<std::string> environment_of(const Settings& settings);

// "256M", "4096", "1G": binary units. The sentence says what is wrong with it.
Result<uint64_t> parse_bytes(std::string_view word);

// The candidate that a misspelt word most likely means, or "".
std::string nearest_word(std::string_view word, const std::vector<std::string_view>& candidates);

}  // namespace libpool::tier
