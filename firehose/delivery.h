/*
 * The engine of one delivery: from its source's parts to objects in its sink, each record in exactly one of them. How
 * it works: delivery.c. One loop; its jobs run on the loop's workers.
 */
#ifndef SLUICE_FIREHOSE_DELIVERY_H
#define SLUICE_FIREHOSE_DELIVERY_H

#include "firehose/delivery_settings.h"
#include "firehose/piece.h"
#include "firehose/sink.h"
#include "firehose/source.h"

struct delivery;

struct delivery_options {
    struct loop *loop;
    const char *journal_folder;          /* exists; copied */
    uint64_t uid;                        /* never used again after a deletion */
    uint8_t log_uid[16];                 /* of the data directory: in the journal's frames */
    struct piece_pool *pieces;           /* shared by the deliveries of the loop */
    uint32_t jobs_max;                   /* compressions at once; 0: 3 */
    uint32_t objects_max;                /* open and unfinished objects; 0: 4 */
    uint32_t retry_ms_min, retry_ms_max; /* 0: 250 ms, 60 s */
    struct source *source;
};

enum delivery_state {
    DELIVERY_OPENING, /* journal and open intents */
    DELIVERY_RUNNING,
    DELIVERY_RETRYING, /* the sink refuses; last_error says why */
    DELIVERY_STOPPING,
    DELIVERY_STOPPED,
    DELIVERY_FAILED, /* the journal is damaged or cannot be opened: nothing is delivered; last_error says why */
    DELIVERY_STATE_COUNT
};
const char *delivery_state_name(enum delivery_state s);

struct delivery_status {
    enum delivery_state state;
    uint64_t lag_records; /* acknowledged, not in a committed object */
    uint64_t lag_bytes;   /* of those; unread ones are estimated by the mean so far */
    int64_t lag_ms;       /* age of the oldest of those that have been read; 0: none */
    uint64_t objects;     /* committed since the start, and what is in them: */
    uint64_t records, raw_bytes, stored_bytes;
    uint64_t lost_records;                  /* retention took them before they were delivered */
    uint64_t retries;                       /* failed operations of the sink */
    uint64_t objects_redone, objects_found; /* after a crash: built again; found complete */
    uint64_t journal_writes, journal_failures;
    uint32_t objects_open;
    struct wall_ms last_object; /* when the last one was committed; 0: none yet */
    struct wall_ms last_error_time;
    char last_error[256]; /* "": none yet */
    char last_key[SINK_KEY_MAX + 1];
};

/* Settings are copied. -ENOMEM, ST_INVALID (settings); fills `e`. Nothing runs yet. */
int delivery_create(const struct delivery_options *options, const struct delivery_settings *settings,
                    struct delivery **out, struct err *e) must_use;
/* NULL is allowed. It must be stopped, failed or never started. */
void delivery_destroy(struct delivery *d);

/* Opens the journal, finishes what a crash left, and delivers until stopped. `opened` (may be NULL) is called once with
 * 0 or the journal's error; after an error the state is DELIVERY_FAILED. */
void delivery_start(struct delivery *d, void (*opened)(struct delivery *d, int status), void *owner);
void *delivery_owner(const struct delivery *d);

/* Delivers all that its source holds now and stops: at most `grace_ms`, then leaves the rest for the next start. 0 leaves at once.
 * `stopped` comes when nothing is in flight any more. In any state. */
void delivery_stop(struct delivery *d, uint32_t grace_ms, void (*stopped)(struct delivery *d));

/* Closes the open object now, as if its interval were over. */
void delivery_flush(struct delivery *d);

void delivery_status(struct delivery *d, struct delivery_status *out);
const struct delivery_settings *delivery_settings_of(const struct delivery *d);
uint64_t delivery_uid(const struct delivery *d);

#endif
