/* SPDX-License-Identifier: Apache-2.0
 * What the plugin, the programs in a guest and libpool's truth sampler share: the head of a file
 * that is at once RUN/<host>/shared.mem on this machine and BAR 2 of an ivshmem device in the
 * guest.
 *
 * The guest asks (command and its arguments, then request + 1) and waits until answer == request.
 * Counters only ever grow and wrap; whoever reads takes differences.
 */
#ifndef POOLTRUTH_H
#define POOLTRUTH_H

#include <stdint.h>

#define POOLTRUTH_MAGIC "pooltru1"
#define POOLTRUTH_COUNTS_AT 4096
#define POOLTRUTH_PAGE_BYTES 4096
#define POOLTRUTH_MAX_VCPUS 16

enum pooltruth_command {
    POOLTRUTH_START = 1, /* count accesses to a range from now on */
    POOLTRUTH_STOP = 2,  /* end the range, finish its files */
};

enum pooltruth_flags {
    POOLTRUTH_TRACE = 1, /* write LABEL.trace beside LABEL.csv */
};

struct pooltruth_head {
    char magic[8];
    uint64_t pages;         /* of the range; before the first one: room for counters */
    uint64_t first_address; /* virtual, of page 0; 0: no range */
    uint64_t reserved[5];
    uint32_t request;
    uint32_t answer;
    uint64_t command;
    uint64_t want_address;
    uint64_t want_pages;
    uint64_t epoch_ns;
    uint64_t flags;
    char label[64]; /* [a-z0-9.-], the files' name */
    uint64_t reserved2[2];
    char error[128]; /* why the request was refused, or empty */
    uint64_t near_accesses[POOLTRUTH_MAX_VCPUS];
    uint64_t far_accesses[POOLTRUTH_MAX_VCPUS];
};
/* uint32_t counts[pages] at POOLTRUTH_COUNTS_AT */

#ifdef __cplusplus
#define POOLTRUTH_CHECK static_assert
#else
#define POOLTRUTH_CHECK _Static_assert
#endif
POOLTRUTH_CHECK(__builtin_offsetof(struct pooltruth_head, request) == 64, "layout");
POOLTRUTH_CHECK(__builtin_offsetof(struct pooltruth_head, label) == 112, "layout");
POOLTRUTH_CHECK(__builtin_offsetof(struct pooltruth_head, error) == 192, "layout");
POOLTRUTH_CHECK(__builtin_offsetof(struct pooltruth_head, far_accesses) == 448, "layout");

#endif
