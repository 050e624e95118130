/*
 * What a log must hold, kept beside it: for each shard every record that was submitted, in order, and what became of
 * it. The driver tells the model what it does and sees; the model says what is wrong with that.
 *
 * A record's bytes follow from its shard and its running number there (its id), so that any record can be checked by
 * itself. Rules, by their names in the messages:
 *   lost        an acknowledged (or seen) record is missing
 *   reordered   ids do not rise with the counters
 *   renumbered  a record was known under another counter
 *   altered     its bytes, key or arrival time differ
 *   twice       a counter was given to two records
 *   raised      a record that was missing after one opening is there after a later one
 *   gap         counters are not consecutive, or a record that never failed is missing before one that is there
 *   early       retention took a record too soon
 */
#ifndef SLUICE_LOG_MODEL_H
#define SLUICE_LOG_MODEL_H

#include "broker/log/log.h"
#include "tests/sim/sim.h"

#define NO_COUNTER UINT64_MAX

enum model_state {
    MODEL_PENDING, /* submitted */
    MODEL_ACKED,
    MODEL_FAILED, /* done came with an error */
    MODEL_GONE    /* missing after an opening */
};

struct model_record {
    uint64_t counter; /* NO_COUNTER: not known */
    int64_t true_ms;  /* when it was submitted, by a clock that is never stepped */
    int64_t arrival;  /* 0: not known */
    uint32_t bytes;
    uint8_t state;
    bool exposed; /* somebody was told its counter */
    bool kept;    /* must survive whatever comes */
};

struct model_shard {
    uint64_t uid;
    struct model_record *record; /* by id */
    uint64_t count, cap;
    uint64_t settled; /* ids below are ACKED, FAILED or GONE */
    uint64_t first_counter;
    uint64_t next_exposed; /* above every counter that was ever told */
    bool rotten;           /* bits of its were flipped: it may be quarantined */
    int64_t keep_ms;       /* the shortest retention ever set; INT64_MAX: none */
    bool keep_bytes;       /* retention by size was set */
    uint64_t failed_below; /* ids below that were pending when an append failed: none may be acknowledged (G2) */
    /* of a scan: */
    uint64_t scan_id, scan_counter;
    uint64_t scan_first_id;
};

struct model {
    enum log_sync sync;
    struct model_shard *shard;
    uint32_t shard_count;
    int64_t steps_ms;  /* the sum of the wall clock's steps */
    char trouble[400]; /* the first violation, or "" */
};

void model_init(struct model *m, enum log_sync sync, uint32_t shards, uint64_t first_uid);
void model_deinit(struct model *m);
/* Notes a violation; always returns false. */
bool model_fail(struct model *m, const struct model_shard *s, const char *fmt, ...) printf_like(3);
static inline bool model_ok(const struct model *m)
{
    return m->trouble[0] == 0;
}

/* A new record: its id. Its bytes: model_record_bytes into `key` and `data`. */
uint64_t model_submit(struct model_shard *s, uint32_t bytes, int64_t true_ms);
/* A submission was refused after all: takes the last `count` ids back. */
void model_take_back(struct model_shard *s, uint32_t count);
#define MODEL_KEY_MAX 64
struct block_record model_record_make(const struct model_shard *s, uint64_t id, uint8_t key[MODEL_KEY_MAX],
                                      uint8_t *data);

bool model_acked(struct model *m, struct model_shard *s, uint64_t id, uint32_t count, uint64_t base,
                 struct wall_ms arrival);
void model_append_failed(struct model_shard *s, uint64_t id, uint32_t count, int status);
/* A reader got this block; `durable`: what it saw must never vanish. Checks every record. */
bool model_block(struct model *m, struct model_shard *s, const struct log_block *b, bool durable);
/* first_counter as the log says it: what went must have been allowed to go. */
bool model_first(struct model *m, struct model_shard *s, uint64_t first, int64_t true_ms);

enum model_cut {
    MODEL_CLEAN, /* it was closed */
    MODEL_KILL,  /* the process died: what was written is there */
    MODEL_POWER  /* the power failed */
};
/* After an opening: the records found, in order of their counters, then the end. */
void model_scan_start(struct model_shard *s);
/* The scan could not be finished: what became of that which may be there or not stays unknown (as of failed appends). */
void model_scan_abandon(struct model *m, struct model_shard *s, enum model_cut cut);
bool model_scan_block(struct model *m, struct model_shard *s, const struct log_block *b);
/* `unreadable`: the shard is quarantined, so what follows could not be read. */
bool model_scan_end(struct model *m, struct model_shard *s, uint64_t next_counter, enum model_cut cut, bool unreadable);

#endif
