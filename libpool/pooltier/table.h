// SPDX-License-Identifier: Apache-2.0
// All verbs of pooltier, with their options.
#pragma once

#include "pooltier/args.h"

namespace pooltier {

const std::vector<Verb>& all_verbs();

}  // namespace pooltier
