/* A multiply-and-fold hash, and open addressing with linear probing; at most three quarters of the slots are taken. See hash.h. */
#include "common/base/hash.h"

#include <stdlib.h>

struct hashmap_slot {
    struct slice key; /* key.ptr NULL: never used */
    void *value;      /* NULL with a key.ptr: removed */
    uint64_t hash;
};

static uint64_t mix(uint64_t a, uint64_t b)
{
    __uint128_t p = (__uint128_t)a * b;
    return (uint64_t)p ^ (uint64_t)(p >> 64);
}

uint64_t hash_bytes(struct slice s, uint64_t seed)
{
    uint64_t h = seed ^ 0x9e3779b97f4a7c15ull, w;
    size_t i = 0;
    for (; i + 8 <= s.len; i += 8) {
        memcpy(&w, s.ptr + i, 8);
        h = mix(h ^ w, 0xa0761d6478bd642full);
    }
    w = 0;
    if (i < s.len)
        memcpy(&w, s.ptr + i, s.len - i);
    return mix(h ^ w, 0xe7037ed1a0b428dbull ^ (uint64_t)s.len);
}

void hashmap_init(struct hashmap *m, uint64_t seed)
{
    *m = (struct hashmap){.seed = seed};
}

void hashmap_deinit(struct hashmap *m)
{
    free(m->slots);
    m->slots = NULL;
    m->cap = m->used = m->dead = 0;
}

static struct hashmap_slot *slot_find(const struct hashmap *m, struct slice key, uint64_t hash)
{
    struct hashmap_slot *grave = NULL;
    for (size_t i = hash & (m->cap - 1);; i = (i + 1) & (m->cap - 1)) {
        struct hashmap_slot *s = &m->slots[i];
        if (!s->key.ptr)
            return grave ? grave : s;
        if (!s->value) {
            if (!grave)
                grave = s;
        } else if (s->hash == hash && slice_eq(s->key, key)) {
            return s;
        }
    }
}

static int grow(struct hashmap *m)
{
    struct hashmap bigger = {.cap = m->used * 2 < m->cap ? m->cap : (m->cap ? m->cap * 2 : 16), .seed = m->seed};
    bigger.slots = calloc(bigger.cap, sizeof *bigger.slots);
    if (!bigger.slots)
        return -ENOMEM;
    for (size_t i = 0; i < m->cap; i++)
        if (m->slots[i].value)
            *slot_find(&bigger, m->slots[i].key, m->slots[i].hash) = m->slots[i];
    bigger.used = m->used;
    free(m->slots);
    *m = bigger;
    return 0;
}

int hashmap_put(struct hashmap *m, struct slice key, void *value)
{
    if ((m->used + m->dead + 1) * 4 > m->cap * 3) {
        int rc = grow(m);
        if (rc < 0)
            return rc;
    }
    uint64_t hash = hash_bytes(key, m->seed);
    struct hashmap_slot *s = slot_find(m, key, hash);
    if (!s->value) {
        m->used++;
        if (s->key.ptr)
            m->dead--;
    }
    *s = (struct hashmap_slot){.key = {key.ptr ? key.ptr : (const uint8_t *)"", key.len}, .value = value, .hash = hash};
    return 0;
}

void *hashmap_get(const struct hashmap *m, struct slice key)
{
    return m->cap ? slot_find(m, key, hash_bytes(key, m->seed))->value : NULL;
}

void *hashmap_remove(struct hashmap *m, struct slice key)
{
    if (!m->cap)
        return NULL;
    struct hashmap_slot *s = slot_find(m, key, hash_bytes(key, m->seed));
    void *value = s->value;
    if (value) {
        s->value = NULL;
        m->used--;
        m->dead++;
    }
    return value;
}

void *hashmap_next(const struct hashmap *m, size_t *pos)
{
    while (*pos < m->cap) {
        void *value = m->slots[(*pos)++].value;
        if (value)
            return value;
    }
    return NULL;
}
