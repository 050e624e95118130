/*
 * Hash keys and who owns them: the MD5 of a partition key or an explicit key, the even split of the 128-bit space that
 * CreateStream makes, and the routing table from a key to an open shard.
 *
 * Pure: no I/O, no clock; only hash_route_init allocates. Any thread; a routing table does not change once built, so
 * threads may share it.
 */
#ifndef SLUICE_SHARD_HASH_RANGE_H
#define SLUICE_SHARD_HASH_RANGE_H

#include "common/base/hash_key.h"
#include "common/base/slice.h"
#include "common/base/status.h"

#define HASH_KEY_DIGITS_MAX 39u /* 2^128 - 1 = 340282366920938463463374607431768211455 */
#define HASH_KEY_TEXT_MAX   (HASH_KEY_DIGITS_MAX + 1)

struct hash_range {
    struct hash_key first, last; /* inclusive */
};

/* The MD5 of a partition key (its UTF-8 bytes). */
struct hash_key hash_key_of(struct slice partition_key);
/* The same for many: out[i] is the key of keys[i]. */
void hash_keys_of(const struct slice *keys, uint32_t count, struct hash_key *out);

/* Reads an ExplicitHashKey: "0", or a decimal without leading zeros (AWS's pattern 0|([1-9]\d{0,38})). ST_SYNTAX: not
 * that; ST_LIMIT: 2^128 or more. */
int hash_key_parse(struct slice text, struct hash_key *out) must_use;
/* Writes the decimal and a NUL; returns the length without it. */
uint32_t hash_key_format(const struct hash_key *k, char out[HASH_KEY_TEXT_MAX]);

/* The range of shard `index` of `count` (1..) that together cover everything: each is floor(2^128 / count) long, the
 * last one takes the rest, as AWS splits. */
struct hash_range hash_range_split(uint32_t index, uint32_t count);
/* True if the key lies in the range. */
bool hash_range_holds(const struct hash_range *r, const struct hash_key *k);
/* SplitShard: NewStartingHashKey must lie behind the first key and not behind the last: ST_INVALID otherwise. */
int hash_range_cut(const struct hash_range *r, const struct hash_key *at, struct hash_range *out_left,
                   struct hash_range *out_right) must_use;
/* MergeShards: ST_INVALID unless one begins where the other ends (in either order). */
int hash_range_join(const struct hash_range *a, const struct hash_range *b, struct hash_range *out) must_use;
/* The middle of a range that has at least two keys (the first key of its upper half): where UpdateShardCount and an
 * on-demand stream cut. ST_INVALID: a single key. */
int hash_range_middle(const struct hash_range *r, struct hash_key *out) must_use;

/* One open shard for the table. */
struct hash_route_entry {
    struct hash_range range;
    void *target; /* the caller's, for example its struct of the shard; not NULL */
};

/* Open shards sorted by range. */
struct hash_route {
    uint32_t count;
    struct hash_key *last; /* of each range, rising: what the search compares */
    void **target;
};

/* Builds a table of `count` (1..) ranges in any order. ST_INVALID: they leave a gap or overlap. -ENOMEM. */
int hash_route_init(struct hash_route *t, const struct hash_route_entry *entries, uint32_t count) must_use;
void hash_route_deinit(struct hash_route *t);
/* The target of the shard that owns the key. Never NULL: a table has no gaps. */
void *hash_route_find(const struct hash_route *t, const struct hash_key *k);

#endif
