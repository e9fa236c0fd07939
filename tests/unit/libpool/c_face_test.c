/* SPDX-License-Identifier: Apache-2.0 */
/* A C program against the shared library, on any machine: reads the topology, allocates in tier 0,
 * and gets either a running tiering or one sentence on why there is none. */
#define _GNU_SOURCE /* setenv */
#include <errno.h>
#include <pool/pool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(condition)                                                              \
    do {                                                                              \
        if (!(condition)) {                                                           \
            fprintf(stderr, "line %d: %s does not hold (%s)\n", __LINE__, #condition, \
                    pool_last_error());                                               \
            exit(1);                                                                  \
        }                                                                             \
    } while (0)

int main(void) {
    pool_topology* topology = NULL;
    CHECK(strcmp(pool_version(), "0.2") == 0);
    CHECK(pool_topology_read(NULL, &topology) == 0);
    CHECK(pool_topology_node_count(topology) >= 1);
    CHECK(strlen(pool_topology_reason(topology)) > 0);
    int node = pool_topology_node(topology, 0);
    CHECK(pool_topology_node_value(topology, node, POOL_NODE_TOTAL_BYTES) > 0);
    CHECK(pool_topology_node(topology, 5000) == -ENOENT);
    printf("%zu tiers: %s\n", pool_topology_tier_count(topology), pool_topology_reason(topology));

    pool_arena* arena = NULL;
    CHECK(pool_arena_create(topology, 99, 4096, POOL_ARENA_PREFER, &arena) == -EINVAL);
    CHECK(arena == NULL && strstr(pool_last_error(), "no tier 99"));
    CHECK(pool_arena_create(topology, 0, 0, POOL_ARENA_PREFER, &arena) == -EINVAL);
    CHECK(pool_arena_create(topology, 0, 5000, POOL_ARENA_SMALL | POOL_ARENA_POPULATE, &arena) ==
          0);
    CHECK(pool_arena_size_bytes(arena) == 2u << 20);
    int where[512];
    CHECK(pool_where(pool_arena_base(arena), 512, where) == 0);
    for (int i = 0; i < 512; ++i) CHECK(pool_topology_node_tier(topology, where[i]) == 0);

    pool_arena* other = NULL;
    unsigned weight = 3;
    CHECK(pool_arena_create_growing(topology, 0, 4096, 5u << 20, POOL_ARENA_SMALL, &other) == 0);
    CHECK(pool_arena_most_bytes(other) == 6u << 20 && pool_arena_grain_bytes(other) == 0);
    CHECK(pool_arena_grow(other, 4u << 20) == 0 && pool_arena_size_bytes(other) == 6u << 20);
    memset(pool_arena_base(other), 1, pool_arena_size_bytes(other));
    CHECK(pool_arena_grow(other, 1) == -ENOMEM && strstr(pool_last_error(), "made for 6 MiB"));
    pool_arena_destroy(other);
    CHECK(pool_arena_create_weighted(topology, &node, &weight, 1, 1u << 20, 0, 0, &other) == 0);
    CHECK(pool_arena_grain_bytes(other) == 2u << 20);
    pool_arena_destroy(other);
    weight = 256;
    CHECK(pool_arena_create_weighted(topology, &node, &weight, 1, 4096, 0, 0, &other) == -EINVAL);
    CHECK(strstr(pool_last_error(), "must be 1 to 255"));

    CHECK(pool_topology_declare(topology, &node, 1, &node, 1) == -EINVAL);
    CHECK(pool_topology_declare(topology, &node, 1, NULL, 0) == -EINVAL);
    int missing = 1000;
    CHECK(pool_topology_declare(topology, &node, 1, &missing, 1) == -ENOENT);
    CHECK(setenv("POOL_TIERS", "near=0 near=1", 1) == 0);
    pool_topology* unread = NULL;
    CHECK(pool_topology_read(NULL, &unread) == -EINVAL && unread == NULL);
    CHECK(strstr(pool_last_error(), "POOL_TIERS: near is there twice"));
    CHECK(unsetenv("POOL_TIERS") == 0);
    if (pool_topology_measure(topology) == 0) {
        CHECK(pool_topology_source(topology) == POOL_TIERS_MEASURED);
        CHECK(pool_topology_node_value(topology, node, POOL_NODE_LOAD_NS) > 0);
    }

    pool_tiering* tiering = NULL;
    int rc = pool_tiering_start(topology, NULL, &tiering);
    if (rc == 0) {
        CHECK(pool_tiering_add(tiering, pool_arena_base(arena), pool_arena_size_bytes(arena)) == 0);
        CHECK(pool_tiering_add(tiering, pool_arena_base(arena), 4096) == -EEXIST);
        CHECK(pool_tiering_remove(tiering, pool_arena_base(arena)) == 0);
        pool_tiering_stop(tiering);
    } else {
        CHECK(tiering == NULL && strlen(pool_last_error()) > 10);
        printf("no tiering here: %s\n", pool_last_error());
    }
    pool_arena_destroy(arena);
    pool_topology_free(topology);
    return 0;
}
