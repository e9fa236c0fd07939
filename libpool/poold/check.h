// SPDX-License-Identifier: Apache-2.0
// `poold check`: is this host fit for pooled memory, and if not, the one thing to change first.
// Reads only; needs no daemon, no root, no CXL hardware; takes well under a second.
#pragma once

#include <string>
#include <vector>

#include "poold/tree.h"

namespace poold {

enum class Verdict {
    well,
    remark,  // works, and is worth knowing
    bad,     // must be changed
};

struct Finding {
    std::string what;  // "kernel", "online policy", …
    Verdict verdict = Verdict::well;
    std::string value;
    std::string change;  // of bad ones: what to do, an imperative sentence
};

struct CheckResult {
    std::vector<Finding> findings;

    // Of the first bad finding; findings come in the order in which they must be mended.
    std::string the_one_thing() const;
    bool well() const { return the_one_thing().empty(); }
    std::string as_text() const;
    std::string as_json() const;
};

CheckResult check_host(const Tree& tree);

}  // namespace poold
