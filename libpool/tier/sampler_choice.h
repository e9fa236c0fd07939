// SPDX-License-Identifier: Apache-2.0
// Which sources of access samples this kernel offers here and now, and which one is taken. Probing
// changes nothing: it opens a throw-away userfaultfd and reads files.
#pragma once

#include <sys/types.h>

#include <memory>
#include <string>
#include <vector>

#include "error.h"
#include "tier/descriptor.h"
#include "tier/sampler.h"

namespace libpool::tier {

struct SamplerState {
    std::string name;  // "rwp", "wp", "damon", "numa-hints"
    bool usable = false;
    std::string why;  // a sentence when it is not, or a remark
};

// All of them, best first. `root`: in front of /sys and /proc. The userfaultfd ones are probed on
// the running kernel only ("" = this machine): a recorded tree cannot tell.
std::vector<SamplerState> probe_samplers(const std::string& root);

struct SamplerChoice {
    std::unique_ptr<Sampler> sampler;
    std::vector<SamplerState> refused;  // those that would have come before it, with the reason
    std::string describe() const;
};

// Cheap: would choose_sampler() find one, as far as can be told without trying it out?
Result<void> check_samplers(const std::string& wanted);

// The first of rwp, wp, damon that works; `wanted` takes that one or none ("auto": the first).
// The error of none is one sentence with all reasons.
Result<SamplerChoice> choose_sampler(const std::string& wanted);
// Of another process, by a descriptor of kind rwp that was made in it. Without one (empty): DAMON.
Result<SamplerChoice> choose_sampler(const std::string& wanted, pid_t pid, Descriptor uffd);

}  // namespace libpool::tier
