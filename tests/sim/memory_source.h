/*
 * A delivery's source in memory (firehose/source.h): parts with records whose bytes tell which they are. What it holds
 * outlives a crash, as an acknowledged record does; reads and wake-ups in flight do not. It trims what `delivered` says
 * is delivered for good, so that a premature word loses records.
 *
 * A record is "<part>:<counter>:" and filling, without a newline.
 */
#ifndef SLUICE_MEMORY_SOURCE_H
#define SLUICE_MEMORY_SOURCE_H

#include "firehose/source.h"
#include "tests/sim/sim.h"

#define MEMORY_PARTS_MAX 8
#define MEMORY_READS_MAX 32

struct memory_block {
    struct block_header header;
    uint8_t *payload;
    uint32_t lent;
};

struct memory_part {
    uint64_t uid, parents[2];
    bool closed;
    uint64_t next_counter;
    uint64_t first_counter; /* trimmed below */
    uint64_t delivered;     /* as the firehose said, in any life */
    struct memory_block *block;
    uint32_t block_count, block_cap;
};

struct memory_pending { /* a read or a wake-up on its way */
    struct io_timer timer;
    struct memory_source *m;
    struct source_read *read;
    struct source_wake *wake;
};

struct memory_source {
    struct source source;
    struct sim_world *w;
    struct loop *loop; /* of this life */
    struct memory_part part[MEMORY_PARTS_MAX];
    uint32_t part_count;
    uint32_t read_eio; /* per million */
    struct memory_pending pending[MEMORY_READS_MAX];
    char trouble[200];
};

void memory_source_init(struct memory_source *m, struct sim_world *w);
void memory_source_deinit(struct memory_source *m);
/* A new life on `loop`. */
void memory_source_restart(struct memory_source *m, struct loop *loop);
/* A new part (up to two parents, which must be closed; 0: none). */
struct memory_part *memory_source_add_part(struct memory_source *m, uint64_t parent, uint64_t other_parent);
void memory_source_close_part(struct memory_source *m, struct memory_part *p);
/* Appends a block of `count` records of about `bytes` each, and wakes who waits. */
void memory_source_append(struct memory_source *m, struct memory_part *p, uint32_t count, uint32_t bytes);
/* Reads a delivered line: its part (index into m->part) and counter. False: it is none of ours, or not whole. */
bool memory_source_parse(const struct memory_source *m, struct slice line, uint32_t *out_part, uint64_t *out_counter);

#endif
