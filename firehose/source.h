/*
 * Where a delivery's records come from, and where DirectPut's records go: the two interfaces through which the firehose
 * reaches the log without knowing it. The daemon's main implements both over broker/log (a stream's shards); the
 * simulator implements them too. One loop.
 *
 * A source has parts (a stream's shards), each with its own counters. Blocks come in order; a part may end (closed
 * shard) and new parts may appear (resharding).
 */
#ifndef SLUICE_FIREHOSE_SOURCE_H
#define SLUICE_FIREHOSE_SOURCE_H

#include "common/frame/block.h"
#include "common/io/loop.h"

#define SOURCE_BLOCKS_MAX 64

struct source;

/* A block, lent until source_release. */
struct source_block {
    struct block_header header; /* base_counter and arrival are the log's */
    struct slice payload;       /* raw */
    void *hold[4];              /* the implementation's */
};

struct source_read {
    void (*done)(struct source_read *r);
    uint64_t part;         /* uid of the part (shard) */
    uint64_t from_counter; /* the first block returned holds this record, maybe not as its first */
    uint32_t bytes_max;
    int status;            /* 0; ST_TRIMMED (next_counter tells where the data starts now), ST_CLOSED, -EIO, ... */
    bool part_ended;       /* nothing will ever follow from_counter (a closed shard read to its end) */
    uint64_t next_counter; /* with ST_TRIMMED: the oldest counter there is */
    uint32_t block_count;  /* 0 with status 0: nothing synced there yet; wake will tell */
    struct source_block block[SOURCE_BLOCKS_MAX];
    void *state[8]; /* the implementation's */
};

struct source_wake {
    void (*woken)(struct source_wake *w);
    uint64_t part;
    uint64_t counter; /* one-shot: woken once a synced record with a counter >= this is there, or the part has ended */
    void *state[8];
};

/* One part as the source tells it. */
struct source_part {
    uint64_t uid;
    uint32_t index;         /* for messages: shardId-%012u */
    uint64_t first_counter; /* the oldest record there is */
    uint64_t next_counter;  /* of the next synced record to come: a lag is next_counter minus a position */
    uint64_t end_counter;   /* UINT64_MAX while open */
    uint64_t parents[2];    /* uids; 0: none. They are read to their ends first, so that the order per key holds */
};

struct source_ops {
    /* Parts now; returns how many there are (at most `cap` are written). */
    uint32_t (*parts)(struct source *s, struct source_part *out, uint32_t cap);
    void (*read)(struct source *s, struct source_read *r); /* done never comes inside the call */
    void (*release)(struct source *s, struct source_block *b);
    void (*wake)(struct source *s, struct source_wake *w);
    void (*wake_cancel)(struct source *s, struct source_wake *w);
    /* Everything of `part` below `counter` is delivered for good: retention (or, for DirectPut, trimming) may take it.
     */
    void (*delivered)(struct source *s, uint64_t part, uint64_t counter);
};

struct source {
    const struct source_ops *ops;
    /* Set by the firehose: called (from the loop) when parts appear or go; NULL is allowed. */
    void (*parts_changed)(struct source *s);
    void *delivery; /* the firehose's, for parts_changed */
    void *owner;    /* the implementation's */
};

/* DirectPut: appends records to the delivery's internal stream. `done` with status 0 once they are on disk. */
struct intake;
struct intake_append {
    void (*done)(struct intake_append *a);
    int status;
    void *state[24];
};
struct intake {
    /* 0: done will come. ST_THROTTLED, ST_RESERVE, ST_CLOSED: nothing was taken. The records are copied. */
    int (*append)(struct intake *i, const struct block_record *records, uint32_t count, struct intake_append *a);
    void *owner;
};

#endif
