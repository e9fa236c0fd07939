// SPDX-License-Identifier: Apache-2.0
// All samplers there are. Which one to take is decided in sampler_choice.h.
#pragma once

#include <sys/types.h>

#include <memory>

#include "error.h"
#include "tier/descriptor.h"
#include "tier/sampler.h"

namespace libpool::tier {

// userfaultfd read-write protection (kernel >= 7.3), unprivileged, exact. Of this process …
Result<std::unique_ptr<Sampler>> make_rwp_sampler();
// … or of another one, in which `uffd` was made (open_uffd(rwp_kind) there, handed over by
// SCM_RIGHTS or fetched with take_descriptor()). Needs to read that process's page map.
Result<std::unique_ptr<Sampler>> make_rwp_sampler(pid_t pid, Descriptor uffd);

// userfaultfd write protection (kernel >= 6.7): sees writes alone, and splits a huge page at its
// first write in a cycle.
Result<std::unique_ptr<Sampler>> make_wp_sampler();
Result<std::unique_ptr<Sampler>> make_wp_sampler(pid_t pid, Descriptor uffd);

}  // namespace libpool::tier
