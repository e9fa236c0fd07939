// SPDX-License-Identifier: Apache-2.0
#include "run/own_files.h"

#include <sys/syscall.h>
#include <unistd.h>

namespace libpool::run {

Result<void> own_descriptors() {
    constexpr unsigned unshare = 1 << 1;  // CLOSE_RANGE_UNSHARE of <linux/close_range.h>
    if (syscall(SYS_close_range, 0u, ~0u, unshare) == 0) return {};
    return fail(errno, "no table of descriptors for a thread alone: close_range: %s",
                errno_text(errno).c_str());
}

}  // namespace libpool::run
