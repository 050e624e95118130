/*
 * A bounded pool of equal objects: get and put are O(1) and touch no malloc once a slab exists. Running out (the limit,
 * or memory) returns NULL, which the caller answers as a designed refusal. Objects come zeroed. One thread.
 */
#ifndef SLUICE_BASE_POOL_H
#define SLUICE_BASE_POOL_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/status.h"

struct pool_slab;

struct pool {
    size_t object_bytes;
    uint32_t slab_objects, limit_objects;
    uint32_t made, in_use;
    struct pool_slab *slabs;
    void *free_list;
};

/* Slabs of `slab_objects` are allocated as needed until `limit_objects` exist. */
void pool_init(struct pool *p, size_t object_bytes, uint32_t slab_objects, uint32_t limit_objects);
/* Frees all slabs; every object must have been put back or be forgotten. */
void pool_deinit(struct pool *p);
void *pool_get(struct pool *p) must_use;
/* NULL is allowed. */
void pool_put(struct pool *p, void *object);

#endif
