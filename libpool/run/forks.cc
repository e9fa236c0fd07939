// SPDX-License-Identifier: Apache-2.0
#include "run/forks.h"

#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>

#include "error.h"

namespace libpool::run {

Forks::Forks() {
    void* page =
        mmap(nullptr, sizeof(Page), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (page != MAP_FAILED) page_ = static_cast<Page*>(page);  // zeros are what it starts with
}

Forks::~Forks() {
    if (page_) munmap(page_, sizeof(Page));
}

void Forks::i_am_a_child() {
    if (page_) page_->pids[page_->count++ % listed] = getpid();
}

std::string Forks::describe() const {
    if (!page_ || page_->count == 0) return "";
    std::string alive;
    size_t shown = 0;
    for (size_t i = 0; i < std::min<uint64_t>(page_->count, listed); ++i) {
        pid_t pid = page_->pids[i];
        if (pid <= 0 || (kill(pid, 0) != 0 && errno == ESRCH)) continue;
        if (shown++ < 8) alive += text("%s%d", alive.empty() ? "" : ", ", int(pid));
    }
    std::string said = text("%llu forked so far, not tracked",
                            static_cast<unsigned long long>(page_->count.load()));
    if (shown) said += "; alive: " + alive + (shown > 8 ? ", …" : "");
    return said;
}

}  // namespace libpool::run
