/* Slabs carved into a free list that is threaded through the objects themselves. See pool.h. */
#include "common/base/pool.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"

struct pool_slab {
    struct pool_slab *next;
    _Alignas(16) uint8_t data[];
};

void pool_init(struct pool *p, size_t object_bytes, uint32_t slab_objects, uint32_t limit_objects)
{
    CHECK(object_bytes > 0 && slab_objects > 0);
    *p = (struct pool){.object_bytes = (object_bytes + 15) & ~(size_t)15,
                       .slab_objects = slab_objects,
                       .limit_objects = limit_objects};
}

void pool_deinit(struct pool *p)
{
    while (p->slabs) {
        struct pool_slab *next = p->slabs->next;
        free(p->slabs);
        p->slabs = next;
    }
    p->free_list = NULL;
    p->made = p->in_use = 0;
}

static int slab_add(struct pool *p)
{
    uint32_t n = p->slab_objects;
    if (n > p->limit_objects - p->made)
        n = p->limit_objects - p->made;
    if (n == 0)
        return ST_LIMIT;
    struct pool_slab *slab = malloc(sizeof *slab + n * p->object_bytes);
    if (!slab)
        return -ENOMEM;
    slab->next = p->slabs;
    p->slabs = slab;
    for (uint32_t i = n; i-- > 0;) {
        void *object = slab->data + i * p->object_bytes;
        memcpy(object, &p->free_list, sizeof(void *));
        p->free_list = object;
    }
    p->made += n;
    return 0;
}

void *pool_get(struct pool *p)
{
    if (!p->free_list && slab_add(p) < 0)
        return NULL;
    void *object = p->free_list;
    memcpy(&p->free_list, object, sizeof(void *));
    memset(object, 0, p->object_bytes);
    p->in_use++;
    return object;
}

void pool_put(struct pool *p, void *object)
{
    if (!object)
        return;
    CHECK(p->in_use > 0);
    memcpy(object, &p->free_list, sizeof(void *));
    p->free_list = object;
    p->in_use--;
}
