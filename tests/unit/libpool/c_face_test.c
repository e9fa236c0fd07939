/* SPDX-License-Identifier: Apache-2.0 */
/* A C program against the shared library, on any machine: reads the topology, allocates in tier 0,
 * and gets either a running tiering or one sentence on why there is none. */
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
    CHECK(strcmp(pool_version(), "0.1") == 0);
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
