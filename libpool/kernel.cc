// SPDX-License-Identifier: Apache-2.0
#include "kernel.h"

#include <numaif.h>

#include <chrono>
#include <fstream>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "topology.h"
#include "uapi.h"

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

    Result<uint64_t> room_bytes(int node) override {
        auto free_bytes = read_node_free("", node);
        if (!free_bytes) return free_bytes;
        uint64_t mark = watermark_bytes(node);
        return *free_bytes > mark ? *free_bytes - mark : 0;
    }

    Result<uint64_t> deficit_bytes(int node) override {
        auto free_bytes = read_node_free("", node);
        if (!free_bytes) return free_bytes;
        uint64_t mark = watermark_bytes(node);
        return *free_bytes < mark ? mark - *free_bytes : 0;
    }

    uint64_t resident_bytes(pid_t pid) override {
        std::ifstream statm("/proc/" + (pid == 0 ? "self" : std::to_string(pid)) + "/statm");
        uint64_t all = 0, resident = 0;
        return statm >> all >> resident ? resident * page_bytes : 0;
    }

  private:
    // Marks move when memory is plugged, not from one batch to the next, and are slow to read.
    uint64_t watermark_bytes(int node) {
        std::lock_guard guard(lock_);
        auto now = std::chrono::steady_clock::now();
        if (marks_.empty() || now - read_at_ > std::chrono::seconds(10)) {
            marks_ = read_watermarks("").value_or(std::map<int, uint64_t>());
            read_at_ = now;
        }
        auto found = marks_.find(node);
        return found == marks_.end() ? 0 : found->second;
    }

    std::mutex lock_;  // guards both: the engine and whoever is asked for its status
    std::map<int, uint64_t> marks_;
    std::chrono::steady_clock::time_point read_at_;
};
}  // namespace

std::unique_ptr<Kernel> make_kernel() { return std::make_unique<RealKernel>(); }

}  // namespace libpool
