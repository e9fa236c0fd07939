// SPDX-License-Identifier: Apache-2.0
// Holds memory of a guest in a chosen way until its standard input ends, so that
// tests see what the driver does about memory in use. Prints "ready" once it holds.
//
//   hold node NODE MIB            anonymous pages bound to a NUMA node, each written
//   hold pin NODE MIB             the same, with references that keep pages from moving
//   hold fill DEV MIB WORD        a dax device, filled with WORD over and over
//   hold map DEV MIB              a dax device, mapped and not touched
//   hold open DEV                 a dax device, open and not mapped
//   hold read DEV WORD            no holding: exit 0 if the device starts with WORD
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static const size_t mib = 1 << 20;

static void die(const char* what) {
    fprintf(stderr, "hold: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void* map_device(const char* path, size_t bytes) {
    int fd = open(path, O_RDWR);

    if (fd < 0) die(path);
    void* at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED) die("mmap");
    close(fd);
    return at;
}

static char* hold_node(int node, size_t bytes) {
    const int mpol_bind = 2;
    unsigned long mask = 1UL << node;
    char* at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (at == MAP_FAILED) die("mmap");
    if (syscall(SYS_mbind, at, bytes, mpol_bind, &mask, 64UL, 0UL)) die("mbind");
    for (size_t i = 0; i < bytes; i += 4096) at[i] = 1;
    return at;
}

// Pages in a pipe are referenced, not mapped: the kernel cannot move them.
static void pin(char* at, size_t bytes) {
    struct iovec piece = {.iov_base = at, .iov_len = bytes < 16 * 4096 ? bytes : 16 * 4096};
    int ends[2];

    if (pipe(ends) || vmsplice(ends[1], &piece, 1, 0) < 0) die("vmsplice");
}

int main(int argc, char** argv) {
    const char* how = argc > 2 ? argv[1] : "";
    size_t bytes = argc > 3 ? strtoul(argv[3], NULL, 10) * mib : 0;

    if (!strcmp(how, "node") && argc == 4) {
        hold_node(atoi(argv[2]), bytes);
    } else if (!strcmp(how, "pin") && argc == 4) {
        pin(hold_node(atoi(argv[2]), bytes), bytes);
    } else if (!strcmp(how, "fill") && argc == 5) {
        char* at = map_device(argv[2], bytes);
        size_t len = strlen(argv[4]);

        /* 8 bytes at a time: each access is a trap in the emulator */
        for (size_t i = 0; i < bytes; i += 8) {
            char word[8];

            for (size_t j = 0; j < sizeof(word); j++) word[j] = argv[4][(i + j) % len];
            *(volatile unsigned long*)(at + i) = *(unsigned long*)word;
        }
    } else if (!strcmp(how, "map") && argc == 4) {
        map_device(argv[2], bytes);
    } else if (!strcmp(how, "open") && argc == 3) {
        if (open(argv[2], O_RDWR) < 0) die(argv[2]);
    } else if (!strcmp(how, "read") && argc == 4) {
        return memcmp(map_device(argv[2], 2 * mib), argv[3], strlen(argv[3])) ? 1 : 0;
    } else {
        fprintf(stderr, "usage: see the head of hold.c\n");
        return 2;
    }
    puts("ready");
    fflush(stdout);
    while (read(0, &(char){0}, 1) > 0)
        ;
    return 0;
}
