// SPDX-License-Identifier: Apache-2.0
#include "tier/sample_uffd.h"
#include "tier/samplers.h"

namespace libpool::tier {

Result<std::unique_ptr<Sampler>> make_wp_sampler() { return make_uffd_sampler(wp_kind); }

Result<std::unique_ptr<Sampler>> make_wp_sampler(pid_t pid, Descriptor uffd) {
    return make_uffd_sampler(wp_kind, pid, std::move(uffd));
}

}  // namespace libpool::tier
