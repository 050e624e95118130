/*
 * A delivery's source in memory, for tests and the simulator: parts whose records the test appends, in blocks of its
 * choosing. It outlives loops: after a crash the test attaches it to the new one. Whatever it allocates, it allocates in
 * the calls of the test (add, append), never in a callback of a loop.
 *
 * A record's data is whatever the test gives; record_source_append_numbered makes "<part>:<counter>:<filler>".
 */
#ifndef SLUICE_TEST_RECORD_SOURCE_H
#define SLUICE_TEST_RECORD_SOURCE_H

#include "firehose/source.h"

#define RECORD_PARTS_MAX 16

struct record_block {
    struct block_header header;
    uint8_t *payload;
};

struct record_part {
    struct source_part info;
    struct record_block *blocks;
    uint32_t block_count, block_cap;
    uint64_t delivered; /* the greatest that was told */
};

struct record_source {
    struct source source;
    struct loop *loop;
    struct record_part part[RECORD_PARTS_MAX];
    uint32_t part_count;
    struct list reads, wakes; /* waiting for an answer, waiting for records */
    struct io_defer answer;
    uint32_t lent;  /* blocks that are not released */
    int fail_reads; /* so many reads fail with -EIO */
    uint64_t reads_made;
    void *(*alloc)(size_t); /* calloc-like; a simulator's test sets its own */
    void (*free)(void *);
};

void record_source_init(struct record_source *s);
void record_source_deinit(struct record_source *s);
/* To the loop that the delivery runs on; forgets what was in flight on a former one. */
void record_source_attach(struct record_source *s, struct loop *loop);
/* Its counters begin at `first`. */
struct record_part *record_source_add(struct record_source *s, uint64_t uid, uint64_t first, uint64_t parent);
/* One block of records; all at once, as one commit. Wakes who waits. */
void record_source_append(struct record_source *s, uint64_t part, const struct slice *data, uint32_t count,
                          struct wall_ms arrival);
/* `count` records of `bytes` each (at least 24): "<part>:<counter>:xxx". */
void record_source_append_numbered(struct record_source *s, uint64_t part, uint32_t count, uint32_t bytes,
                                   struct wall_ms arrival);
/* Nothing will follow. */
void record_source_close(struct record_source *s, uint64_t part);
/* Retention: everything below `counter` is gone (whole blocks or not). */
void record_source_trim(struct record_source *s, uint64_t part, uint64_t counter);
struct record_part *record_source_part(struct record_source *s, uint64_t uid);

#endif
