// SPDX-License-Identifier: Apache-2.0
#include "kernel.h"

#include <numaif.h>

#include <vector>

#include "topology.h"

namespace libpool {

namespace {
class RealKernel final : public Kernel {
  public:
    long move_pages(pid_t pid, std::span<const uint64_t> pages, std::span<const int> nodes,
                    std::span<int> status) override {
        std::vector<void*> addresses(pages.size());
        for (size_t i = 0; i < pages.size(); ++i) {
            addresses[i] = reinterpret_cast<void*>(pages[i]);
        }
        long rc = ::move_pages(pid, pages.size(), addresses.data(),
                               nodes.empty() ? nullptr : nodes.data(), status.data(),
                               nodes.empty() ? 0 : MPOL_MF_MOVE);
        return rc < 0 ? -errno : rc;
    }

    Result<uint64_t> room_bytes(int node) override { return read_node_room("", node); }
};
}  // namespace

std::unique_ptr<Kernel> make_kernel() { return std::make_unique<RealKernel>(); }

}  // namespace libpool
