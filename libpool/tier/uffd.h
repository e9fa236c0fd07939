// SPDX-License-Identifier: Apache-2.0
// The two kinds of userfaultfd that tell of touches asynchronously: the kernel itself resolves the
// fault of a protected page, nobody is woken up, and the page tables then say which are no longer
// protected. One table, so that what differs between them stands in one place.
#pragma once

#include <sys/types.h>

#include <cstdint>

#include "error.h"
#include "tier/descriptor.h"
#include "tier/sampler.h"

namespace libpool::tier {

struct UffdKind {
    const char* name;
    const char* what;           // "read-write protection"
    const char* since;          // the kernel that has it
    uint64_t features;          // of UFFDIO_API
    uint64_t register_mode;     // of UFFDIO_REGISTER
    unsigned long protect;      // the request
    uint64_t protect_mode;      // its mode to arm; 0 disarms
    uint64_t touched_category;  // of PAGEMAP_SCAN
    bool writes_only;
};

extern const UffdKind rwp_kind;
extern const UffdKind wp_kind;

// A userfaultfd of this process for this kind, usable by whoever holds it (it may be handed to
// another process). The error tells a refusal from a kernel that is too old.
Result<Descriptor> open_uffd(const UffdKind& kind);

// These give 0 or a positive errno; EAGAIN is tried again.
int register_pages(const Descriptor& uffd, const UffdKind& kind, const AddressRun& run);
int unregister_pages(const Descriptor& uffd, const AddressRun& run);
int protect_pages(const Descriptor& uffd, const UffdKind& kind, const AddressRun& run,
                  uint64_t mode);

}  // namespace libpool::tier
