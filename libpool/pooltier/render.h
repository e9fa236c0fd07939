// SPDX-License-Identifier: Apache-2.0
// What processes say, as text for people. Pure; every string from outside is made printable here.
#pragma once

#include <string>
#include <vector>

#include "tier/snapshot.h"

namespace pooltier {

// One process that listens, and what it said or why it did not.
struct Heard {
    int pid = 0;
    std::string program;  // the kernel's word
    libpool::Result<libpool::tier::Snapshot> said;
};

// Columns two spaces apart, as wide as their widest cell.
std::string table(const std::vector<std::vector<std::string>>& rows);

std::string status_table(const std::vector<Heard>& heard);
// A row a tenant, after an empty line; "" when nobody has named one.
std::string tenant_table(const std::vector<Heard>& heard);
std::string status_block(const libpool::tier::Snapshot& snapshot);
std::string explain_block(const libpool::tier::PageAnswer& answer);
// The head of `top`: sums over all.
std::string top_head(const std::vector<Heard>& heard);

std::string seconds_text(double seconds);  // "12.3 s", "850 us"
std::string percent_text(double share);    // "91.2 %"
std::string rate_text(double rate);        // "13 /s", "0.2 /s"

}  // namespace pooltier
