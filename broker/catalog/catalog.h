/*
 * The catalog: what exists. Streams, shards, delivery streams (consumers, tags, policies join later). SQLite behind
 * this header (catalog_sqlite.c) and an in-memory twin (catalog_memory.c) for the simulator and unit tests, under one
 * contract suite. Every change is one transaction: atomic, durable when the call returns.
 *
 * Threads: the calls block, so the daemon makes them from worker jobs; a handle may be used by any thread, one call at
 * a time is let in (the handle has its own lock, off the data path). Start-up reads everything once; afterwards the
 * loops serve from their own snapshot and the catalog is only written.
 *
 * Every change may also fail with -ENOMEM, -ENOSPC, -EIO, ST_CORRUPT (SQLite), and then has not happened; after -EIO or
 * ST_CORRUPT whether it has is unknown until the next start, so every later change gets ST_FENCED.
 *
 * Uids (streams, shards, delivery streams) come from one counter and are never used again, also after a deletion:
 * folders and object names are made of them.
 */
#ifndef SLUICE_CATALOG_CATALOG_H
#define SLUICE_CATALOG_CATALOG_H

#include "common/base/clock.h"
#include "common/base/hash_key.h"
#include "common/base/slice.h"
#include "common/base/status.h"

#define CATALOG_NAME_MAX 128

struct catalog;

enum stream_status { STREAM_CREATING, STREAM_ACTIVE, STREAM_UPDATING, STREAM_DELETING };
enum stream_mode { STREAM_PROVISIONED, STREAM_ON_DEMAND };
enum shard_state { SHARD_CREATING, SHARD_OPEN, SHARD_CLOSING, SHARD_CLOSED, SHARD_DELETING };

struct catalog_stream {
    uint64_t uid;
    char name[CATALOG_NAME_MAX + 1];
    enum stream_status status;
    enum stream_mode mode;
    bool internal; /* a delivery's own stream (DirectPut): hidden from the API */
    struct wall_ms created;
    int64_t retention_ms;
    uint64_t retention_bytes; /* UINT64_MAX: no limit */
    uint32_t record_bytes_max;
    uint32_t next_shard_index; /* of the next shard to be made: shardId-%012u */
};

struct catalog_shard {
    uint64_t uid;
    uint64_t stream_uid;
    uint32_t index; /* shardId-%012u */
    enum shard_state state;
    struct hash_key first_hash, last_hash; /* inclusive */
    int64_t parent, adjacent_parent;       /* shard indexes; -1: none */
    struct wall_ms created;                /* rounded down to seconds: part of the sequence numbers */
    uint64_t first_counter;                /* counters start here */
    uint64_t end_counter;                  /* of a closed shard: one behind its last; else UINT64_MAX */
};

struct catalog_delivery {
    uint64_t uid;
    char name[CATALOG_NAME_MAX + 1];
    uint64_t source_stream_uid; /* the internal stream's for DirectPut */
    bool direct_put;
    bool from_config; /* made by the configuration file */
    uint32_t version;
    struct wall_ms created, updated;
    bool deleting;
    const char *settings_json; /* the rest: destination, buffering, ...; owned by the catalog's answer */
};

/* Opens (and creates, and migrates from an older schema version) the database at `path`. ST_VERSION: made by a newer
 * sluice, and left as it is; ST_CORRUPT: no catalog, or damaged (all pages are read); -EBUSY: another process has it
 * open; -ENOENT, -EACCES, -ENOSPC, -EIO, -ENOMEM. Fills `e`. */
int catalog_open_sqlite(const char *path, struct catalog **out, struct err *e) must_use;
int catalog_open_memory(struct catalog **out) must_use;
/* NULL is allowed. */
void catalog_close(struct catalog *c);

/* Everything there is, for start-up: streams and deliveries by rising uid, shards by stream and index. Return non-zero
 * from a visitor to stop with that value. Pointers live for the call; a visitor does not call the catalog. */
int catalog_each_stream(struct catalog *c, int (*visit)(void *ctx, const struct catalog_stream *s), void *ctx) must_use;
int catalog_each_shard(struct catalog *c, int (*visit)(void *ctx, const struct catalog_shard *s), void *ctx) must_use;
int catalog_each_delivery(struct catalog *c, int (*visit)(void *ctx, const struct catalog_delivery *d),
                          void *ctx) must_use;

/* Adds a stream and its first shards in one transaction; fills in the uids of both. ST_EXISTS if a stream of that name
 * exists (in any status). */
int catalog_stream_add(struct catalog *c, struct catalog_stream *s, struct catalog_shard *shards,
                       uint32_t shard_count) must_use;
/* Rewrites a stream's row (found by uid; name and uid cannot change). ST_NOT_FOUND. */
int catalog_stream_update(struct catalog *c, const struct catalog_stream *s) must_use;
/* Marks the stream and all its shards deleting in one transaction. ST_NOT_FOUND. */
int catalog_stream_mark_deleting(struct catalog *c, uint64_t stream_uid) must_use;
/* Drops the rows of a deleting stream and its shards. ST_NOT_FOUND, ST_CONFLICT (not marked). */
int catalog_stream_remove(struct catalog *c, uint64_t stream_uid) must_use;

/* Resharding: rewrites the stream and some of its shards (found by uid; the index cannot change) and adds new ones, whose
 * uids it fills in, atomically. ST_NOT_FOUND: the stream, or a changed shard in it; ST_EXISTS: an index is taken. */
int catalog_reshard(struct catalog *c, const struct catalog_stream *s, const struct catalog_shard *changed,
                    uint32_t changed_count, struct catalog_shard *added, uint32_t added_count) must_use;
/* ST_NOT_FOUND. */
int catalog_shard_remove(struct catalog *c, uint64_t shard_uid) must_use;

/* Fills in the uid. ST_EXISTS. */
int catalog_delivery_add(struct catalog *c, struct catalog_delivery *d) must_use;
/* Rewrites all but uid and name. ST_NOT_FOUND. */
int catalog_delivery_update(struct catalog *c, const struct catalog_delivery *d) must_use;
/* ST_NOT_FOUND. */
int catalog_delivery_remove(struct catalog *c, uint64_t uid) must_use;

/* Small values of the daemon itself, such as the data directory's uid. ST_NOT_FOUND. `out` gets at most `cap` bytes,
 * *out_len the length. */
int catalog_value_get(struct catalog *c, const char *key, void *out, size_t cap, size_t *out_len) must_use;
int catalog_value_put(struct catalog *c, const char *key, struct slice value) must_use;

#endif
