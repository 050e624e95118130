/*
 * libsluice: the C client of sluice, or of anything else that speaks the Kinesis protocol.
 *
 *     struct sluice *s;
 *     struct sluice_error e;
 *     if (sluice_open(NULL, &s, &e) < 0)                          // http://127.0.0.1:4567 or SLUICE_ENDPOINT
 *         die(e.message);
 *     sluice_put(s, "events", &(struct sluice_record){.data = "hello", .data_bytes = 5}, NULL, &e);
 *     sluice_close(s);
 *
 * Errors are values: each call that can fail returns 0 or a negative SLUICE_E code, and fills the struct sluice_error that it
 * is given (NULL is allowed) with the code, the server's error name and a sentence. On failure outputs are untouched.
 *
 * Threads: a struct sluice has one background thread that does the I/O; every function may be called from any thread, also
 * from several at once, except where it says otherwise. Callbacks come on the background thread and must not block or call a
 * function that waits (those say "waits").
 *
 * Ownership: what is passed in is borrowed for the length of the call, unless it says otherwise.
 */
#ifndef SLUICE_SLUICE_H
#define SLUICE_SLUICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SLUICE_API __attribute__((visibility("default")))

/* ---- errors ----------------------------------------------------------------------------------------------------- */

enum sluice_code {
    SLUICE_OK = 0,
    SLUICE_E_ARGUMENT = -1,   /* the call's own arguments are wrong; nothing was sent */
    SLUICE_E_MEMORY = -2,     /* no memory, or the producer's buffer limit with `nonblocking` */
    SLUICE_E_CONNECT = -3,    /* no connection: name, refused, unreachable */
    SLUICE_E_TIMEOUT = -4,    /* no whole answer within timeout_ms */
    SLUICE_E_PROTOCOL = -5,   /* the answer is not what the protocol says */
    SLUICE_E_NOT_FOUND = -6,  /* ResourceNotFoundException */
    SLUICE_E_EXISTS = -7,     /* ResourceInUseException */
    SLUICE_E_INVALID = -8,    /* ValidationException, InvalidArgumentException, LimitExceededException */
    SLUICE_E_DENIED = -9,     /* signature, credentials, permission */
    SLUICE_E_THROTTLED = -10, /* the server is at a limit, also after the retries */
    SLUICE_E_EXPIRED = -11,   /* ExpiredIteratorException */
    SLUICE_E_SERVER = -12,    /* 5xx, or an error name not listed here */
    SLUICE_E_CLOSED = -13     /* the handle is being closed */
};

struct sluice_error {
    int code;          /* enum sluice_code */
    int http_status;   /* 0: no answer came */
    char name[64];     /* the server's name for it, e.g. "ResourceNotFoundException", or "" */
    char message[448]; /* a sentence for people, never empty on failure */
};

/* A short text for a code; static storage. Any thread. */
SLUICE_API const char *sluice_code_text(int code);

/* ---- the handle ------------------------------------------------------------------------------------------------- */

struct sluice;

struct sluice_options {
    const char *endpoint;          /* "http://host:port". NULL: SLUICE_ENDPOINT, else http://127.0.0.1:4567 */
    const char *region;            /* NULL: AWS_REGION, AWS_DEFAULT_REGION, else us-east-1 */
    const char *access_key_id;     /* NULL: AWS_ACCESS_KEY_ID; if there is none either, requests are not signed */
    const char *secret_access_key; /* NULL: AWS_SECRET_ACCESS_KEY */
    const char *session_token;     /* NULL: AWS_SESSION_TOKEN, if both of the above are NULL */
    uint32_t timeout_ms;           /* of one attempt; 0 = 60,000 */
    uint32_t retries_max;     /* further attempts on throttling, 5xx, timeouts and lost or refused connections, with
                                      backoff and jitter (8 of them take about 10 s); 0 = 8; UINT32_MAX = none. An attempt whose answer was lost may have been stored:
                                      records are then stored twice, as with every Kinesis client */
    uint32_t connections_max; /* 0 = 8 */
};

/* Makes a handle; does not connect yet. `options` (copied) NULL or zeroed: the defaults. Errors: ARGUMENT (endpoint not understood,
 * half a credential), MEMORY (also threads and rings). */
SLUICE_API int sluice_open(const struct sluice_options *options, struct sluice **out, struct sluice_error *e);
/* Ends the connections and the thread, frees. Its producers must be closed before, and no other call on `s` may be under way. NULL is
 * allowed. Waits. */
SLUICE_API void sluice_close(struct sluice *s);

/* ---- streams ---------------------------------------------------------------------------------------------------- */

enum sluice_stream_status { SLUICE_CREATING, SLUICE_DELETING, SLUICE_ACTIVE, SLUICE_UPDATING };

struct sluice_stream {
    char name[129];
    char arn[512];
    enum sluice_stream_status status;
    uint32_t open_shards;
    uint32_t retention_hours;
    double created; /* seconds since 1970 */
};

/* Creates a stream (`shards` 0: 1) and waits until it is ACTIVE. Errors: EXISTS, INVALID, and those of every request: CONNECT,
 * TIMEOUT, PROTOCOL, DENIED, THROTTLED, SERVER, MEMORY, CLOSED. */
SLUICE_API int sluice_stream_create(struct sluice *s, const char *name, uint32_t shards, struct sluice_error *e);
/* Deletes it and waits until it is gone. NOT_FOUND; those of every request. */
SLUICE_API int sluice_stream_delete(struct sluice *s, const char *name, struct sluice_error *e);
/* NOT_FOUND; those of every request. Waits. */
SLUICE_API int sluice_stream_describe(struct sluice *s, const char *name, struct sluice_stream *out,
                                      struct sluice_error *e);
/* All names in order, as an array of `*out_count` strings that ends with NULL; free it with sluice_free. Waits. */
SLUICE_API int sluice_stream_list(struct sluice *s, char ***out_names, size_t *out_count, struct sluice_error *e);

struct sluice_shard {
    char id[64];     /* "shardId-000000000000" */
    char parent[64]; /* "" if none */
    char adjacent_parent[64];
    char first_hash[40], last_hash[40]; /* decimal, inclusive */
    bool closed;
};

/* All shards of a stream; free the array with sluice_free. NOT_FOUND; those of every request. Waits. */
SLUICE_API int sluice_shard_list(struct sluice *s, const char *stream, struct sluice_shard **out, size_t *out_count,
                                 struct sluice_error *e);

SLUICE_API void sluice_free(void *p);

/* ---- putting ---------------------------------------------------------------------------------------------------- */

struct sluice_record {
    const void *data;
    size_t data_bytes;
    const char *partition_key;     /* 1..256 characters; NULL: a random one */
    const char *explicit_hash_key; /* decimal below 2^128; NULL: from the key */
};

struct sluice_put_result {
    int code; /* 0: stored, on stable storage; else why not */
    char shard_id[64];
    char sequence_number[64]; /* decimal */
};

/* Stores one record. `out` may be NULL. ARGUMENT, NOT_FOUND, INVALID; those of every request. Waits for the acknowledgement. */
SLUICE_API int sluice_put(struct sluice *s, const char *stream, const struct sluice_record *record,
                          struct sluice_put_result *out, struct sluice_error *e);
/* Stores up to 500 records (10 MiB) in one request; records that were throttled one by one are sent again by the retries.
 * Returns 0 if all are stored; else the first failure, with `out` (count of them, may be NULL) telling each; on ARGUMENT nothing
 * was sent and `out` is untouched. Waits. */
SLUICE_API int sluice_put_batch(struct sluice *s, const char *stream, const struct sluice_record *records, size_t count,
                                struct sluice_put_result *out, struct sluice_error *e);

/* A producer gathers records into batches and keeps several requests in flight. Order: records of one partition key are stored
 * in the order of their puts only with in_flight_max = 1 (and then too a record that the server throttled alone, and that is sent
 * again, comes behind those of its batch). A request that the server refuses as a whole fails all of its records. */
struct sluice_producer;

/* Tells what became of one record; on the background thread. Both live for the call; e->code is 0 if it is stored. */
typedef void sluice_put_done(void *ctx, void *tag, const struct sluice_put_result *result,
                             const struct sluice_error *e);

struct sluice_producer_options {
    uint32_t batch_records;  /* send when this many are waiting: 1..500; 0 = 500 */
    uint32_t batch_bytes;    /* or this many bytes; 0 = 1 MiB */
    uint32_t linger_ms;      /* or the oldest waits this long; 0 = 5 */
    uint32_t in_flight_max;  /* requests; 0 = 4 */
    size_t buffer_bytes_max; /* of records accepted and not yet acknowledged; 0 = 64 MiB */
    bool nonblocking;        /* a full buffer gives SLUICE_E_MEMORY instead of waiting */
    sluice_put_done *done;   /* NULL: failures are counted, and the first is told by flush and close */
    void *ctx;
};

struct sluice_producer_stats {
    uint64_t accepted, stored, failed; /* records */
    uint64_t stored_bytes, requests, retries;
};

/* `stream` is copied. ARGUMENT, MEMORY. */
SLUICE_API int sluice_producer_open(struct sluice *s, const char *stream, const struct sluice_producer_options *options,
                                    struct sluice_producer **out, struct sluice_error *e);
/* Takes a copy of the record; `tag` comes back in `done`. Waits while the buffer is full. ARGUMENT (too large, a key that no server
 * takes), MEMORY, CLOSED. */
SLUICE_API int sluice_producer_put(struct sluice_producer *p, const struct sluice_record *record, void *tag,
                                   struct sluice_error *e);
/* Sends what is gathered and waits until everything accepted so far is answered. Returns the first failure since the last flush. */
SLUICE_API int sluice_producer_flush(struct sluice_producer *p, struct sluice_error *e);
SLUICE_API void sluice_producer_stats(struct sluice_producer *p, struct sluice_producer_stats *out);
/* Flushes and frees. Returns what the flush did. No other call on `p` may be under way. NULL is allowed. */
SLUICE_API int sluice_producer_close(struct sluice_producer *p, struct sluice_error *e);

/* ---- reading ---------------------------------------------------------------------------------------------------- */

enum sluice_from {
    SLUICE_FROM_TRIM_HORIZON,    /* the oldest record there is */
    SLUICE_FROM_LATEST,          /* what comes from now on */
    SLUICE_FROM_SEQUENCE_NUMBER, /* that record and what follows */
    SLUICE_FROM_AFTER_SEQUENCE_NUMBER,
    SLUICE_FROM_TIMESTAMP
};

struct sluice_position {
    enum sluice_from from;
    const char *sequence_number; /* for the two of that name */
    double timestamp;            /* seconds since 1970 */
};

#define SLUICE_ITERATOR_MAX 1024

/* Writes a shard iterator, good for five minutes (the server's iterator_life). ARGUMENT, NOT_FOUND, INVALID; those of every request.
 * Waits. */
SLUICE_API int sluice_iterator(struct sluice *s, const char *stream, const char *shard_id,
                               const struct sluice_position *position, char out[SLUICE_ITERATOR_MAX],
                               struct sluice_error *e);

struct sluice_read_record {
    const void *data;
    size_t data_bytes;
    const char *partition_key;
    const char *sequence_number;
    double arrival; /* seconds since 1970 */
};

struct sluice_batch {
    const struct sluice_read_record *records;
    size_t count;
    int64_t behind_ms; /* 0: caught up */
    bool shard_ended;  /* a closed shard, read to its end: the iterator is "" now */
};

/* Reads up to `limit` records (0: 10,000) and moves `iterator` on. The batch is *out's; free it with sluice_batch_free. EXPIRED; those
 * of every request. Waits for the answer, not for records: an empty batch is a success. */
SLUICE_API int sluice_read(struct sluice *s, char iterator[SLUICE_ITERATOR_MAX], uint32_t limit,
                           struct sluice_batch **out, struct sluice_error *e);
SLUICE_API void sluice_batch_free(struct sluice_batch *batch);

/* ---- deliveries ------------------------------------------------------------------------------------------------- */

/* All delivery streams' names, as sluice_stream_list gives them. Waits. */
SLUICE_API int sluice_delivery_list(struct sluice *s, char ***out_names, size_t *out_count, struct sluice_error *e);
/* One JSON object, NUL-terminated; free it with sluice_free. NOT_FOUND; those of every request. Waits.
 *     {"description": {...}, "status": {...}}
 * description: DescribeDeliveryStream's DeliveryStreamDescription, AWS's words for its settings. status: what sluiced tells of it at GET
 * /deliveries/NAME (state, lag, counts, last error); null from a server that has no such page. */
SLUICE_API int sluice_delivery_describe(struct sluice *s, const char *name, char **out_json, struct sluice_error *e);
/* Stores up to 500 records on a DirectPut delivery stream (keys are ignored). As sluice_put_batch. */
SLUICE_API int sluice_delivery_put_batch(struct sluice *s, const char *delivery, const struct sluice_record *records,
                                         size_t count, struct sluice_put_result *out, struct sluice_error *e);

/* "0.1.0": of the library. */
SLUICE_API const char *sluice_version(void);

#ifdef __cplusplus
}
#endif

#endif
