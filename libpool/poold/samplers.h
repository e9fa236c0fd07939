// SPDX-License-Identifier: Apache-2.0
// Which sources of access samples this kernel offers here and now. Probing changes nothing: it
// opens a throw-away userfaultfd and reads files.
#pragma once

#include <string>
#include <vector>

#include "poold/tree.h"

namespace poold {

struct SamplerState {
    std::string name;  // "rwp", "wp", "damon", "numa-hints"
    bool usable = false;
    std::string why;  // a sentence when it is not, or a remark
};

// The userfaultfd ones are probed on the running kernel only: a recorded tree cannot tell.
std::vector<SamplerState> probe_samplers(const Tree& tree);

}  // namespace poold
