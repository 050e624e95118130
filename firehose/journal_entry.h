/*
 * What a delivery's journal says: the state that its entries add up to, and the entries' bytes. Pure: no I/O; the bytes
 * are untrusted when read. The format, byte by byte: docs/DELIVERY_JOURNAL.md. Rules: firehose.md, "Exactly once".
 *
 * The state of a delivery is: how far each part is covered (`position`: every record below it lies in a committed object
 * or in an open intent), the open intents, the settings that they and the delivery name, and the object counter.
 *
 * Invariants
 *  J1. An intent's ranges are in no other intent, open or committed: they begin at or above their part's position and
 *      move it to their end. Only a second attempt of the same object repeats them.
 *  J2. An intent enters once its object's bytes are staged; a second attempt of the object replaces it.
 *  J3. A commit names an open intent and closes it.
 *  J4. Applying the entries of a journal in order gives the same state as the one from which they were written.
 */
#ifndef SLUICE_FIREHOSE_JOURNAL_ENTRY_H
#define SLUICE_FIREHOSE_JOURNAL_ENTRY_H

#include "common/base/bytebuf.h"
#include "common/base/clock.h"
#include "common/base/slice.h"
#include "common/base/status.h"
#include "firehose/sink.h"

/* Frame kinds of a delivery's journal. */
enum journal_kind {
    JOURNAL_CHECKPOINT = 1, /* the whole state; the first frame of every file, and nowhere else */
    JOURNAL_SETTINGS = 2,
    JOURNAL_INTENT = 3,
    JOURNAL_COMMIT = 4,
    JOURNAL_POSITIONS = 5, /* parts whose position moves without an object: records lost to retention */
};

#define JOURNAL_PARTS_MAX    16384u
#define JOURNAL_RANGES_MAX   32768u
#define JOURNAL_INTENTS_MAX  64u
#define JOURNAL_SETTINGS_MAX 64u

/* Records [from, to) of a part. */
struct journal_range {
    uint64_t part, from, to;
};

struct journal_part {
    uint64_t uid, position;
};

struct journal_intent {
    uint64_t object;   /* the object's number; in its name, never used again */
    uint64_t replaces; /* 0, or the object whose intent this one takes over (its key was somebody else's) */
    uint32_t settings; /* id of the settings that it is made with */
    uint32_t attempt;  /* 1.. */
    struct wall_ms oldest;
    uint64_t records, raw_bytes;
    uint64_t stored_bytes; /* what is staged, */
    uint32_t stored_crc;   /* and its CRC32C */
    char key[SINK_KEY_MAX + 1];
    uint32_t range_count, range_cap;
    struct journal_range *ranges; /* owned */
};

struct journal_settings {
    uint32_t id; /* 1.., ascending */
    uint32_t version;
    struct slice json; /* owned */
};

struct journal_state {
    uint64_t delivery_uid;
    uint32_t incarnation; /* random, when the journal was made: in every object's name */
    uint32_t open_epoch;
    uint64_t next_object;
    uint32_t part_count, part_cap;
    struct journal_part *parts;
    uint32_t intent_count;
    struct journal_intent *intents[JOURNAL_INTENTS_MAX]; /* in the order in which they came */
    uint32_t settings_count;
    struct journal_settings settings[JOURNAL_SETTINGS_MAX];
};

void journal_state_init(struct journal_state *s);
void journal_state_deinit(struct journal_state *s);

/* NULL if there is none. */
struct journal_part *journal_state_part(const struct journal_state *s, uint64_t uid);
struct journal_intent *journal_state_intent(const struct journal_state *s, uint64_t object);
const struct journal_settings *journal_state_settings(const struct journal_state *s, uint32_t id);
/* Everything of `part` below this is in committed objects (or lost). */
uint64_t journal_state_committed(const struct journal_state *s, uint64_t part);

/* Changes, as the entries make them. -ENOMEM; ST_CONFLICT: against an invariant; ST_LIMIT. The state is untouched on
 * failure. */
int journal_state_set_position(struct journal_state *s, uint64_t part, uint64_t position) must_use;
/* Copies. */
int journal_state_add_settings(struct journal_state *s, uint32_t id, uint32_t version, struct slice json) must_use;
int journal_state_add_intent(struct journal_state *s, const struct journal_intent *intent) must_use;
int journal_state_commit(struct journal_state *s, uint64_t object) must_use;
/* Drops settings that no open intent names and that are not the newest. */
void journal_state_forget_settings(struct journal_state *s);
void journal_state_forget_part(struct journal_state *s, uint64_t uid);

void journal_intent_destroy(struct journal_intent *i);
/* Adds [from, to) to the intent's ranges, joining it to the part's last one if that ends at `from`. -ENOMEM, ST_LIMIT. */
int journal_intent_add_range(struct journal_intent *i, uint64_t part, uint64_t from, uint64_t to) must_use;

/* The bodies of the frames. */
void journal_write_checkpoint(const struct journal_state *s, struct bytebuf *out);
void journal_write_settings(const struct journal_settings *settings, struct bytebuf *out);
void journal_write_intent(const struct journal_intent *i, struct bytebuf *out);
void journal_write_commit(uint64_t object, struct bytebuf *out);
void journal_write_positions(const struct journal_part *parts, uint32_t count, struct bytebuf *out);

/* Reads a frame's body and applies it. A checkpoint needs an empty state. ST_CORRUPT: it contradicts itself or the
 * state; ST_VERSION: an unknown kind; -ENOMEM. */
int journal_state_apply(struct journal_state *s, uint8_t kind, struct slice body) must_use;

#endif
