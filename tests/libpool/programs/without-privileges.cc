// SPDX-License-Identifier: Apache-2.0
// without-privileges CMD…: runs a command as user 65534, who has no capabilities and can get none.
#include <grp.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

int main(int argc, char** argv) {
    constexpr unsigned nobody = 65534;
    if (argc < 2) return std::fputs("usage: without-privileges CMD…\n", stderr), 2;
    for (int capability = 0; prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) == 0; ++capability) {
    }
    if (errno != EINVAL || setgroups(0, nullptr) != 0 || setresgid(nobody, nobody, nobody) != 0 ||
        setresuid(nobody, nobody, nobody) != 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
        return std::perror("without-privileges"), 1;
    }
    execvp(argv[1], argv + 1);
    return std::perror(argv[1]), 127;
}
