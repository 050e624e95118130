/*
 * What the files of broker/log share. The story of a record, and the file that tells each part:
 *
 *   log_append.c   records are copied once: large appends as a ready frame into chunk memory, small ones into the stage
 *   log_cache.c    chunks (write buffers and tail cache in one) and block entries, which say where each block is
 *   log_round.c    a round: the pending frames of all shards, one write and one sync to the journal, then the acks
 *   log_journal.c  journal files: rolling, zeroing ahead, recycling; the head checkpoint
 *   log_flush.c    a shard's frames move to its segment: in the background (migration), or at once when much is
 *                  pending (the direct path)
 *   log_segment.c  segment files: create, open, roll, seal; the list of a shard's segments
 *   log_index.c    sparse index: in memory for the active segment, a sidecar for sealed ones
 *   log_read.c     reads and seeks: cache, then segments
 *   log_retain.c   retention by time and size, removal of shards, disk reserve
 *   log_recover.c  opening a data directory
 *   log.c          life, timers, the rest of log.h
 *
 * A shard's entries are a ring in counter order with absolute positions:
 *
 *     ring_head        segment_pos         journal_pos        journal_sent           ring_tail     + staged fragments
 *        | in segments,    | durable in the    | in the journal   | pending: not        |
 *        | synced: cache   | journal           | write in flight  | written anywhere    |
 *
 * Invariants
 *   I1. ring_head <= segment_pos <= journal_pos <= journal_sent <= ring_tail.
 *   I2. Entries from segment_pos on pin their chunk; the others are given up oldest chunk first.
 *   I3. While a shard's flush takes pending entries (direct), no round takes any of that shard, and the other way
 *       round: a direct flush starts only when journal_sent == journal_pos.
 *   I4. What a journal's checkpoint says of a segment was synced before that checkpoint was built.
 *   I5. A direct commit is acknowledged only after a durable checkpoint entry says "direct" for its shard: opening
 *       scans the segments of those shards, and only those, beyond their checkpointed end.
 *   I6. A journal file is used again only after a durable round has said (oldest_generation) that it is not needed.
 *   I7. interval/never: what a checkpoint says a shard has (`next`) is synced, not only written; and no frame follows in
 *       a new journal on one that was only written to an older, failed one (log_shard.held_to).
 */
#ifndef SLUICE_LOG_INTERNAL_H
#define SLUICE_LOG_INTERNAL_H

#include "broker/log/log_format.h"
#include "broker/log/log_scan.h"
#include "broker/log/log_task.h"
#include "common/base/check.h"
#include "common/base/hash.h"
#include "common/base/histogram.h"
#include "common/base/list.h"
#include "common/base/pool.h"

#define PAGE ((uint64_t)FRAME_WRITE_ALIGN)

static inline uint64_t page_up(uint64_t n)
{
    return (n + PAGE - 1) & ~(PAGE - 1);
}

/* ---- memory ----------------------------------------------------------------------------------------------------- */

/* A stretch of write and cache memory. In `chunks` (age order) while it is in use, else in `free_chunks`. */
struct chunk {
    struct list link, entries; /* entries: block_entry.chunk_link, oldest first */
    uint8_t *mem;
    size_t bytes, used;
    uint32_t pins;  /* entries from segment_pos on, and users while they fill or write it */
    uint32_t lends; /* blocks lent to readers */
    bool dropped;   /* given up by the cache; freed when the last lend returns */
};

/* Where one block is. The frame lies in chunk memory: FRAME_HEADER_BYTES, block header, payload. */
struct block_entry {
    struct list chunk_link;
    struct log_shard *shard;
    struct chunk *chunk;
    struct journal_file *journal; /* holds it until it is in a segment; NULL: none */
    uint8_t *frame;
    uint64_t base;
    struct wall_ms arrival;
    uint32_t stored_bytes, record_count, body_crc;
    bool pinned;
    bool packed; /* lies among others, 64-aligned: must be copied to be written elsewhere. Else it has its own pages */
};

/* Records of a small append, encoded, in the stage until the next round gathers them into a block. */
struct fragment {
    struct fragment *next;
    uint32_t bytes;
    uint8_t data[];
};

/* ---- files ------------------------------------------------------------------------------------------------------ */

struct journal_file {
    struct list link; /* log->journals: live, oldest first; log->spares */
    uint64_t sequence, generation, size;
    uint64_t end;       /* behind the last synced frame */
    uint64_t written;   /* behind the last frame of a round that completed (batch: == end) */
    uint64_t zeroed_to; /* from here on never written */
    uint32_t entries;   /* block entries that only this file holds */
    bool failed;        /* a write or sync of it failed: never used again */
    struct io_file file;
};

struct index_entry {
    uint64_t counter, offset;
    struct wall_ms arrival;
};

struct segment_index { /* sparse: a block about every INDEX_STEP bytes, the first one always */
    uint32_t count, cap;
    struct index_entry *at;
};

struct segment_info { /* one of a shard's segment files */
    uint64_t base, generation, end, next;
    uint32_t crc; /* of the last frame's header */
    struct wall_ms first_arrival, last_arrival;
    uint64_t disk_bytes;
    bool known;                 /* end, next and arrivals are known (index read or rebuilt) */
    struct segment_index index; /* of sealed segments, once `known` */
};

struct segment_list {
    uint32_t count, cap;
    struct segment_info *at; /* oldest first; the last one is active */
};

/* ---- shards ----------------------------------------------------------------------------------------------------- */

enum mark_state { MARK_NONE, MARK_WANTED, MARK_SENT, MARK_DURABLE };

struct log_shard {
    struct log *log;
    uint64_t uid;
    struct list link;                         /* log->shards */
    struct list dirty_link;                   /* log->dirty: has pending records */
    struct list unmigrated_link;              /* log->unmigrated: segment_pos < journal_pos */
    struct list news_link;                    /* log->news: its entry must go into the next round */
    struct list marks_link;                   /* round.marks: its entry is in the round in flight */
    struct list changed_link;                 /* log->changed: its entry differs from the last checkpointed one */
    struct list round_link;                   /* in the round in flight */
    struct list unsynced_link;                /* log->unsynced_shards: synced_next < durable_next */
    struct list held_link;                    /* log->held: held_to > 0 */
    struct list waiting, waiting_sync;        /* log_append */
    struct list watches, needs, reads, seeks; /* log_watch, log_need, log_read, log_seek */
    enum log_shard_state state;
    bool removing, fenced_by_journal, flush_failed;
    bool unknown, deleting; /* as the opening found it */
    bool confirmed;         /* while opening: something behind damage vouches for it */
    uint64_t proven;        /* while opening: it must have the records below */
    bool loaded;            /* while opening: frames of it were found in no segment */
    int flush_status;
    bool reopening;      /* fenced until a durable entry says that its segment is sealed */
    uint64_t not_before; /* generation: files up to it that start behind the active segment hold what failed */
    char trouble[160];

    /* entries */
    struct block_entry **ring;
    uint32_t ring_cap; /* a power of two, or 0 */
    uint64_t ring_head, segment_pos, journal_pos, journal_sent, ring_tail;

    /* staged fragments: the block being gathered */
    struct fragment *fragments, **fragments_tail;
    uint32_t fragment_bytes, fragment_records;
    struct block_entry *fragment_entry; /* taken beforehand: gathering cannot fail */
    uint64_t pending_bytes;             /* of pending entries and fragments */

    /* counters */
    uint64_t next_counter; /* of the next record to be appended */
    uint64_t block_base;   /* of the first record in the stage */
    uint64_t durable_next; /* records below are durable in journal or segment (interval/never: written) */
    uint64_t synced_next;  /* records below outlive a power cut, whatever the mode (batch: == durable_next) */
    uint64_t segment_next; /* records below are synced in segments */
    /* no records there, and skip_to == durable_next: for readers the shard ends at skip_from */
    uint64_t skip_from, skip_to;
    uint64_t first_counter;
    struct wall_ms last_arrival;    /* of the newest block, pending ones included */
    struct wall_ms durable_arrival; /* of the newest durable block */
    struct mono_ns last_append;

    /* the active segment */
    bool has_segment, new_segment_wanted;
    bool stray; /* a file for stray_base may be there that does not count yet */
    uint64_t stray_base;
    bool replacing; /* while opening: the file for replace_base is written anew beside the old one, then renamed */
    uint64_t replace_base;
    uint64_t segment_base, segment_generation, segment_end, segment_size, segment_allocated, disk_bytes;
    uint32_t segment_crc;
    struct io_file segment_file; /* open while hot */
    enum mark_state mark;
    struct flush *flush;       /* in progress */
    struct list flush_link;    /* log->flushes_waiting */
    struct task *entry_waiter; /* woken once an entry of now is durable */
    enum mark_state entry_state;
    struct segment_index index; /* of the active segment, from offset index_from on */
    uint64_t index_from;
    struct wall_ms segment_first_arrival, segment_last_arrival;
    uint32_t take_entries; /* the round being built takes these */
    bool take_fragments;
    /* interval/never: entries below this position were acknowledged, but never synced, in a journal that has failed. No
     * round takes any of this shard before a durable checkpoint says that they lie in segments. 0: none */
    uint64_t held_to;
    uint64_t sent_pos, sent_next; /* segment_pos and segment_next as the checkpoint in flight says them */

    /* all segments; loaded when first needed */
    struct segment_list segments;
    bool segments_loaded;
    struct reader *reader;

    struct log_retention retention;
    bool has_retention;
    struct retain *retain;
    struct wall_ms expiry_hint; /* blocks known to be younger than this need no look */
    struct log_remove *remove;
    bool removal_started;
};

/* ---- flushing to segments --------------------------------------------------------------------------------------- */

#define FLUSH_IOV_MAX 64u
#define STAGING_BYTES (1u << 20)

struct flush {
    struct task task, sub;
    struct log_shard *shard;
    bool direct;         /* takes pending entries too */
    bool starts_segment; /* this write starts a segment: it begins with a head */
    uint64_t end_pos;    /* ring position behind this write's entries */
    uint64_t limit_pos;  /* migration: up to here */
    uint64_t offset, bytes, end;
    uint32_t crc, iov_count;
    struct iovec iov[FLUSH_IOV_MAX];
    uint8_t *staging; /* STAGING_BYTES: heads and packed entries are copied here */
    size_t staged;
    /* the segment that is being started */
    uint64_t new_base, new_generation, new_size;
    struct io_file new_file;
    uint64_t allocate_to;
    bool wrote, counted_direct;
    struct mono_ns started;
    char path[LOG_PATH_MAX];
};

/* ---- the loop's log --------------------------------------------------------------------------------------------- */

#define ROUND_IOV_MAX    64u
#define ROUND_SHARDS_MAX 2000u
#define ROUND_BYTES_MAX  (4u << 20)
#define JOURNALS_MAX     4u
#define BIG_APPEND_BYTES (32u << 10)
#define FLUSHES_MAX      64u
#define MIGRATIONS_MAX   4u

struct round {
    bool busy; /* a write or sync is in flight, or the journal is being rolled */
    struct io_op op;
    struct iovec iov[ROUND_IOV_MAX];
    uint32_t iov_count;
    struct list shards; /* log_shard.round_link */
    struct list marks;  /* shards whose entry travels in this round: log_shard.marks_link */
    struct chunk *area_chunk;
    uint8_t *area;
    uint64_t area_used, area_cap, area_flushed; /* up to area_flushed it is in the iovec */
    uint64_t offset, bytes, end;
    uint64_t block_bytes, records;
    uint32_t crc;
    bool sync, final, mark, only_sync;
    uint8_t *head; /* HEAD_BUF_BYTES: area of a round without fragments, so that it needs no chunk */
    struct mono_ns started;
};

struct log {
    struct loop *loop;
    struct log_options options;
    char dir[LOG_DIR_MAX];
    uint8_t uid[FRAME_UID_BYTES];
    uint32_t epoch, index, count;
    uint64_t generation_counter;
    bool closing, opening, journal_failed;
    struct log_opening_hook { /* told whenever background work has ended, while opening */
        void (*progress)(struct log_opening_hook *h);
    } * opening_hook;
    struct log_close *close;

    struct hashmap map; /* uid -> log_shard */
    struct list shards, dirty, unmigrated, news, changed, flushes_waiting, unsynced_shards, held;

    /* memory */
    struct list chunks, free_chunks;
    struct chunk *filling;
    size_t chunk_bytes, memory_bytes, memory_max;
    uint8_t *stage;
    size_t stage_bytes, stage_used;
    struct pool entries, flush_pool;
    struct list free_staging; /* nodes lie in the buffers */
    uint32_t flushes, migrations;
    size_t read_bytes_lent, read_bytes_max;

    /* rounds */
    struct round round;
    uint64_t round_number;
    struct log_proof *proofs; /* of the last round that completed */
    uint32_t proof_count;
    size_t round_bytes_max;
    bool final_wanted, final_done;
    struct io_defer kick;
    struct io_timer mark_timer, sweep_timer, retry_timer, sync_timer;
    bool mark_due, unsynced;

    /* journals */
    struct list journals, spares; /* the last of `journals` is current */
    struct journal_file *journal;
    uint64_t journal_sequence;
    uint64_t journal_at; /* where the next write goes */
    uint32_t journal_crc;
    uint64_t oldest_generation; /* the oldest journal that the last durable head needs */
    struct journal_roll *roll;
    struct log_journal_waiter { /* told once when a roll ends: the opening waits for the first one */
        void (*rolled)(struct log_journal_waiter *w, int status);
    } * journal_waiter;
    struct journal_spare *spare_maker;
    struct journal_zero *zeroer;

    /* reads */
    struct list reads_ready, seeks_ready, readers_waiting;
    size_t read_window_bytes;
    struct io_defer read_defer;
    struct list watch_ready; /* log_watch to be woken */
    struct io_defer watch_defer;

    /* retention and reserve */
    struct expiry_clock {
        bool set;
        struct wall_ms at;
        struct mono_ns seen;
    } expiry;
    struct io_timer retain_timer;
    bool retention_started;
    struct io_op free_op;
    bool free_busy, reserve_low;
    uint64_t free_total;
    uint64_t free_asked_at_bytes; /* stats.append_bytes when the free space was known last */
    uint64_t free_good_for_bytes; /* appended from then on, until it is asked for again */
    struct mono_ns free_asked;
    struct list retains;
    struct io_defer removal_defer;
    bool files_closed;

    uint32_t tasks; /* background tasks that a close waits for */
    struct log_stats stats;
    struct histogram commit_us, commit_sizes;
};

static inline struct block_entry *shard_entry(const struct log_shard *s, uint64_t pos)
{
    return s->ring[pos & (s->ring_cap - 1)];
}

static inline uint64_t entry_end(const struct block_entry *e)
{
    return e->base + e->record_count;
}

/* Room an entry takes in memory and in a write where it has its own pages. */
static inline uint64_t entry_space(const struct block_entry *e)
{
    return frame_space(e->stored_bytes);
}

/* A generation nobody has used: unique in the data directory (open epoch, loop, running number). */
static inline uint64_t log_generation_next(struct log *log)
{
    return (uint64_t)log->epoch << 32 | (uint64_t)(log->index & 0xff) << 24 | (log->generation_counter++ & 0xffffff);
}

/* log_cache.c */
int cache_init(struct log *log) must_use;
void cache_deinit(struct log *log);
/* `bytes` (rounded up to pages) of page-aligned chunk memory; the chunk comes back pinned once for the caller.
 * ST_THROTTLED. */
int cache_take(struct log *log, size_t bytes, struct chunk **out_chunk, uint8_t **out_mem) must_use;
void cache_unpin(struct log *log, struct chunk *chunk);
/* An entry for a frame at `frame` in `chunk`, appended to the shard's ring, pinned. ST_THROTTLED. */
struct block_entry *cache_entry_add(struct log_shard *s, struct chunk *chunk, uint8_t *frame) must_use;
/* The two halves of it: an entry and its place in the ring (gives up old ones if it must; NULL: none), and its
 * appending, which cannot fail. */
struct block_entry *cache_entry_reserve(struct log_shard *s) must_use;
void cache_entry_append(struct log_shard *s, struct block_entry *e, struct chunk *chunk, uint8_t *frame);
/* Drops the ring's entries from `from` to its tail (they were never written, or failed). */
void cache_entries_drop_tail(struct log_shard *s, uint64_t from);
/* The entry is in a segment now. */
void cache_entry_settled(struct log_shard *s, struct block_entry *e);
/* Forgets every entry of the shard; none is in flight. */
void cache_shard_clear(struct log_shard *s);
void cache_lend(struct chunk *chunk);
void cache_return(struct log *log, struct chunk *chunk);
/* Ring position of the first entry whose end lies beyond `counter`; ring_tail if none. */
uint64_t cache_find(const struct log_shard *s, uint64_t counter);
uint8_t *staging_take(struct log *log) must_use;
void staging_give(struct log *log, uint8_t *buf);

/* log_append.c */
/* Gathers the shard's fragments into a block at `to` (room for its frame), as a new entry in `chunk`. */
void stage_gather(struct log_shard *s, struct chunk *chunk, uint8_t *to, bool packed);
/* Gathers the fragments of shards that no round takes now, so that the stage can be emptied. ST_THROTTLED. */
int stage_gather_own(struct log_shard *s) must_use;
/* Completes the appends that are covered by `durable_next`. */
void append_complete(struct log_shard *s);
/* Fails all appends that are not durable and forgets their records. */
void append_fail(struct log_shard *s, int status);

/* log_round.c */
int round_init(struct log *log) must_use;
void round_deinit(struct log *log);
void round_all_synced(struct log *log);
/* The current journal has failed: what was written to it, but never synced, is moved to the segments first. */
void round_hold_unsynced(struct log *log);
bool round_held(const struct log *log); /* some are on their way still */
void round_takes_entry(struct log_shard *s);
void round_marks_end(struct log *log, bool durable);
void shard_tell(struct log_shard *s);
void log_retry_later(struct log *log);
void mark_later(struct log *log); /* a mark, once it has been calm for mark_after_ms */
void round_kick(struct log *log); /* at the end of this iteration */
void round_kick_now(struct log *log);
void round_want_entry(struct log_shard *s); /* its entry travels with the next round */
void shard_changed(struct log_shard *s);    /* its entry differs from the checkpointed one */
void shard_entry_fill(struct log_shard *s, struct log_entry *out);
void round_frame_header(struct log *log, struct frame_header *h, uint8_t kind, uint64_t offset, uint64_t durable_to);
/* Everything durable up to here is told: acks, watches. */
void shard_durable(struct log_shard *s, uint64_t next, struct wall_ms arrival, bool synced);
void shard_fence(struct log_shard *s, int status, const char *what);
void shard_quarantine(struct log_shard *s, const char *file, uint64_t offset, const char *cause);

/* log_journal.c */
void journal_init(struct log *log);
/* Makes a new current journal with a head; `done` through the parent task. For opening and for rolling. */
struct journal_roll;
void journal_roll_start(struct log *log);
/* Appends wait until journaled frames have moved to their segments, for room in a journal or for memory: if the disk
 * refuses to take them, the appends fail. */
void journal_fail_stuck(struct log *log);
void journal_prepare(struct log *log); /* background work: spare file, zeros ahead */
bool journal_zero_conflict(struct log *log, uint64_t offset, uint64_t bytes);
void journal_release(struct log *log, struct block_entry *e);
/* Oldest generation that is needed if a checkpoint of now becomes durable. */
uint64_t journal_oldest_needed(struct log *log);
void journal_recycle(struct log *log, uint64_t oldest_generation);
bool journal_idle(const struct log *log);
void journal_free_all(struct log *log);
/* The head frame(s) of a new journal, in a fresh buffer of *out_bytes (pages). NULL without memory. */
uint8_t *journal_head_build(struct log *log, uint64_t generation, size_t *out_bytes, uint64_t *out_end,
                            uint32_t *out_crc);

/* log_flush.c */
/* Starts moving the shard's frames to its segment, if it is not doing so. */
void flush_start(struct log_shard *s, bool direct);
void flush_migrate_oldest(struct log *log, uint64_t generation_below);
void flush_mark_durable(struct log_shard *s);
bool flush_wanted(const struct log_shard *s);

/* log_segment.c */
void segment_create_run(struct task *t); /* sub task of a flush: a new file for flush->new_base in flush->new_file */
void segment_open_run(struct task *t);   /* sub task of a flush: the active file in shard->segment_file */
/* Closes in the background; *file is IO_FILE_NONE afterwards. */
void segment_close(struct log *log, struct io_file *file);
/* The flush's write that started a segment is synced: the shard's active segment is the new one. */
void segment_switched(struct flush *f);

/* log_index.c */
#define INDEX_STEP (64u << 10)
/* A block of the active segment lies there now. */
void index_note(struct log_shard *s, uint64_t counter, uint64_t offset, struct wall_ms arrival);
int index_add(struct segment_index *ix, uint64_t counter, uint64_t offset, struct wall_ms arrival) must_use;
void index_free(struct segment_index *ix);
/* Position of the last entry whose counter is <= `counter`; 0 if there is none. */
uint32_t index_find(const struct segment_index *ix, uint64_t counter);
/* Position of the last entry whose arrival is < `at`; 0 if there is none. */
uint32_t index_find_time(const struct segment_index *ix, struct wall_ms at);
/* Writes the sidecar in the background: of the active segment (if its index is whole), or of any. */
void index_write(struct log_shard *s);
void index_write_info(struct log_shard *s, const struct segment_info *i);
/* Loads the index of one segment: from its sidecar, or by a scan. Zeroed; found.base, next_base, limit and active set. */
struct index_load {
    struct task task, page;
    struct log_shard *shard;
    struct segment_info found;
    uint64_t limit;     /* bytes from here on do not count */
    uint64_t next_base; /* of the segment behind it */
    bool active;        /* none is behind it, and it has no sidecar */
    bool whole, rebuilt;
    uint64_t generation, known_end;
    uint32_t known_crc;
    struct io_file file, other;
    int64_t got;
    struct file_scan scan;
    uint8_t *buf;
    char path[LOG_PATH_MAX];
};
void index_load_start(struct index_load *l, struct log_shard *s, struct task *parent);
void index_load_deinit(struct index_load *l);           /* found.index stays */
int segment_list_reserve(struct log_shard *s) must_use; /* room for one more */
void segment_list_add(struct log_shard *s, const struct segment_info *info);
void segment_list_free(struct log_shard *s);
int segment_list_from_names(struct log_shard *s, const struct io_names *names) must_use;
/* log_read.c */
uint64_t visible_next(const struct log_shard *s, enum log_visibility v);
bool read_busy(const struct log_shard *s);
void read_init(struct log *log);
void read_idle_close(struct log_shard *s); /* the reader's window and file go, if nobody uses them */
struct wall_ms retain_cutoff(struct log_shard *s);
void read_shard_gone(struct log_shard *s, int status);
void read_shard_forget(struct log_shard *s); /* the same, also for those that are to be looked at in this iteration */

/* log_watch.c */
void watch_init(struct log *log);
void watch_check(struct log_shard *s);
void watch_wake_all(struct log_shard *s);

/* log_retain.c */
void retain_init(struct log *log);
struct wall_ms expiry_now(struct log *log);
void reserve_check(struct log *log);
void retain_soon(struct log *log);
void retain_stop(struct log_shard *s); /* a close does not wait for its pauses */
void removal_init(struct log *log);
void removal_start(struct log_shard *s, struct log_remove *r);
void removal_go_on(struct log_shard *s);
uint64_t retain_floor(const struct log_shard *s); /* least counter that a delivery still needs */

/* log.c */
struct log_shard *shard_new(struct log *log, uint64_t uid) must_use;
void log_started(struct log *log); /* on its own loop: everything may run */
void shard_free(struct log_shard *s);
void shard_hide(struct log_shard *s); /* log_shard_find does not know it any more */
void log_task_started(struct log *log);
void log_task_ended(struct log *log); /* a close may go on now */
void sweep_arm(struct log *log);
int log_create(struct loop *loop, const struct log_options *options, const uint8_t uid[FRAME_UID_BYTES], uint32_t epoch,
               uint32_t index, uint32_t count, struct log **out) must_use;
void log_free(struct log *log);
void log_close_step(struct log *log);

#endif
