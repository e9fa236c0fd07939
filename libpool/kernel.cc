// SPDX-License-Identifier: Apache-2.0
#include "kernel.h"

#include <numaif.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "read_text.h"
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
        // Of a process whose first thread has ended only the others know.
        auto statm = read_text(pid == 0 ? "/proc/thread-self/statm" : text("/proc/%d/statm", pid));
        unsigned long long all = 0, resident = 0;
        if (!statm || std::sscanf(statm->c_str(), "%llu %llu", &all, &resident) != 2) return 0;
        return resident * page_bytes;
    }

    // Advice for one page of a large folio makes the kernel split it first. COLD does nothing else
    // to a program: the one page is the first to be reclaimed, should memory run short.
    Result<void> split_huge(pid_t pid, uint64_t address) override {
        void* const page = reinterpret_cast<void*>(address);
        if (pid == 0) {
            if (madvise(page, page_bytes, MADV_COLD) == 0) return {};
            return fail(errno, "splitting the huge page at 0x%llx: %s",
                        static_cast<unsigned long long>(address), errno_text(errno).c_str());
        }
        const int process = int(syscall(SYS_pidfd_open, pid, 0));
        if (process < 0) {
            return fail(errno, "process %d: %s", int(pid), errno_text(errno).c_str());
        }
        const iovec part{page, page_bytes};
        const long rc = syscall(SYS_process_madvise, process, &part, 1L, MADV_COLD, 0);
        const int code = errno;
        close(process);
        if (rc >= 0) return {};
        return fail(code, "splitting the huge page at 0x%llx of process %d: %s",
                    static_cast<unsigned long long>(address), int(pid), errno_text(code).c_str());
    }

    // After none, usual is MADV_HUGEPAGE: there is no way back to no advice at all.
    Result<void> set_huge(pid_t pid, uint64_t start, uint64_t bytes, HugePages huge) override {
        if (pid != 0) {
            return fail(ENOTSUP,
                        "the kernel may make huge pages of process %d again: nobody else can tell "
                        "it not to",
                        int(pid));
        }
        const int advice = huge == HugePages::none ? MADV_NOHUGEPAGE : MADV_HUGEPAGE;
        if (madvise(reinterpret_cast<void*>(start), bytes, advice) == 0) return {};
        return fail(errno, "advice on huge pages from 0x%llx on: %s",
                    static_cast<unsigned long long>(start), errno_text(errno).c_str());
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
