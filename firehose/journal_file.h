/*
 * One file of a delivery's journal as bytes: building frames for a write, and reading a whole file back into a state.
 * Pure: no I/O. Used by firehose_journal.c, tests and the fuzz target.
 */
#ifndef SLUICE_FIREHOSE_JOURNAL_FILE_H
#define SLUICE_FIREHOSE_JOURNAL_FILE_H

#include "common/frame/frame.h"
#include "firehose/journal_entry.h"

/* Where a file stands, for appending to it. */
struct journal_tail {
    uint8_t log_uid[FRAME_UID_BYTES];
    uint64_t generation, delivery_uid;
    uint32_t open_epoch, previous_crc;
    uint64_t end;        /* where the next write begins: a multiple of 4096 */
    uint64_t frames_end; /* behind the last frame: before the padding */
    uint64_t durable;    /* frames_end as it was synced last: goes into durable_to */
};

/* Appends a frame to a write that begins at tail->end: `out` holds the write's bytes so far. */
void journal_frame_add(struct journal_tail *tail, uint8_t kind, struct slice body, struct bytebuf *out);
/* Pads the write to a multiple of 4096 bytes. */
void journal_write_pad(struct bytebuf *out);

/*
 * Reads a whole file. 1: *state (empty before) is what it says; 0: it holds no checkpoint: it was never completed.
 * ST_CORRUPT: damage below what was synced, or entries that contradict each other, or a file of another data directory
 * or delivery; ST_VERSION; -ENOMEM. `e` tells byte and cause. On anything but 1 the state must be deinited.
 */
int journal_file_read(struct slice file, const uint8_t log_uid[FRAME_UID_BYTES], uint64_t generation,
                      uint64_t delivery_uid, struct journal_state *state, struct err *e) must_use;

/* "delivery-<uid>-<generation>.journal"; the inverse is false for any other name. */
#define JOURNAL_NAME_CHARS 50
void journal_file_name(uint64_t delivery_uid, uint64_t generation, char out[JOURNAL_NAME_CHARS + 1]);
bool journal_file_name_parse(const char *name, uint64_t *out_delivery_uid, uint64_t *out_generation);

#endif
