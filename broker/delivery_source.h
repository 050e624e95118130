/*
 * A stream's shards as a firehose source (firehose/source.h): the one place where the log and the firehose meet. A
 * part is a shard; reads, wakes and holds on retention travel to the shard's loop by broker/api's shard calls. One
 * source belongs to one loop, the delivery's.
 *
 * Invariants
 *  S1. Only synced records are seen (LOG_SYNCED).
 *  S2. What is not yet delivered is held back from retention by a shard_need a part, whose counter rises with
 *      `delivered` and never falls. What retention by size or the disk reserve takes all the same is told in the
 *      diagnostics (the log counts it).
 *  S3. A block's memory is the log's until source_release; a read gives its blocks back to their loop when the last of
 *      them was released.
 */
#ifndef SLUICE_BROKER_DELIVERY_SOURCE_H
#define SLUICE_BROKER_DELIVERY_SOURCE_H

#include "broker/api/api.h"
#include "firehose/source.h"

struct delivery_source;

/* A source over the stream's shards. `opened` comes, never inside the call, when the shards' ends are known; parts() is
 * right from then on. With status -ENOMEM some are missing: close it. -ENOMEM of the call itself: nothing was made. */
struct delivery_source_open {
    void (*opened)(struct delivery_source_open *o);
    const char *name;   /* of the delivery, for the diagnostics; until closed */
    const char *stream; /* the stream's name, until closed: if it is deleted, the next one of that name takes its place;
                           NULL: not */
    int status;
    struct delivery_source *source;
    uint32_t asking; /* private */
};
int delivery_source_open(struct api_loop *l, uint64_t stream_uid, struct delivery_source_open *o) must_use;
/* Cancels what waits; frees once nothing is under way, then `closed`. The delivery must have stopped. */
void delivery_source_close(struct delivery_source *s, void (*closed)(void *ctx), void *ctx);
struct source *delivery_source_of(struct delivery_source *s);
/* How many records wait in its parts, from the oldest there is. */
uint64_t delivery_source_records(const struct delivery_source *s);

#endif
