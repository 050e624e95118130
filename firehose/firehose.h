/*
 * The deliveries of one loop, and what the daemon's main sees of the firehose: start them, stop them, ask how they are.
 * The main joins a delivery to the log through firehose/source.h; the firehose knows no broker. One loop.
 */
#ifndef SLUICE_FIREHOSE_FIREHOSE_H
#define SLUICE_FIREHOSE_FIREHOSE_H

#include "common/io/loop.h"
#include "firehose/delivery.h"
#include "firehose/delivery_settings.h"
#include "firehose/source.h"

struct firehose;

struct firehose_options {
    struct loop *loop;
    const char *journal_folder; /* made if it is missing (its parent exists); copied */
    uint8_t log_uid[16];        /* of the data directory */
    uint64_t memory_bytes_max;  /* of records on their way, all deliveries together; 0: 64 MiB */
    uint32_t jobs_max;          /* compressions at once, a delivery; 0: 3 */
    uint32_t deliveries_max;    /* 0: 1,000 */
};

/* -ENOMEM, ST_INVALID (a folder's name too long); fills `e`. */
int firehose_create(const struct firehose_options *options, struct firehose **out, struct err *e) must_use;
/* NULL is allowed; every delivery must have been removed or stopped. */
void firehose_destroy(struct firehose *f);

/* Makes the journals' folder. `done` with 0 or -errno. Before the first firehose_add. */
void firehose_open(struct firehose *f, void (*done)(struct firehose *f, int status, void *ctx), void *ctx);

/* Adds a delivery and starts it; the settings are copied, the source must live until it is removed or stopped. ST_EXISTS
 * (the uid or the name), ST_LIMIT, ST_INVALID, -ENOMEM; fills `e`. It opens its journal by itself: watch its status. */
int firehose_add(struct firehose *f, uint64_t uid, const struct delivery_settings *settings, struct source *source,
                 struct delivery **out, struct err *e) must_use;
/* New settings of a running delivery: closes what is open under the old ones, then goes on with the new. `done` once
 * they are in use. ST_NOT_FOUND, ST_CONFLICT (it is stopping, or a change is under way), ST_INVALID; fills `e`. */
int firehose_update(struct firehose *f, uint64_t uid, const struct delivery_settings *settings,
                    void (*done)(struct firehose *f, uint64_t uid, void *ctx), void *ctx, struct err *e) must_use;
/* Stops one and forgets it; with `erase` its journal is removed too (the delivery stream is deleted). ST_NOT_FOUND,
 * ST_CONFLICT. */
int firehose_remove(struct firehose *f, uint64_t uid, uint32_t grace_ms, bool erase,
                    void (*done)(struct firehose *f, uint64_t uid, void *ctx), void *ctx) must_use;

/* By name or by uid; NULL. */
struct delivery *firehose_find(struct firehose *f, struct slice name);
struct delivery *firehose_find_uid(struct firehose *f, uint64_t uid);
/* In the order of their names: NULL gives the first; NULL at the end. */
struct delivery *firehose_next(struct firehose *f, struct delivery *after);

/* Stops all: each delivers what is buffered within `grace_ms`, or leaves it for the next start. Once. */
void firehose_stop(struct firehose *f, uint32_t grace_ms, void (*stopped)(struct firehose *f, void *ctx), void *ctx);

/* What the metrics show of one delivery. */
struct firehose_sample {
    char name[DELIVERY_NAME_MAX + 1];
    struct delivery_status status;
};
/* Appends one of each delivery to `out`, as bytes. */
void firehose_sample(struct firehose *f, struct bytebuf *out);
/* Prometheus text of samples, which may come from several loops: each metric is named once. */
void firehose_metrics_write(const struct firehose_sample *sample, uint32_t count, struct bytebuf *out);
/* One delivery's status as a JSON object (for `sluice delivery describe`). */
void delivery_status_print(struct delivery *d, struct bytebuf *out);

#endif
