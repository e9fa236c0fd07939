// SPDX-License-Identifier: Apache-2.0
// without-syscalls NUMBER[,NUMBER…] CMD…: runs a command as a container's seccomp profile would, in
// which these system calls fail with EPERM.
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <vector>

int main(int argc, char** argv) {
    if (argc < 3) return std::fputs("usage: without-syscalls NUMBER[,NUMBER…] CMD…\n", stderr), 2;
    std::vector<sock_filter> program = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr))};
    for (char* at = argv[1]; *at;) {
        auto number = static_cast<unsigned>(std::strtoul(at, &at, 10));
        program.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1));
        program.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | 1));
        if (*at) ++at;
    }
    program.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
    sock_fprog filter{static_cast<unsigned short>(program.size()), program.data()};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0) {
        return std::perror("seccomp"), 1;
    }
    execvp(argv[2], argv + 2);
    return std::perror(argv[2]), 127;
}
