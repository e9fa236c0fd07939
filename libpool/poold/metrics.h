// SPDX-License-Identifier: Apache-2.0
// Tiered processes in Prometheus's text format, for the textfile collector of node_exporter.
#pragma once

#include <string>
#include <vector>

#include "poold/allot.h"

namespace poold {

struct TieringPicture {
    std::vector<TieredProcess> processes;
    std::vector<Allotment> allotments;  // of processes, in their order; empty: no tenants
    size_t silent = 0;                  // processes that listen and gave no sensible answer
    uint64_t capacity_bytes = 0;        // that was divided
};

std::string metrics_text(const TieringPicture& picture);

// Puts `content` in the place of the file at once: who reads it sees the old or the new one.
libpool::Result<void> replace_file(const std::string& path, const std::string& content);

}  // namespace poold
