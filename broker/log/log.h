/*
 * The log: bytes in order, durably. It knows shards by uid, records by counter; no stream, no HTTP. One `struct log` a
 * loop; every call is made on that loop's thread and every completion comes there. What the files look like:
 * docs/FORMAT.md and common/frame. The rules: storage.md.
 *
 * Invariants
 *  G1. An append's `done` with status 0 means: its records are on stable storage (sync: batch), in the order of the
 *      log_append calls on that shard, with consecutive counters.
 *  G2. After an append failed with a disk error nothing later on that shard is acknowledged before it was reopened from
 * disk. G3. A reader sees a record once it is visible (log_visibility), never before, and sees the same record under
 * that counter for ever, until retention takes it. G4. Bytes that fail a checksum are never served; damage below what
 * was synced quarantines the shard, and only the shard. G5. Memory: the tail cache and the write buffers are one pool
 * of chunks with a fixed budget; when nothing in it can be given up, log_append says ST_THROTTLED. G6. An idle shard
 * has no open file, no timer and no buffer.
 */
#ifndef SLUICE_LOG_LOG_H
#define SLUICE_LOG_LOG_H

#include "common/frame/block.h"
#include "common/io/loop.h"

struct log;
struct log_shard;

enum log_sync { LOG_SYNC_BATCH, LOG_SYNC_INTERVAL, LOG_SYNC_NEVER };

struct log_options {
    const char *dir; /* the data directory; the log owns journal/ and shards/ in it */
    enum log_sync sync;
    uint32_t sync_interval_ms;  /* for INTERVAL */
    uint64_t journal_bytes;     /* size of a journal file; 0 = 64 MiB */
    uint64_t segment_bytes_min; /* 0 = 1 MiB */
    uint64_t segment_bytes_max; /* 0 = 64 MiB */
    uint64_t cache_bytes;       /* chunk pool a loop: write buffers and tail cache; 0 = 128 MiB */
    uint32_t direct_bytes;      /* pending bytes from which a shard writes straight to its segment; 0 = 256 KiB */
    uint64_t
        disk_reserve_bytes; /* below this much free space appends get ST_RESERVE; UINT64_MAX = 5% of the file system */
    uint32_t mark_after_ms; /* 0 = 100 */
    bool skip_sync_canary;  /* for the simulator's canary only: acknowledge without syncing */
};

/* ---- opening and closing ---------------------------------------------------------------------------------------- */

/* Recovers the data directory once for all loops, then starts a log on each. Journals of any former number of loops are
 * recovered first. `owner` says which loop (index) a shard belongs to; shards whose uid is not in `live` are removed if
 * `live` marks them deleting, and reported, never deleted, if it does not know them. */
struct log_live_shard {
    uint64_t uid;
    uint32_t loop_index;
    bool deleting;
};

struct log_open {
    void (*done)(struct log_open *o);
    int status;
    struct err err;
    struct log **logs; /* out: loop_count of them, in the order of `loops`; the array is the caller's */
    /* in: */
    struct loop **loops; /* loops[0] is the calling one; the others must be running */
    uint32_t loop_count;
    const struct log_options *options; /* copied */
    const struct log_live_shard *live; /* until done */
    size_t live_count;
    uint32_t unknown_count; /* out: shards on disk that `live` does not name; they are kept, by the first loop */
    void *private;
};
/* `o` until done. Errors: -EACCES, -ENOSPC, -EIO, ST_VERSION, ST_CORRUPT (a journal that cannot be told), with the
 * file's name in err. Damage in one shard's files does not fail the opening: it quarantines the shard. */
void log_open(struct log_open *o);

/* Finishes what is in flight, writes the last mark and checkpoint, closes. Appends from now on get ST_CLOSED. */
struct log_close {
    void (*done)(struct log_close *c);
    int status;
    void *private;
};
void log_close(struct log *log, struct log_close *c);

/* ---- shards ----------------------------------------------------------------------------------------------------- */

/* Makes a shard known; no disk is touched before its first record. `uid` was never used before (the catalog sees to
 * it). Shards that log_open was told of are known already. Counters start at 0. -ENOMEM, ST_EXISTS. */
int log_shard_create(struct log *log, uint64_t uid, struct log_shard **out) must_use;
/* NULL if there is none. */
struct log_shard *log_shard_find(struct log *log, uint64_t uid);

/* Removes the shard and its files, paced. Readers get ST_CLOSED; appends in flight are completed first. */
struct log_remove {
    void (*done)(struct log_remove *r);
    int status;
    void *private;
};
void log_shard_remove(struct log_shard *shard, struct log_remove *r);

enum log_shard_state { LOG_SHARD_OK, LOG_SHARD_FENCED, LOG_SHARD_QUARANTINED };

struct log_shard_info {
    enum log_shard_state state;
    uint64_t first_counter;      /* the oldest one that retention has left (next_counter if none) */
    uint64_t next_counter;       /* of the next record to be appended */
    uint64_t visible_counter;    /* consumers see counters below this */
    uint64_t synced_counter;     /* the firehose sees counters below this */
    uint64_t needed_counter;     /* the lowest that a log_need holds; UINT64_MAX if none */
    struct wall_ms last_arrival; /* of the newest block; 0 if none */
    uint64_t disk_bytes;
    char trouble[160]; /* file, offset and cause if not OK, else "" */
};
void log_shard_info(const struct log_shard *shard, struct log_shard_info *out);

/* ---- appending -------------------------------------------------------------------------------------------------- */

struct log_append {
    void (*done)(struct log_append *a);
    int status;            /* 0, or why it was not stored: -EIO, -ENOSPC, ST_FENCED, ST_CLOSED, ... */
    uint64_t base_counter; /* of the first record; the others follow */
    struct wall_ms arrival;
    /* private: */
    struct list link;
    uint32_t record_count;
    uint64_t end_counter;
    struct log_shard *shard;
};

/* Copies the records into the shard's pending block; all or none. They travel with whatever else arrives in this
 * iteration (one round, one sync). 0: `done` will come. Otherwise nothing was taken and `done` will not come:
 * ST_THROTTLED (budget), ST_RESERVE (disk), ST_FENCED, ST_QUARANTINED, ST_CLOSED. */
int log_append(struct log_shard *shard, const struct block_record *records, uint32_t count,
               struct log_append *a) must_use;

/* ---- reading ---------------------------------------------------------------------------------------------------- */

/* What a reader may see: consumers by the sync mode's rule, the firehose only what is synced (`never`: written). */
enum log_visibility { LOG_VISIBLE, LOG_SYNCED };

#define LOG_READ_BLOCKS_MAX 64

/* A block, lent. Release each with log_block_release, on the log's thread. */
struct log_block {
    struct block_header header;
    struct slice payload; /* raw: opened and decompressed */
    void *hold;           /* private */
};
void log_block_release(struct log *log, struct log_block *block);

struct log_read {
    void (*done)(struct log_read *r);
    /* in: */
    uint64_t from_counter;
    uint32_t bytes_max;  /* stop after the block that reaches it (at least one block is returned if there is one) */
    uint32_t blocks_max; /* 1..LOG_READ_BLOCKS_MAX */
    enum log_visibility visibility;
    /* out: */
    int status; /* 0; ST_TRIMMED (from_counter lies before first_counter), ST_QUARANTINED (damage there), ST_CLOSED,
                   -EIO, ... */
    uint32_t block_count; /* 0 with status 0: nothing there yet. The first block holds from_counter, maybe not as its
                             first */
    struct log_block block[LOG_READ_BLOCKS_MAX];
    bool from_cache;
    /* private: */
    bool cancelled;
    struct log_shard *shard;
    struct list link;
    void *state;
};
/* `done` may come in this same iteration but not inside the call. Cancel by log_read_cancel: `done` comes with
 * -ECANCELED. */
void log_read(struct log_shard *shard, struct log_read *r);
void log_read_cancel(struct log_read *r);

/* The counter of the first record that arrived at or after `at`, or next_counter if there is none yet. */
struct log_seek {
    void (*done)(struct log_seek *s);
    struct wall_ms at;
    int status;
    uint64_t counter;
    struct log_shard *shard;
    struct list link;
    void *state;
};
void log_seek(struct log_shard *shard, struct log_seek *s);

/* One-shot: `woken` is called (from the loop, never inside log_watch) once a record with a counter >= `counter` is
 * visible, or the shard is removed, fenced or closed. Costs nothing while nothing happens. */
struct log_watch {
    void (*woken)(struct log_watch *w);
    uint64_t counter;
    enum log_visibility visibility;
    struct list link; /* private */
    struct log_shard *shard;
};
void log_watch(struct log_shard *shard, struct log_watch *w);
void log_unwatch(struct log_watch *w);

/* ---- retention -------------------------------------------------------------------------------------------------- */

struct log_retention {
    int64_t keep_ms;     /* records older than this expire; INT64_MAX: never */
    uint64_t keep_bytes; /* most the shard may take on disk; UINT64_MAX: no limit */
};
/* Nothing expires before this is called: deliveries register their needs first. */
void log_retention_start(struct log *log);
void log_shard_retain(struct log_shard *shard, const struct log_retention *retention);

/* Holds back retention by time from `counter` on (a delivery still needs it); retention by size and the disk reserve
 * win over it, and each record lost that way is counted in log_stats.forced_loss_records and told once by `lost`. */
struct log_need {
    uint64_t counter; /* raise it as the delivery commits; then call log_need_moved */
    void (*lost)(struct log_need *n, uint64_t from_counter, uint64_t to_counter);
    struct list link; /* private */
    struct log_shard *shard;
};
void log_need_add(struct log_shard *shard, struct log_need *n);
void log_need_moved(struct log_need *n);
void log_need_remove(struct log_need *n);

/* ---- counters --------------------------------------------------------------------------------------------------- */

struct histogram;
struct log_stats {
    uint64_t append_records, append_bytes; /* acknowledged */
    uint64_t commits, commit_bytes, direct_commits, syncs;
    uint64_t cache_hits, cache_misses, read_bytes, disk_read_bytes;
    uint64_t migrated_bytes, marks, checkpoints;
    uint64_t throttled, reserve_refused, failed_syncs, quarantined_shards, forced_loss_records, expired_segments;
    uint64_t disk_free_bytes;
    enum log_sync sync;
    const struct histogram *commit_us;          /* from round start to durable */
    const struct histogram *commit_bytes_sizes; /* bytes a commit */
};
const struct log_stats *log_stats(const struct log *log);

#endif
