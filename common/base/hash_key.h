/*
 * A 128-bit hash key: the MD5 of a partition key, or an explicit one, big end first, so that memcmp order is number
 * order. The type alone: how one is made and what it means is broker/shard's (hash_range.h); the catalog stores it.
 */
#ifndef SLUICE_BASE_HASH_KEY_H
#define SLUICE_BASE_HASH_KEY_H

#include <stdint.h>
#include <string.h>

struct hash_key {
    uint8_t byte[16];
};

/* < 0, 0, > 0 as a lies before, on or behind b. Any thread. */
static inline int hash_key_compare(const struct hash_key *a, const struct hash_key *b)
{
    return memcmp(a->byte, b->byte, sizeof a->byte);
}

#endif
