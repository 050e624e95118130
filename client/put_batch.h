/*
 * One PutRecords (or PutRecordBatch) request: records as JSON, built as they are added, so that a record is copied once.
 * Records that the server throttled one by one are sent again, alone, until all are stored or the retries are used up.
 *
 * A request that the server refuses as a whole (a record over the stream's own limit, say) fails all of its records, as
 * with every Kinesis client.
 *
 * Life: put_batch_init, put_batch_add ..., put_batch_send, done (on the loop's thread), put_batch_deinit.
 */
#ifndef SLUICE_CLIENT_PUT_BATCH_H
#define SLUICE_CLIENT_PUT_BATCH_H

#include "client/client.h"

#define PUT_RECORDS_MAX      500
#define PUT_BYTES_MAX        (10u << 20) /* data and keys of a request */
#define PUT_RECORD_BYTES_MAX (10u << 20)
#define PUT_KEY_CHARS_MAX    256

struct put_batch {
    struct sluice *s;
    enum client_service service;
    void (*done)(struct put_batch *b);
    void *user;
    /* what became of it: */
    uint32_t count;
    uint64_t bytes;                   /* data and keys */
    struct sluice_put_result *result; /* count of them */
    struct sluice_error error;        /* the first failure; code 0: all are stored */
    uint32_t requests, retries;
    /* private */
    struct client_request request;
    struct bytebuf fragments; /* the records' JSON, one after the other */
    uint32_t *end;            /* where each ends in fragments */
    uint32_t *sending;        /* which records the current request holds */
    uint32_t sending_count, attempts, cap;
    char *prefix; /* {"StreamName":"...","Records":[ */
    struct io_timer timer;
};

/* -ENOMEM. `records_max`: most that will be added. */
int put_batch_init(struct put_batch *b, struct sluice *s, enum client_service service, const char *name,
                   uint32_t records_max) must_use;
/* SLUICE_E_ARGUMENT or SLUICE_E_MEMORY, nothing added. */
int put_batch_add(struct put_batch *b, const struct sluice_record *record, struct sluice_error *e) must_use;
/* Any thread; the batch must not be touched until done. */
void put_batch_send(struct put_batch *b);
void put_batch_deinit(struct put_batch *b);
/* SLUICE_E_ARGUMENT: no server would take it. What is wrong with one record would else fail its whole request. */
int put_record_check(const struct sluice_record *record, struct sluice_error *e) must_use;
/* Bytes that a record counts for: data and key. Of a record that put_record_check passed. */
size_t put_record_bytes(const struct sluice_record *record);

#endif
