/* Hashing for tables in memory; nothing here reaches the disk. */
#ifndef SLUICE_BASE_HASH_H
#define SLUICE_BASE_HASH_H

#include "common/base/slice.h"
#include "common/base/status.h"

/* Mixes `s` under `seed`. Tables whose keys strangers choose take a random seed. Any thread. */
uint64_t hash_bytes(struct slice s, uint64_t seed);

static inline uint64_t hash_u64(uint64_t x)
{
    x ^= x >> 33;
    x *= 0xff51afd7ed558ccdull;
    x ^= x >> 33;
    x *= 0xc4ceb9fe1a85ec53ull;
    return x ^ (x >> 33);
}

/*
 * A map from bytes to a pointer, open addressing, grows by doubling. Keys are borrowed: they must live and stay the
 * same while they are in the map (usually they lie in the object pointed to). One thread.
 */
struct hashmap_slot;
struct hashmap {
    struct hashmap_slot *slots;
    size_t cap, used, dead;
    uint64_t seed;
};

void hashmap_init(struct hashmap *m, uint64_t seed);
void hashmap_deinit(struct hashmap *m);
/* Replaces the value of an equal key. -ENOMEM without memory. `value` is not NULL. */
int hashmap_put(struct hashmap *m, struct slice key, void *value) must_use;
/* NULL if absent. */
void *hashmap_get(const struct hashmap *m, struct slice key);
/* Takes the key out; returns its value or NULL. */
void *hashmap_remove(struct hashmap *m, struct slice key);
/* Iterates: start with *pos = 0; NULL at the end. The map must not change meanwhile. */
void *hashmap_next(const struct hashmap *m, size_t *pos);

#endif
