// SPDX-License-Identifier: Apache-2.0
// Random intents, most of them sensible.
#pragma once

#include <optional>

#include "backend/sim/random.h"
#include "core/fabric.h"
#include "core/intent.h"
#include "ledger.h"

namespace cxlpool::fmsim {

Intent draw_intent(const Fabric& fabric, const Ledger& ledger, bool fences, sim::Random& random);

}  // namespace cxlpool::fmsim
