// SPDX-License-Identifier: Apache-2.0
// Sends one command through a CXL device's mailbox behind the driver's back, so that
// tests see what the driver does about a device that is not as it left it. The driver
// must be idle: nothing serialises the two.
//
//   mbox BDF refuse               0x4802 with no extent: refuses the oldest offer
//   mbox BDF forget DPA LEN       0x4803: gives an extent back
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CAPABILITY_MAILBOX = 2, DOORBELL = 1 };

static void die(const char* what) {
    fprintf(stderr, "mbox: %s: %s\n", what, strerror(errno));
    exit(1);
}

// The device registers are at the start of BAR 2 in QEMU's device.
static volatile uint8_t* find_mailbox(const char* bdf) {
    char path[128];

    snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/resource2", bdf);
    struct stat bar;
    int fd = open(path, O_RDWR);
    if (fd < 0 || fstat(fd, &bar)) die(path);
    volatile uint8_t* regs = mmap(NULL, bar.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (regs == MAP_FAILED) die("mmap");
    for (int i = 1; i < 16; i++) {
        volatile uint32_t* capability = (volatile uint32_t*)(regs + 16 * i);

        if ((capability[0] & 0xffff) == CAPABILITY_MAILBOX) return regs + capability[1];
    }
    die("no mailbox");
    return NULL;
}

// The device's return code.
static int send(volatile uint8_t* mailbox, uint64_t opcode, const uint64_t* in, uint64_t words) {
    for (uint64_t i = 0; i < words; i++) *(volatile uint64_t*)(mailbox + 0x20 + 8 * i) = in[i];
    *(volatile uint64_t*)(mailbox + 0x08) = opcode | (8 * words) << 16;
    *(volatile uint32_t*)(mailbox + 0x04) = DOORBELL;
    while (*(volatile uint32_t*)(mailbox + 0x04) & DOORBELL) usleep(100);
    return *(volatile uint64_t*)(mailbox + 0x10) >> 32 & 0xffff;
}

int main(int argc, char** argv) {
    int code;

    if (argc == 3 && !strcmp(argv[2], "refuse")) {
        code = send(find_mailbox(argv[1]), 0x4802, (uint64_t[]){0}, 1);
    } else if (argc == 5 && !strcmp(argv[2], "forget")) {
        uint64_t in[] = {1, strtoull(argv[3], NULL, 0), strtoull(argv[4], NULL, 0), 0};

        code = send(find_mailbox(argv[1]), 0x4803, in, 4);
    } else {
        fprintf(stderr, "usage: see the head of mbox.c\n");
        return 2;
    }
    if (code) fprintf(stderr, "mbox: the device answered code %#x\n", code);
    return code ? 1 : 0;
}
