/*
 * Records into a stream: hashing, routing, one append a shard, an answer in the order of the records. Shared by
 * PutRecord, PutRecords and the REST ingestion, which check their input before and write their answers after.
 *
 *     put_batch.item[i]: key, data (and hash, if explicit) ─▶ put_start ─▶ route ─▶ group by shard ─▶ shard_append_all
 *     ─▶ done ─▶ put_result(i) for each
 *
 * All memory is the request's arena: nothing is allocated a record. The loop of the request.
 */
#ifndef SLUICE_API_PUT_H
#define SLUICE_API_PUT_H

#include "broker/api/api_impl.h"

struct put_item {
    struct slice key, data; /* until done */
    bool explicit_hash;
    struct hash_key hash; /* explicit, or put_start's */
    /* out: */
    const struct registry_shard *shard;
    uint32_t append, position; /* private: the record is the position-th of all.item[append] */
};

struct put_batch {
    void (*done)(struct put_batch *b);
    struct api_loop *loop;
    struct registry_stream *stream; /* with open shards; put_start takes a reference until put_end */
    struct arena *arena;
    struct put_item *item;
    uint32_t count;
    void *user;
    /* private: */
    struct shard_append_all all;
    struct seqnum_run *run; /* of each append */
    uint32_t *run_at;       /* the position that run stands at */
};

/* -ENOMEM: the arena is used up, nothing was taken and `done` will not come. Else `done` comes, maybe inside. */
int put_start(struct put_batch *b) must_use;

/* What became of record i: 0 and its 56 digits (valid until the next call for the same shard), or why it was not
 * stored. Fastest if called with rising i. */
int put_result(struct put_batch *b, uint32_t i, struct slice *out_sequence_number) must_use;
/* Counts the batch in the loop's statistics and gives up the reference. Once, after `done`. */
void put_end(struct put_batch *b);

/* True for what a client should simply try again later. */
static inline bool put_throttled(int status)
{
    return status == ST_THROTTLED || status == ST_RESERVE;
}

#endif
