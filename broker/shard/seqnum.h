/*
 * Sequence numbers: what the world sees of a counter. 56 decimal digits which, in hexadecimal, read (AWS's layout, 47
 * digits; bit 0 is the lowest):
 *
 *   digits  bits     what
 *        1  184-187  2
 *        9  148-183  the shard's creation, seconds since 1970
 *        1  144-147  the low nibble of the shard's index
 *       16   80-143  the counter, below 2^63
 *        2   72-79   00
 *        9   36-71   the record's arrival, seconds since 1970
 *        8    4-35   the shard's index, below 2^31
 *        1    0-3    2, the layout's version
 *
 * Invariants
 *  S1. In a shard a greater counter makes a greater number, whatever the clocks did: the counter stands above the
 *      arrival time. Numbers therefore rise strictly across restarts and clock steps if counters do.
 *  S2. Every number of a shard is at least its starting number (its first counter, arrived at its creation): an arrival
 *      before the creation, after a clock step, is written as the creation.
 *  S3. A number is 56 digits long: 2 * 16^46 = 4.9e55 and 3 * 16^46 = 7.4e55.
 *  S4. A child shard's numbers exceed its parents' if it was created at least one second later: whoever makes a child
 *      sees to that (created = max(now, parent's + 1 s)).
 *
 * Pure: no I/O, no clock, no allocation. Any thread.
 */
#ifndef SLUICE_SHARD_SEQNUM_H
#define SLUICE_SHARD_SEQNUM_H

#include "common/base/clock.h"
#include "common/base/slice.h"
#include "common/base/status.h"

#define SEQNUM_DIGITS      56u
#define SEQNUM_TEXT_MAX    (SEQNUM_DIGITS + 1)
#define SEQNUM_COUNTER_MAX INT64_MAX
#define SEQNUM_INDEX_MAX   INT32_MAX

/* The part of a number that names its shard: as in the catalog's row. */
struct seqnum_shard {
    struct wall_ms created; /* seconds count */
    uint32_t index;         /* shardId-%012u */
};

struct seqnum {
    struct seqnum_shard shard;
    uint64_t counter;
    struct wall_ms arrival; /* seconds count */
};

/* Writes the 56 digits and a NUL. For single numbers; a block's are written by a run (below), which is faster. */
void seqnum_format(const struct seqnum *n, char out[SEQNUM_TEXT_MAX]);

/* Reads any number that Kinesis may have given: 1 to 129 digits without a leading zero, or "0". *out_version is the
 * layout it has: 2 is ours; of 0 and 1, which AWS once used, only the shard is told (what such a number is good for is
 * an error that names its shard). ST_SYNTAX: not a decimal, or of no known layout. ST_LIMIT: our layout, but its
 * counter or shard index is larger than possible. */
int seqnum_parse(struct slice text, struct seqnum *out, uint32_t *out_version) must_use;

/* The counter that a caller's number means in `shard` (AT_ and AFTER_SEQUENCE_NUMBER; the arrival in it is ignored).
 * *out_parsed is filled in whenever the number could be read at all, so that an error can name the shard in it.
 *   ST_SYNTAX     unreadable:     "StartingSequenceNumber N used in GetShardIterator on shard S in stream T under
 *   ST_LIMIT      too large:       account A is invalid."
 *   ST_CONFLICT   another shard:  "Invalid StartingSequenceNumber. It encodes S2, while it was used in a call to a
 *                                  shard with S"
 *   ST_NOT_FOUND  another stream: "StartingSequenceNumber N used in ... is invalid because it did not come from this
 *                                  stream."
 * Whether the counter has been given out yet is for the caller to compare. */
int seqnum_find(struct slice text, const struct seqnum_shard *shard, uint64_t *out_counter,
                struct seqnum *out_parsed) must_use;

/* Number order; < 0, 0, > 0. */
int seqnum_compare(const struct seqnum *a, const struct seqnum *b);

/*
 * A run: the numbers of consecutive counters of one block, one after the other. What they share is computed once; the
 * step to the next is two additions and the lower 38 digits.
 *
 *     struct seqnum_run run;
 *     seqnum_run_start(&run, &first);
 *     for (i = 0; i < count; i++, seqnum_run_next(&run))
 *         write(run.text, SEQNUM_DIGITS);
 */
struct seqnum_run {
    uint64_t limb[3];           /* private: the number in base 10^19, lowest first */
    char text[SEQNUM_TEXT_MAX]; /* the current number, NUL-terminated */
};
void seqnum_run_start(struct seqnum_run *run, const struct seqnum *first);
void seqnum_run_next(struct seqnum_run *run);

#endif
