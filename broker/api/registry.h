/*
 * What one loop knows of streams and shards: name -> stream -> shards and routing table. Each loop has a registry of its
 * own; an entry never changes once it is in, a newer one takes its place (stream_change.c tells all loops), so routing
 * needs no lock and a request that waits keeps the entry that it began with by a reference.
 *
 * Invariants
 *  R1. An entry that is in the registry, or referenced, is unchanged. References are plain integers: one loop.
 *  R2. by_name is sorted bytewise and holds the entries of the map, internal streams too.
 *  R3. An entry's shards are sorted by index; `route` covers the whole hash space unless no shard is open (a stream
 *      that is DELETING).
 */
#ifndef SLUICE_API_REGISTRY_H
#define SLUICE_API_REGISTRY_H

#include "broker/catalog/catalog.h"
#include "broker/shard/hash_range.h"
#include "broker/shard/shard_name.h"
#include "common/base/hash.h"
#include "common/base/list.h"

struct registry_shard {
    struct catalog_shard row;
    char id[SHARD_ID_TEXT_MAX];
};

struct registry_stream {
    uint32_t refs; /* private: the registry's counts as one */
    struct catalog_stream row;
    struct slice name;       /* of row.name */
    struct hash_route route; /* open shards: targets are struct registry_shard */
    uint32_t open_count;
    uint32_t shard_count;
    struct registry_shard shard[]; /* sorted by index */
};

struct registry {
    struct hashmap by_uid, names;
    struct registry_stream **by_name;
    uint32_t count, cap;
    uint32_t shard_count; /* open ones, of all streams */
};

/* `seed`: random, for the maps. */
void registry_init(struct registry *r, uint64_t seed);
void registry_deinit(struct registry *r);

/* Puts a copy of the rows in, in place of an older entry of that uid. -ENOMEM; ST_INVALID: the open shards do not cover
 * the hash space. */
int registry_put(struct registry *r, const struct catalog_stream *row, const struct catalog_shard *shards,
                 uint32_t shard_count) must_use;
void registry_remove(struct registry *r, uint64_t stream_uid);

/* NULL if there is none. The pointer lives until the loop's next change, or as long as a reference is held. */
struct registry_stream *registry_find(const struct registry *r, struct slice name);
struct registry_stream *registry_find_uid(const struct registry *r, uint64_t stream_uid);
/* The position in by_name of the first entry whose name is greater than `name`. */
uint32_t registry_after(const struct registry *r, struct slice name);

struct registry_stream *registry_ref(struct registry_stream *s);
void registry_unref(struct registry_stream *s);

/* The shard of that index, or of that uid; NULL if there is none. */
const struct registry_shard *registry_shard_find(const struct registry_stream *s, uint32_t index);
const struct registry_shard *registry_shard_by_uid(const struct registry_stream *s, uint64_t uid);
/* The open shard that owns the key; the stream has one. */
const struct registry_shard *registry_route(const struct registry_stream *s, const struct hash_key *key);

#endif
