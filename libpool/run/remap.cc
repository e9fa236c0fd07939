// SPDX-License-Identifier: Apache-2.0
#include "run/remap.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "tier/descriptor.h"
#include "uapi.h"

#ifndef MREMAP_DONTUNMAP  // Linux 5.7
#define MREMAP_DONTUNMAP 4
#endif

namespace libpool::run {

namespace {

// The tracking may begin or end between a look at the borders and a move.
constexpr int again_limit = 64;
constexpr uint64_t address_limit = 1ull << 56;

struct Request {
    uint64_t old, old_bytes, new_bytes;
    int flags;
    uint64_t to;
    bool has(int flag) const { return flags & flag; }
};

void* pointer(uint64_t address) { return reinterpret_cast<void*>(address); }

void* ask_kernel(const Request& asked) {
    return pointer(uint64_t(
        syscall(SYS_mremap, asked.old, asked.old_bytes, asked.new_bytes, asked.flags, asked.to)));
}

struct Part {
    uint64_t start = 0, bytes = 0;
    int rights = 0;      // PROT_*
    bool plain = false;  // private, anonymous, readable and writable
};

// mremap() is no place where a thread is cancelled; to open and to close is.
class NotCancelled {
  public:
    NotCancelled() { pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before_); }
    ~NotCancelled() { pthread_setcancelstate(before_, nullptr); }
    NotCancelled(const NotCancelled&) = delete;
    NotCancelled& operator=(const NotCancelled&) = delete;

  private:
    int before_ = PTHREAD_CANCEL_ENABLE;
};

// The program's mappings, asked for one by one: no memory of ours is taken, which might come to lie
// just where the program has made room.
class Mappings {
  public:
    Mappings() : maps_(open("/proc/thread-self/maps", O_RDONLY | O_CLOEXEC)) {}

    struct Stretch {
        uint64_t bytes = 0;  // from where it was asked for
        Part first, last;    // of it
    };
    // How much of [start, end) would be one mapping without the tracking.
    Stretch from(uint64_t start, uint64_t end) const {
        Stretch stretch;
        for (uint64_t at = start; at < end;) {
            const Part next = first(at, end);
            if (at == start) stretch.first = next;
            if (!next.plain || next.rights != stretch.first.rights) break;
            stretch.last = next;
            at += next.bytes;
            stretch.bytes = at - start;
        }
        return stretch;
    }

    // What lies at `start`, up to `end`; no bytes if nothing does.
    Part first(uint64_t start, uint64_t end) const {
        procmap_query asked{};
        asked.size = sizeof asked;
        asked.query_addr = start;
        if (ioctl(maps_.get(), PROCMAP_QUERY, &asked) != 0) return {};
        auto has = [&](uint64_t flag) { return (asked.vma_flags & flag) != 0; };
        const bool reads = has(PROCMAP_QUERY_VMA_READABLE),
                   writes = has(PROCMAP_QUERY_VMA_WRITABLE);
        return {start, std::min<uint64_t>(asked.vma_end, end) - start,
                (reads ? PROT_READ : 0) | (writes ? PROT_WRITE : 0) |
                    (has(PROCMAP_QUERY_VMA_EXECUTABLE) ? PROT_EXEC : 0),
                reads && writes && asked.inode == 0 && !has(PROCMAP_QUERY_VMA_SHARED)};
    }

    bool is_reserved(uint64_t start, uint64_t end) const {
        for (uint64_t at = start; at < end;) {
            const Part next = first(at, end);
            if (next.bytes == 0 || next.rights != 0) return false;
            at += next.bytes;
        }
        return true;
    }

    // How much from `start` on is no longer as reserve() made it.
    uint64_t moved_to(uint64_t start, uint64_t end) const {
        uint64_t at = start;
        for (Part next = first(at, end); at < end && next.rights != 0; next = first(at, end)) {
            at += next.bytes;
        }
        return at - start;
    }

  private:
    tier::Descriptor maps_;
};

bool map_at(uint64_t start, uint64_t bytes, int rights, int flags) {
    return mmap(pointer(start), bytes, rights, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | flags, -1,
                0) != MAP_FAILED;
}

// Nobody else maps anything there, and nothing of it can be taken for what was moved there.
bool reserve(uint64_t start, uint64_t bytes) {
    return map_at(start, bytes, PROT_NONE, MAP_NORESERVE);
}

// What stays mapped where a part was.
enum class Leaves {
    always,   // the program has asked for it
    if_many,  // so that nobody else maps anything there; not where there is only one part
    never,    // on the way back
};

// Moves part after part to what is reserved at `to`; the last one gets `more` bytes behind it. What
// they leave stays mapped (but for the last one's if it grows, and where there is only one: limits
// would count it twice), so that nobody else maps anything there: they may have to return. Each
// part goes whole, or a piece of it: a kernel from 6.17 on moves several mappings one by one to a
// fixed place, and stops at the first that is tracked.
struct Move {
    const Mappings& mappings;
    uint64_t from, bytes, more, to;
    Leaves leaves;
    uint64_t done = 0;  // bytes that are at `to`
    uint64_t left = 0;  // bytes from `from` on whose old place is still mapped
    Part spoilt{};      // of `to`: what a move that failed may have unmapped

    bool run() {
        int failures = 0;
        while (done < bytes) {
            const Part part = mappings.first(from + done, from + bytes);
            if (part.bytes == 0) return errno = EFAULT, false;
            const bool grows = more > 0 && done + part.bytes == bytes;
            const uint64_t wanted = part.bytes + (grows ? more : 0);
            const bool stays = !grows && (leaves == Leaves::always ||
                                          (leaves == Leaves::if_many && part.bytes < bytes));
            const int flags = MREMAP_MAYMOVE | MREMAP_FIXED | (stays ? MREMAP_DONTUNMAP : 0);
            if (ask_kernel({part.start, part.bytes, wanted, flags, to + done}) != MAP_FAILED) {
                done += part.bytes;
                if (stays) left = done;
                continue;
            }
            const int code = errno;
            const uint64_t end = to + done + wanted;
            uint64_t moved = grows ? 0 : mappings.moved_to(to + done, to + done + part.bytes);
            if (moved == part.bytes) moved = 0;  // the call failed: another thread's, in the gap
            if (moved > 0 && !stays && leaves != Leaves::never) reserve(part.start, moved);
            left = done += moved;
            spoilt =
                mappings.is_reserved(to + done, end) ? Part{} : Part{to + done, end - to - done};
            if (code != EFAULT || ++failures == again_limit) return errno = code, false;
        }
        return true;
    }
    // All are where they were. The room at `to` is given back; first what nothing was moved to, so
    // that the way back needs no more mappings, memory or locked memory than the way here did.
    void undo() {
        const int code = errno;
        const uint64_t end = to + bytes + more;
        const uint64_t before = std::max(spoilt.start, to + done);
        const uint64_t behind = std::max(spoilt.start + spoilt.bytes, to + done);
        if (before > to + done) munmap(pointer(to + done), before - (to + done));
        if (behind < end) munmap(pointer(behind), end - behind);
        if (done > 0) {
            reserve(from, done);  // where that is refused, it goes over what was left there
            Move back{mappings, to, done, 0, from, Leaves::never};
            if (!back.run()) copy_back(back.done);
        }
        errno = code;
    }
    // The kernel may have no mapping left for a move (vm.max_map_count).
    void copy_back(uint64_t returned) const {
        const uint64_t source = to + returned, target = from + returned, rest = done - returned;
        const int rights = PROT_READ | PROT_WRITE | mappings.first(source, to + done).rights;
        if (mprotect(pointer(source), rest, rights) != 0 || !map_at(target, rest, rights, 0))
            return;
        std::memcpy(pointer(target), pointer(source), rest);
        munmap(pointer(source), rest);
    }
};

// What is too much of the old place is gone then, as after a call of the kernel's: also from what
// is asked.
void* move_parts(const Mappings& mappings, Request& asked, uint64_t more) {
    const uint64_t bytes = asked.new_bytes - more;
    uint64_t to = asked.to;
    if (asked.has(MREMAP_FIXED)) {
        if (!reserve(to, asked.new_bytes)) return MAP_FAILED;
    } else {
        void* room = mmap(pointer(to), asked.new_bytes, PROT_NONE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (room == MAP_FAILED) return room;
        to = reinterpret_cast<uint64_t>(room);
    }
    Move move{mappings, asked.old, bytes,
              more,     to,        asked.has(MREMAP_DONTUNMAP) ? Leaves::always : Leaves::if_many};
    const uint64_t rest = asked.old_bytes - bytes;
    const bool cut = rest == 0 || munmap(pointer(asked.old + bytes), rest) == 0;
    if (cut) asked.old_bytes = bytes;
    if (!cut || !move.run()) {
        move.undo();
        return MAP_FAILED;
    }
    if (!asked.has(MREMAP_DONTUNMAP) && move.left > 0) munmap(pointer(asked.old), move.left);
    return pointer(to);
}

void* remap_parts(const Mappings& mappings, Request& asked, const Part& last) {
    const uint64_t more = asked.new_bytes - std::min(asked.old_bytes, asked.new_bytes);
    if (asked.flags & (MREMAP_FIXED | MREMAP_DONTUNMAP)) return move_parts(mappings, asked, more);
    // As the kernel, where it is if there is room behind it.
    if (ask_kernel({last.start, last.bytes, last.bytes + more, 0, 0}) != MAP_FAILED) {
        return pointer(asked.old);
    }
    return errno == ENOMEM && asked.has(MREMAP_MAYMOVE) ? move_parts(mappings, asked, more)
                                                        : MAP_FAILED;
}

bool can_be_parts(const Request& asked) {
    const uint64_t most = std::max({asked.old, asked.old_bytes, asked.new_bytes, asked.to});
    if ((asked.old | asked.to) % page_bytes || most >= address_limit) return false;
    if (!asked.old_bytes || !asked.new_bytes) return false;
    if (asked.flags & ~(MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP)) return false;
    const bool moves = asked.flags & (MREMAP_FIXED | MREMAP_DONTUNMAP);
    if (moves && !asked.has(MREMAP_MAYMOVE)) return false;
    if (asked.has(MREMAP_DONTUNMAP) && asked.new_bytes != asked.old_bytes) return false;
    if (!moves && asked.new_bytes < asked.old_bytes) return false;
    const bool apart =
        asked.to >= asked.old + asked.old_bytes || asked.old >= asked.to + asked.new_bytes;
    return apart || !asked.has(MREMAP_FIXED);
}

uint64_t whole_pages(uint64_t bytes) { return (bytes + page_bytes - 1) & ~(page_bytes - 1); }

}  // namespace

void* remap(void* old, size_t old_bytes, size_t new_bytes, int flags, void* to) {
    Request asked{reinterpret_cast<uint64_t>(old), whole_pages(old_bytes), whole_pages(new_bytes),
                  flags, reinterpret_cast<uint64_t>(to)};
    const bool by_parts = can_be_parts(asked);
    const bool fixed = asked.has(MREMAP_FIXED);
    const int errno_before = errno;
    if (!by_parts || !fixed || !is_tracked) {
        void* at = ask_kernel(asked);
        if (!by_parts || at != MAP_FAILED || errno != EFAULT) return at;
    }
    const NotCancelled until_done;
    const Mappings mappings;
    const uint64_t kept = std::min(asked.old_bytes, asked.new_bytes);
    bool unlike = false;  // several mappings that are none without the tracking either
    for (int tries = 0; tries < again_limit; ++tries) {
        const auto stretch = mappings.from(asked.old, asked.old + kept);
        unlike = stretch.bytes < kept && stretch.first.bytes > 0 && stretch.first.bytes < kept;
        if (stretch.bytes < kept) break;
        void* at = remap_parts(mappings, asked, stretch.last);
        if (at != MAP_FAILED) {
            errno = errno_before;
            return at;
        }
        // By parts takes more for a moment (address space, locked memory): not where one call does.
        if (errno != EFAULT && fixed && stretch.first.bytes == kept) break;
        if (errno != EFAULT) return at;
    }
    if (unlike && fixed && is_tracked) return errno = EFAULT, MAP_FAILED;
    return ask_kernel(asked);
}

}  // namespace libpool::run
