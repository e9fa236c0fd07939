// SPDX-License-Identifier: Apache-2.0
/*
 * relay SOCKET: connects stdin and stdout to a Unix socket.
 *
 * QEMU starts one for each connection that the guest makes to 10.0.2.100:7000; it is the guest's
 * only way out. It runs inside QEMU's jail, as QEMU's user and under its seccomp filter.
 */
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { LINGER_MS = 1000 };

/* False = nothing more will come from `from`, or `to` takes no more. */
static bool pass_on(int from, int to) {
    static char data[32 << 10];
    ssize_t n = read(from, data, sizeof(data));

    for (ssize_t done = 0, w; done < n; done += w) {
        w = write(to, data + done, n - done);
        if (w <= 0) return false;
    }
    return n > 0;
}

int main(int argc, char** argv) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    if (argc != 2 || strlen(argv[1]) >= sizeof(address.sun_path)) return 2;
    strcpy(address.sun_path, argv[1]);
    /* No daemon there: ending closes the guest's connection, which is what it should see. */
    if (fd < 0 || connect(fd, (struct sockaddr*)&address, sizeof(address))) return 1;

    struct pollfd p[2] = {{.fd = 0, .events = POLLIN}, {.fd = fd, .events = POLLIN}};

    while (p[1].fd >= 0) {
        int ready = poll(p, 2, p[0].fd < 0 ? LINGER_MS : -1);

        if (ready <= 0) return ready < 0;
        if (p[0].revents && !pass_on(0, fd)) {
            shutdown(fd, SHUT_WR);
            p[0].fd = -1;
        }
        if (p[1].revents && !pass_on(fd, 1)) p[1].fd = -1;
    }
    return 0;
}
