/*
 * The operations of the daemon, as its main sees them: one `struct api` a process, one `struct api_loop` a loop. The
 * Kinesis operations, the REST ingestion, and the way a delivery reaches the shards of its stream.
 *
 *     api_start ──▶ catalog read, token key, logs opened, half-made streams finished, streams of the configuration made
 *     api_request(loop's part, exchange)            every HTTP request: AWS, REST, or main's own (/metrics, /healthz)
 *     api_stop ──▶ logs closed, everything freed
 *
 * Threads: api_start, api_stop and what they call back run on loops[0]; everything else with a `struct api_loop *` is
 * called on that loop's thread. Nothing is shared between loops but what is said to be constant here.
 */
#ifndef SLUICE_API_API_H
#define SLUICE_API_API_H

#include "broker/catalog/catalog.h"
#include "broker/config.h"
#include "broker/log/log.h"
#include "common/base/histogram.h"
#include "common/http/http_server.h"
#include "common/wire/dispatch.h"

struct api;
struct api_loop;

/* ---- what main gives -------------------------------------------------------------------------------------------- */

struct api_options {
    struct loop **loops; /* loops[0] is the calling one; all run, or will before api_start can finish */
    uint32_t loop_count;
    struct catalog *catalog;       /* stays main's; open until api_stop is done */
    const struct log_options *log; /* copied */
    /* account_id, region, iterator_life_ms, limits, credentials (none: any signature, and none at all, is accepted),
     * streams (an existing one keeps its shards; its retention and record size are changed), routes. */
    const struct config *config;
    uint32_t create_delay_ms, delete_delay_ms; /* a stream stays CREATING, DELETING at least that long */
    uint32_t shards_max;                       /* of all streams; 0: 10,000. Over it: LimitExceededException */
    const struct service *const *services;     /* more services (firehose's), NULL-terminated; NULL: none */
    /* Requests that are neither AWS's nor the REST ingestion's (GET /metrics, /healthz). False: not known: 404. */
    bool (*other)(void *ctx, struct api_loop *loop, struct http_exchange *x);
    void *ctx;
};

/* ---- life ------------------------------------------------------------------------------------------------------- */

struct api_start {
    void (*done)(struct api_start *s);
    int status; /* 0, or of the catalog, of log_open, -ENOMEM: err tells */
    struct err err;
    struct api *api; /* on success; else everything is undone */
    void *private;
};
/* What `options` points to must live until api_stop is done. */
void api_start(const struct api_options *options, struct api_start *s);

struct api_stop {
    void (*done)(struct api_stop *s);
    int status;
    void *private;
};
/* After the HTTP servers have stopped: finishes changes that are under way, closes the logs, frees. */
void api_stop(struct api *api, struct api_stop *s);

/* The part of a loop (index as in api_options.loops). Any thread. */
struct api_loop *api_loop_at(struct api *api, uint32_t index);
struct api *api_of(struct api_loop *l);
uint32_t api_loop_index(const struct api_loop *l);
struct loop *api_loop_io(struct api_loop *l);
struct log *api_loop_log(struct api_loop *l);
uint32_t api_loop_count(const struct api *api);

/* The names that ARNs are made of. Constant. */
const char *api_account(const struct api *api);
const char *api_region(const struct api *api);

/* What a handler of another service (firehose's) uses to get at its own context: set before the first request. */
void api_loop_set_user(struct api_loop *l, void *user);
void *api_loop_user(const struct api_loop *l);

/* ---- requests ---------------------------------------------------------------------------------------------------- */

/* The `request` function of the loop's HTTP server: give the api_loop as its ctx. Operations get their api_loop in
 * call->ctx. */
void api_request(void *api_loop, struct http_exchange *x);

/* ---- counters ---------------------------------------------------------------------------------------------------- */

#define API_OPERATIONS_MAX 96

enum api_result { API_RESULT_OK, API_RESULT_CLIENT, API_RESULT_THROTTLED, API_RESULT_SERVER, API_RESULT_COUNT };

struct api_operation_stats {
    uint64_t requests[API_RESULT_COUNT];
    struct histogram latency_us; /* from the request's last byte to its answer */
};

struct api_stats {
    uint64_t records_in, bytes_in, records_failed; /* acknowledged; data and keys */
    uint64_t records_out, bytes_out;
    uint64_t errors[AWS_ERROR_COUNT]; /* by AWS's name */
    uint64_t errors_rest[600];        /* of the REST ingestion, by HTTP status */
    uint64_t remote_calls;            /* messages to other loops */
    struct api_operation_stats operation[API_OPERATIONS_MAX];
};

/* The loop's own counters; read them on its thread. */
const struct api_stats *api_stats(const struct api_loop *l);
/* Adds up (for a sum over loops). */
void api_stats_add(struct api_stats *sum, const struct api_stats *one);
/* The name of operation[i] ("PutRecords", "rest:put"), or NULL: not in use. Constant. */
const char *api_operation_name(const struct api *api, uint32_t i);
/* Writes the counters as Prometheus text. */
void api_stats_write(const struct api *api, const struct api_stats *sum, struct bytebuf *out);

/* ---- streams ----------------------------------------------------------------------------------------------------- */

/* A change of what exists. The struct and what it points to must live until done, which comes on `l`'s thread, when
 * every loop knows of the change. */
struct api_change {
    void (*done)(struct api_change *c);
    int status; /* ST_EXISTS, ST_NOT_FOUND, ST_CONFLICT (its state does not allow it), ST_LIMIT (shards_max), -EIO.. */
    struct err err;
    struct catalog_stream stream; /* in (create, update): all but uid, status, created; out: as it is now */
    uint32_t shard_count;         /* create */
    bool wait_active;             /* create: done comes when it is ACTIVE; else when it is CREATING */
    void *private;                /* the caller's */
    /* ours: */
    struct api_loop *home;
    struct io_msg msg;
    uint8_t kind;
};
void api_stream_create(struct api_loop *l, struct api_change *c);
/* By stream.name; done comes when it is DELETING. */
void api_stream_delete(struct api_loop *l, struct api_change *c);
/* Rewrites mode, retention and record size of the stream stream.name. */
void api_stream_update(struct api_loop *l, struct api_change *c);

/* The uid of the stream of that name, internal ones too; 0: there is none. Its status is in *out_status if not NULL. */
uint64_t api_stream_find(struct api_loop *l, struct slice name, enum stream_status *out_status);

/* ---- what a delivery needs: a stream's shards -------------------------------------------------------------------- */

/* Shards of a stream as this loop knows them, by index; returns how many there are (at most `cap` are written). */
uint32_t api_stream_shards(struct api_loop *l, uint64_t stream_uid, struct catalog_shard *out, uint32_t cap);
/* The loop that owns a shard. Any thread. */
uint32_t api_shard_owner(const struct api *api, uint64_t shard_uid);

/* Told (from the loop, never inside another call here) whenever shards of the stream appear, change or go. */
struct api_stream_watch {
    void (*changed)(struct api_stream_watch *w);
    uint64_t stream_uid;
    struct list link; /* private */
    bool due;         /* private */
};
void api_stream_watch(struct api_loop *l, struct api_stream_watch *w);
void api_stream_unwatch(struct api_stream_watch *w);

#endif
