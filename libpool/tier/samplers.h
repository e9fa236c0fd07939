// SPDX-License-Identifier: Apache-2.0
// All samplers of live programs; sample_recorded.h replays a trace. Which one to take is decided in
// sampler_choice.h.
#pragma once

#include <sys/types.h>

#include <memory>
#include <string>

#include "error.h"
#include "tier/clock.h"
#include "tier/damon.h"
#include "tier/descriptor.h"
#include "tier/sampler.h"

namespace libpool::tier {

// userfaultfd read-write protection (kernel >= 7.3), unprivileged, exact. Of this process …
Result<std::unique_ptr<Sampler>> make_rwp_sampler();
// … or of another one, in which `uffd` was made (open_uffd(rwp_kind) there, handed over by
// SCM_RIGHTS). Needs to read that process's page map.
Result<std::unique_ptr<Sampler>> make_rwp_sampler(pid_t pid, Descriptor uffd);

// userfaultfd write protection (kernel >= 6.7): sees writes alone, and splits a huge page at its
// first write in a cycle.
Result<std::unique_ptr<Sampler>> make_wp_sampler();
Result<std::unique_ptr<Sampler>> make_wp_sampler(pid_t pid, Descriptor uffd);

// Exact counts of a workload (truth.h), from a file or a PCI device's memory; pid 0: this process.
// `clock` times the looks, and outlives the sampler; none: the machine's.
Result<std::unique_ptr<Sampler>> make_truth_sampler(const std::string& path, pid_t pid,
                                                    Clock* clock = nullptr);

// DAMON's access bits by region, of any process, for root: the kernel's own monitor, of which there
// is one at a time here. DAMON_STAT is switched off meanwhile. Regions have rates, not pages: of
// each page the time of its first touch is drawn from its region's rate.
Result<std::unique_ptr<Sampler>> make_damon_sampler(pid_t pid, const DamonIntervals& intervals);

}  // namespace libpool::tier
