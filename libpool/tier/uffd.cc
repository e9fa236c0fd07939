// SPDX-License-Identifier: Apache-2.0
#include "tier/uffd.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "uapi.h"

namespace libpool::tier {

const UffdKind rwp_kind = {
    .name = "rwp",
    .what = "read-write protection",
    .since = "7.3",
    .features = UFFD_FEATURE_RWP | UFFD_FEATURE_RWP_ASYNC,
    .register_mode = UFFDIO_REGISTER_MODE_RWP,
    .protect = UFFDIO_RWPROTECT,
    .protect_mode = UFFDIO_RWPROTECT_MODE_RWP,
    .touched_category = PAGE_IS_ACCESSED,
    .writes_only = false,
};

const UffdKind wp_kind = {
    .name = "wp",
    .what = "write protection",
    .since = "6.7",
    .features = UFFD_FEATURE_WP_ASYNC,
    .register_mode = UFFDIO_REGISTER_MODE_WP,
    .protect = UFFDIO_WRITEPROTECT,
    .protect_mode = UFFDIO_WRITEPROTECT_MODE_WP,
    .touched_category = PAGE_IS_WRITTEN,
    .writes_only = true,
};

namespace {

constexpr int again_limit = 64;  // EAGAIN while the address space is changing

// An unsupported feature gives EINVAL and spoils the descriptor: each question gets one of its own.
Result<Descriptor> open_with(uint64_t features) {
    Descriptor uffd(int(syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY)));
    if (!uffd) {
        int code = errno;
        const char* hint = code == EPERM    ? " (a container's seccomp profile may refuse it)"
                           : code == ENOSYS ? " (the kernel is built without it)"
                                            : "";
        return fail(code, "userfaultfd: %s%s", errno_text(code).c_str(), hint);
    }
    uffdio_api api{};
    api.api = UFFD_API;
    api.features = features;
    if (ioctl(uffd.get(), UFFDIO_API, &api) < 0) {
        int code = errno;
        return fail(code, "userfaultfd refuses features 0x%llx: %s",
                    static_cast<unsigned long long>(features), errno_text(code).c_str());
    }
    return uffd;
}

template <typename Arg>
int request(const Descriptor& uffd, unsigned long what, Arg& arg) {
    for (int tries = 0; tries < again_limit; ++tries) {
        if (ioctl(uffd.get(), what, &arg) == 0) return 0;
        if (errno != EAGAIN && errno != EINTR) break;
    }
    return errno;
}

}  // namespace

Result<Descriptor> open_uffd(const UffdKind& kind) {
    auto uffd = open_with(kind.features);
    if (uffd) {
        uffd->lift();
        return uffd;
    }
    // Without any feature it opens on every kernel that has userfaultfd: tells the two apart.
    if (auto plain = open_with(0); !plain) return std::unexpected(plain.error());
    return fail(EOPNOTSUPP, "this kernel's userfaultfd has no asynchronous %s: it needs Linux %s",
                kind.what, kind.since);
}

int register_pages(const Descriptor& uffd, const UffdKind& kind, const AddressRun& run) {
    uffdio_register arg{};
    arg.range = {run.start, run.pages * page_bytes};
    arg.mode = kind.register_mode;
    return request(uffd, UFFDIO_REGISTER, arg);
}

int unregister_pages(const Descriptor& uffd, const AddressRun& run) {
    uffdio_range arg{run.start, run.pages * page_bytes};
    return request(uffd, UFFDIO_UNREGISTER, arg);
}

int protect_pages(const Descriptor& uffd, const UffdKind& kind, const AddressRun& run,
                  uint64_t mode) {
    // uffdio_writeprotect and uffdio_rwprotect are the same two fields.
    static_assert(sizeof(uffdio_rwprotect) == sizeof(uffdio_writeprotect));
    uffdio_rwprotect arg{};
    arg.range = {run.start, run.pages * page_bytes};
    arg.mode = mode;
    return request(uffd, kind.protect, arg);
}

}  // namespace libpool::tier
