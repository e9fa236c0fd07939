// SPDX-License-Identifier: Apache-2.0
// What users ask for, already parsed but not yet judged.
#pragma once

#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "core/ids.h"
#include "core/record.h"
#include "core/units.h"

namespace cxlpool {

// Whether an intent is carried out or only judged and planned.
enum class Mode {
    real,
    dry_run,  // nothing changes; the reply is the Plan that would run
};

struct CreateGrant {
    std::optional<GrantName> name;  // none: the first free of g1, g2, …
    std::vector<HostName> hosts;
    Bytes size = 0;
    Use use = Use::ram;
    Mode mode = Mode::real;
};

struct ReleaseGrant {
    GrantName name;
    Mode mode = Mode::real;
};

struct FenceHost {
    HostName host;
    Mode mode = Mode::real;
};

// Ask every device anew about every grant and every free range; the reply is a DoctorView.
struct DoctorScan {};

using Intent = std::variant<CreateGrant, ReleaseGrant, FenceHost, DoctorScan>;

}  // namespace cxlpool
