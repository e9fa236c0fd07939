// SPDX-License-Identifier: Apache-2.0
// The exact sampler: a protected page takes one asynchronous fault at its first access, which user
// space never sees; PAGEMAP_SCAN then tells which pages are no longer protected. Unprivileged: it
// works on this process alone. Closing the descriptor takes all protection away.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <utility>

#include "sampler.h"
#include "uapi.h"

namespace libpool {

namespace {

constexpr int retry_limit = 64;  // UFFDIO_RWPROTECT while the address space is changing

class Descriptor {
  public:
    explicit Descriptor(int fd = -1) : fd_(fd) {}
    Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    Descriptor& operator=(Descriptor&& other) noexcept {
        std::swap(fd_, other.fd_);
        return *this;
    }
    ~Descriptor() {
        if (fd_ >= 0) close(fd_);
    }
    int get() const { return fd_; }

  private:
    int fd_;
};

double now_s(clockid_t clock) {
    timespec time{};
    clock_gettime(clock, &time);
    return double(time.tv_sec) + double(time.tv_nsec) * 1e-9;
}

// A userfaultfd with exactly these features; an unsupported bit gives EINVAL and spoils the
// descriptor, which is why each question gets one of its own.
Result<Descriptor> open_uffd(uint64_t features) {
    Descriptor fd(
        static_cast<int>(syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY)));
    if (fd.get() < 0) {
        int code = errno;
        const char* hint = code == EPERM    ? " (a seccomp profile of the container may refuse it)"
                           : code == ENOSYS ? " (the kernel is built without it)"
                                            : "";
        return fail(code, "userfaultfd: %s%s", errno_text(code).c_str(), hint);
    }
    uffdio_api api{};
    api.api = UFFD_API;
    api.features = features;
    if (ioctl(fd.get(), UFFDIO_API, &api) < 0) {
        return fail(errno, "userfaultfd refuses features 0x%llx: %s",
                    static_cast<unsigned long long>(features), errno_text(errno).c_str());
    }
    return fd;
}

Result<void> protect(int uffd, const Range& range) {
    uffdio_rwprotect arg{};
    arg.range = {range.start, range.pages * page_bytes};
    arg.mode = UFFDIO_RWPROTECT_MODE_RWP;
    for (int tries = 0; tries < retry_limit; ++tries) {
        if (ioctl(uffd, UFFDIO_RWPROTECT, &arg) == 0) return {};
        if (errno != EAGAIN) break;
    }
    return fail(errno, "protecting %llu pages at 0x%llx: %s",
                static_cast<unsigned long long>(range.pages),
                static_cast<unsigned long long>(range.start), errno_text(errno).c_str());
}

Result<void> register_range(int uffd, const Range& range) {
    uffdio_register arg{};
    arg.range = {range.start, range.pages * page_bytes};
    arg.mode = UFFDIO_REGISTER_MODE_RWP;
    if (ioctl(uffd, UFFDIO_REGISTER, &arg) == 0) return {};
    int code = errno;
    const char* hint = code == EBUSY ? " (another userfaultfd has it)"
                       : code == EINVAL
                           ? " (it must be mapped, readable, and not of a kind userfaultfd refuses)"
                           : "";
    return fail(code, "tracking %llu pages at 0x%llx: %s%s",
                static_cast<unsigned long long>(range.pages),
                static_cast<unsigned long long>(range.start), errno_text(code).c_str(), hint);
}

// Fills seen[] from the page tables. Regions are clipped to the range and never summed up.
Result<void> scan_pages(int pagemap, const Range& range, std::vector<Seen>& seen) {
    seen.assign(range.pages, Seen::absent);
    std::vector<page_region> regions(scan_vector_limit);
    const uint64_t end = range.start + range.pages * page_bytes;
    uint64_t at = range.start;
    while (at < end) {
        pm_scan_arg arg{};
        arg.size = sizeof arg;
        arg.start = at;
        arg.end = end;
        arg.vec = reinterpret_cast<uint64_t>(regions.data());
        arg.vec_len = regions.size();
        arg.category_mask = PAGE_IS_PRESENT;
        arg.return_mask = PAGE_IS_PRESENT | PAGE_IS_ACCESSED;
        long found = ioctl(pagemap, PAGEMAP_SCAN, &arg);
        if (found < 0) {
            if (errno == EINTR) continue;
            return fail(errno, "PAGEMAP_SCAN of %llu pages at 0x%llx: %s",
                        static_cast<unsigned long long>(range.pages),
                        static_cast<unsigned long long>(range.start), errno_text(errno).c_str());
        }
        for (long i = 0; i < found; ++i) {
            uint64_t first = std::max<uint64_t>(regions[i].start, range.start);
            uint64_t last = std::min<uint64_t>(regions[i].end, end);
            Seen what = regions[i].categories & PAGE_IS_ACCESSED ? Seen::touched : Seen::idle;
            for (uint64_t address = first; address < last; address += page_bytes) {
                seen[(address - range.start) / page_bytes] = what;
            }
        }
        if (arg.walk_end <= at) {
            return fail(EIO, "PAGEMAP_SCAN made no progress at 0x%llx",
                        static_cast<unsigned long long>(at));
        }
        at = arg.walk_end;
    }
    return {};
}

class RwpSampler final : public Sampler {
  public:
    RwpSampler(Descriptor uffd, Descriptor pagemap)
        : uffd_(std::move(uffd)), pagemap_(std::move(pagemap)) {}

    Result<void> add(const Range& range) override { return register_range(uffd_.get(), range); }

    void remove(const Range& range) override {
        uffdio_range arg{range.start, range.pages * page_bytes};
        ioctl(uffd_.get(), UFFDIO_UNREGISTER, &arg);  // fails only when it is unmapped: fine too
        armed_at_s_.erase(range.start);
    }

    Result<void> arm(const Range& range) override {
        auto done = protect(uffd_.get(), range);
        if (done) armed_at_s_[range.start] = now_s(CLOCK_MONOTONIC);
        return done;
    }

    Result<double> scan(const Range& range, std::vector<Seen>& seen) override {
        double window_s = now_s(CLOCK_MONOTONIC) - armed_at_s_[range.start];
        auto done = scan_pages(pagemap_.get(), range, seen);
        if (!done) return std::unexpected(done.error());
        return window_s;
    }

    double fault_ns() const override { return fault_ns_; }
    std::string describe() const override {
        return text("userfaultfd read-write protection, %.1f us a fault", fault_ns_ / 1000);
    }

    // Arms and touches some pages of its own. Also the proof that the three calls work together.
    Result<void> calibrate() {
        constexpr uint64_t pages = 256;
        void* memory = mmap(nullptr, pages * page_bytes, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (memory == MAP_FAILED)
            return fail(errno, "mmap of 1 MiB: %s", errno_text(errno).c_str());
        madvise(memory, pages * page_bytes, MADV_NOHUGEPAGE);
        Range range{reinterpret_cast<uint64_t>(memory), pages};
        auto result = try_out(range);
        remove(range);
        munmap(memory, pages * page_bytes);
        return result;
    }

  private:
    Result<void> try_out(const Range& range) {
        auto bytes = reinterpret_cast<volatile char*>(range.start);
        for (uint64_t i = 0; i < range.pages; ++i) bytes[i * page_bytes] = 1;
        if (auto added = add(range); !added) return added;
        if (auto armed = arm(range); !armed) return armed;
        double start_s = now_s(CLOCK_THREAD_CPUTIME_ID);
        for (uint64_t i = 0; i < range.pages; i += 2) (void)bytes[i * page_bytes];
        double spent_s = now_s(CLOCK_THREAD_CPUTIME_ID) - start_s;
        fault_ns_ = spent_s * 1e9 / double(range.pages / 2);

        std::vector<Seen> seen;
        auto scanned = scan(range, seen);
        if (!scanned) return std::unexpected(scanned.error());
        for (uint64_t i = 0; i < range.pages; ++i) {
            Seen expected = i % 2 == 0 ? Seen::touched : Seen::idle;
            if (seen[i] != expected) {
                return fail(ENOTSUP,
                            "read-write protection misreports page %llu of a trial: not usable",
                            static_cast<unsigned long long>(i));
            }
        }
        return {};
    }

    Descriptor uffd_;
    Descriptor pagemap_;
    double fault_ns_ = 0;
    std::map<uint64_t, double> armed_at_s_;
};

}  // namespace

Result<std::unique_ptr<Sampler>> make_rwp_sampler() {
    auto uffd = open_uffd(UFFD_FEATURE_RWP | UFFD_FEATURE_RWP_ASYNC);
    if (!uffd) {
        // Without any feature it opens on every kernel that has userfaultfd: tells the two apart.
        auto plain = open_uffd(0);
        if (!plain) return std::unexpected(plain.error());
        return fail(EOPNOTSUPP,
                    "this kernel's userfaultfd has no read-write protection: it needs Linux 7.3");
    }
    Descriptor pagemap(open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC));
    if (pagemap.get() < 0) {
        return fail(errno, "/proc/self/pagemap: %s", errno_text(errno).c_str());
    }
    auto sampler = std::make_unique<RwpSampler>(std::move(*uffd), std::move(pagemap));
    if (auto tried = sampler->calibrate(); !tried) return std::unexpected(tried.error());
    return sampler;
}

Result<void> probe_rwp() {
    auto sampler = make_rwp_sampler();
    if (!sampler) return std::unexpected(sampler.error());
    return {};
}

}  // namespace libpool
