// SPDX-License-Identifier: Apache-2.0
#include "numa_balancing.h"

#include <charconv>

#include "read_text.h"

namespace libpool {

std::optional<int> read_numa_balancing(const std::string& root) {
    auto content = read_text(root + "/proc/sys/kernel/numa_balancing");
    int mode = 0;
    if (!content) return std::nullopt;
    const char* end = content->data() + content->size();
    if (std::from_chars(content->data(), end, mode).ec != std::errc{}) return std::nullopt;
    return mode;
}

std::string describe_numa_balancing(int mode) {
    if (mode == 0) return "";
    return text(
        "kernel.numa_balancing is %d: the kernel moves pages between nodes, too, and knows no near "
        "limit, so limits, shares and the bank mean little (sysctl kernel.numa_balancing=0 "
        "switches it off)",
        mode);
}

}  // namespace libpool
