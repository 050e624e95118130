/* Chunks in a list, newest last; only the newest is allocated from. See arena.h. */
#include "common/base/arena.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

struct arena_chunk {
    struct arena_chunk *next;
    size_t cap, used;
    _Alignas(16) uint8_t data[];
};

void arena_init(struct arena *a, size_t chunk_bytes, size_t limit_bytes)
{
    *a = (struct arena){.limit_bytes = limit_bytes, .chunk_bytes = chunk_bytes};
}

static void chunks_free(struct arena_chunk *c)
{
    while (c) {
        struct arena_chunk *next = c->next;
        free(c);
        c = next;
    }
}

void arena_deinit(struct arena *a)
{
    chunks_free(a->first);
    a->first = a->current = NULL;
    a->used_bytes = 0;
}

void arena_reset(struct arena *a)
{
    if (a->first) {
        chunks_free(a->first->next);
        a->first->next = NULL;
        a->first->used = 0;
    }
    a->current = a->first;
    a->used_bytes = 0;
}

static struct arena_chunk *chunk_add(struct arena *a, size_t need)
{
    size_t cap = need > a->chunk_bytes ? need : a->chunk_bytes;
    struct arena_chunk *c = malloc(sizeof *c + cap);
    if (!c)
        return NULL;
    *c = (struct arena_chunk){.cap = cap};
    if (a->current)
        a->current->next = c;
    else
        a->first = c;
    a->current = c;
    return c;
}

void *arena_alloc(struct arena *a, size_t len)
{
    if (len > SIZE_MAX - 16)
        return NULL;
    size_t need = (len + 15) & ~(size_t)15;
    if (need > a->limit_bytes - a->used_bytes)
        return NULL;
    struct arena_chunk *c = a->current;
    if (!c || c->cap - c->used < need) {
        c = chunk_add(a, need);
        if (!c)
            return NULL;
    }
    void *p = c->data + c->used;
    c->used += need;
    a->used_bytes += need;
    return p;
}

void *arena_zalloc(struct arena *a, size_t len)
{
    void *p = arena_alloc(a, len);
    if (p)
        memset(p, 0, len);
    return p;
}

struct slice arena_copy(struct arena *a, struct slice s)
{
    uint8_t *p = arena_alloc(a, s.len + 1);
    if (!p)
        return SLICE_NULL;
    if (s.len)
        memcpy(p, s.ptr, s.len);
    p[s.len] = 0;
    return slice_of(p, s.len);
}

struct slice arena_printf(struct arena *a, const char *fmt, ...)
{
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    char *p = n < 0 ? NULL : arena_alloc(a, (size_t)n + 1);
    if (p)
        vsnprintf(p, (size_t)n + 1, fmt, again);
    va_end(again);
    return p ? slice_of(p, (size_t)n) : SLICE_NULL;
}
