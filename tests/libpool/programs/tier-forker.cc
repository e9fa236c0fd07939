// SPDX-License-Identifier: Apache-2.0
// Has some memory, forks one child that lives on, and waits to be ended.
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <vector>

int main() {
    std::vector<char> memory(8 << 20, 'x');
    if (fork() == 0) prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (size_t i = 0;; i = (i + 4096) % memory.size()) {
        ++memory[i];
        if (i == 0) usleep(10000);
    }
}
