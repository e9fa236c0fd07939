// SPDX-License-Identifier: Apache-2.0
// Runs as text: CSV for programs, tables and plots for people.
#pragma once

#include <string>
#include <vector>

#include "error.h"
#include "pooltrace/metrics.h"

namespace libpool::tier::trace {

std::string epochs_csv(const Trace& trace, const Outcome& outcome);
std::string summary_csv(const std::vector<Summary>& rows);
std::string summary_table(const std::vector<Summary>& rows);

// What plot() makes.
std::vector<std::string> plot_files(const std::string& prefix,
                                    const std::vector<std::string>& policies);

struct Curve {
    std::string policy;
    Outcome outcome;
};
// Writes PREFIX.POLICY.csv of each curve and PREFIX.gp, and lets gnuplot make PREFIX.svg of them.
// Returns one sentence that says what there is now (or why there is no picture).
Result<std::string> plot(const std::string& prefix, const std::string& title, const Trace& trace,
                         const std::vector<Curve>& curves, const Bound& bound);

}  // namespace libpool::tier::trace
