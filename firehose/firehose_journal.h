/*
 * A delivery's journal on disk: opening (finding the newest good file, damage rules), durable appends in order, and
 * rolling over to a new file. One file at a time, "<folder>/delivery-<uid>-<generation>.journal", 16 hex digits each.
 * How it works: firehose_journal.c; the format: docs/DELIVERY_JOURNAL.md. One loop.
 */
#ifndef SLUICE_FIREHOSE_FIREHOSE_JOURNAL_H
#define SLUICE_FIREHOSE_FIREHOSE_JOURNAL_H

#include "common/frame/frame.h"
#include "common/io/loop.h"
#include "firehose/journal_entry.h"

#define FIREHOSE_JOURNAL_ROLL_BYTES (4u << 20)
#define FIREHOSE_JOURNAL_PATH_MAX   1280u

struct firehose_journal;

struct firehose_journal_options {
    const char *folder; /* exists; copied */
    uint64_t delivery_uid;
    uint8_t log_uid[FRAME_UID_BYTES]; /* of the data directory */
    uint64_t roll_bytes;              /* 0: FIREHOSE_JOURNAL_ROLL_BYTES */
};

/* An append that waits for the disk. */
struct firehose_append {
    void (*done)(struct firehose_append *a); /* it is durable. Never comes while the disk refuses */
    struct list link;                        /* private */
};

struct firehose_journal_stats {
    uint64_t writes, bytes, rolls, failures;
    int last_error; /* 0: the last write went well */
};

/* -ENOMEM. Nothing is touched yet. */
int firehose_journal_create(struct loop *loop, const struct firehose_journal_options *options,
                            struct firehose_journal **out) must_use;
/* NULL is allowed; it must be closed or never opened. */
void firehose_journal_destroy(struct firehose_journal *j);

/* Reads what is there and starts a new file from it: when `opened` comes with 0, the state is on disk under a new
 * generation. status: ST_CORRUPT (damage below what was synced), ST_VERSION, -EIO, ...; `e` tells file and byte.
 * *out_found: there was a journal (otherwise the state is empty but for its incarnation). */
void firehose_journal_open(struct firehose_journal *j,
                           void (*opened)(struct firehose_journal *j, int status, const struct err *e), void *owner);
void *firehose_journal_owner(const struct firehose_journal *j);
bool firehose_journal_found(const struct firehose_journal *j);

/* The state as all appends so far make it, durable or not. Changed by the appends below only. */
const struct journal_state *firehose_journal_state(const struct firehose_journal *j);
uint64_t firehose_journal_take_object(struct firehose_journal *j); /* the next object's number */

/* Each changes the state and submits the entry; entries become durable in the order of the calls. `a` (may be NULL) is
 * told. Errors as journal_state_*: nothing was appended then. */
int firehose_journal_settings(struct firehose_journal *j, uint32_t version, struct slice json, uint32_t *out_id,
                              struct firehose_append *a) must_use;
int firehose_journal_intent(struct firehose_journal *j, const struct journal_intent *i,
                            struct firehose_append *a) must_use;
int firehose_journal_commit(struct firehose_journal *j, uint64_t object, struct firehose_append *a) must_use;
int firehose_journal_positions(struct firehose_journal *j, const struct journal_part *parts, uint32_t count,
                               struct firehose_append *a) must_use;

/* Waits for what is submitted (up to one more attempt if the disk refuses), writes the mark, closes the file. Appends
 * that could not be written are dropped without `done`. */
void firehose_journal_close(struct firehose_journal *j, void (*closed)(struct firehose_journal *j));

const struct firehose_journal_stats *firehose_journal_stats(const struct firehose_journal *j);

#endif
