/*
 * What the files of the delivery engine share. Its story, invariants and failure modes: delivery.c.
 *
 *     delivery.c         life: opening, recovery, retries, stopping, status
 *     delivery_parts.c   source: the parts, reads ahead, waiting, pacing
 *     delivery_fill.c    buffer: what goes into which object, and when an object closes
 *     delivery_flow.c    format's pieces through compress, encrypt and write
 *     delivery_object.c  a closed object: stage, intent, publish, commit; and what a failure makes of it
 */
#ifndef SLUICE_FIREHOSE_DELIVERY_INTERNAL_H
#define SLUICE_FIREHOSE_DELIVERY_INTERNAL_H

#include "firehose/age.h"
#include "firehose/compress.h"
#include "firehose/delivery.h"
#include "firehose/firehose_journal.h"
#include "firehose/format.h"
#include "firehose/name.h"
#include "firehose/sink.h"

#define DELIVERY_READS      3u         /* read-ahead: blocks that are there, or on their way */
#define DELIVERY_READ_BYTES (1u << 20) /* of one read */
#define DELIVERY_FLOWS      12u        /* pieces of one delivery on their way */
#define DELIVERY_JOBS_MAX   16u
#define FORMAT_INLINE_BYTES (64u << 10) /* less than that is not worth a worker */
#define PACE_MS_MAX         100u
#define HARD_MS_MIN         1000u

/* Settings as objects are made with, by their id in the journal. */
struct delivery_version {
    uint32_t id;
    struct delivery_settings settings;
    struct age_recipient recipients[DELIVERY_RECIPIENTS_MAX];
};

enum part_state {
    PART_READY,   /* there may be something to read */
    PART_READING, /* a slot is on its way */
    PART_WAITING, /* the source will tell */
    PART_PACED,   /* the source has told; read a little later, together with what comes until then */
    PART_FAILED,  /* a read failed; again after a pause */
    PART_DRAINED, /* stopping: there was nothing more */
    PART_ENDED
};

struct delivery_part {
    struct delivery *d;
    uint64_t uid, parents[2];
    uint64_t first;   /* where it begins as long as the journal does not know it */
    uint64_t lost_to; /* counted as lost up to here */
    uint64_t read_to; /* the next read begins here */
    enum part_state state;
    bool listed, over; /* over: ended, and everything of it is in an object */
    struct mono_ns read_at;
    struct source_wake wake;
};

enum slot_state { SLOT_FREE, SLOT_IN_FLIGHT, SLOT_READY };

struct delivery_slot {
    struct source_read read;
    struct delivery *d;
    enum slot_state state;
    struct delivery_part *part; /* NULL: a replay's */
    uint64_t to;                /* a replay's range ends here; else UINT64_MAX */
    struct list link;           /* ready ones, in order */
};

enum object_state {
    OBJECT_FREE,
    OBJECT_FILLING,
    OBJECT_CLOSED, /* pieces are on their way */
    OBJECT_STAGING,
    OBJECT_STAGED,       /* waits for the intents of those before it */
    OBJECT_INTENT,       /* the intent is on its way to the journal */
    OBJECT_PUBLISHING,   /* ... */
    OBJECT_COMMITTING,   /* the commit is on its way */
    OBJECT_INSPECT_WAIT, /* a pause after a failed publish */
    OBJECT_INSPECTING,
    OBJECT_REPLAY,   /* to be built again from its intent's records */
    OBJECT_DROPPING, /* its staged bytes are being removed */
    OBJECT_LEFT,     /* stopping: the next start goes on with its intent */
};

struct delivery_object {
    struct delivery *d;
    enum object_state state;
    struct list order; /* in delivery.objects, from when it was opened */
    struct sink_object *sink;
    struct journal_intent intent; /* ranges owned, kept for reuse */
    uint64_t journaled;           /* the object number of its intent in the journal; 0: none yet */
    const struct delivery_version *version;
    struct mono_ns soft, hard; /* when it closes; see delivery_fill.c */
    bool close_wanted;         /* once the record that is half out is whole */
    bool again;                /* DROPPING: then REPLAY, not FREE */
    /* pieces */
    struct list flows;
    bool begun; /* a piece was sealed already */
    bool last;  /* the last piece was sealed */
    bool encrypting, writing;
    struct age_stream *age; /* made when it is needed first */
    struct age_random random;
    /* journal, retries */
    struct firehose_append append;
    struct io_timer timer;
    uint32_t retry_ms;
};

enum flow_state {
    FLOW_FREE,
    FLOW_FILLING,
    FLOW_SEALED,
    FLOW_COMPRESSING,
    FLOW_COMPRESSED,
    FLOW_ENCRYPTING,
    FLOW_READY,
    FLOW_WRITING
};

/* One piece on its way. */
struct delivery_flow {
    struct delivery *d;
    struct delivery_object *object;
    struct piece *piece;
    enum flow_state state;
    bool first, last;
    int status;
    struct compressor_slot *compressor;
    struct io_job job;
    struct list link;   /* of the object, in order */
    struct list sealed; /* waits for a compressor */
};

struct compressor_slot {
    struct compressor *compressor;
    enum compression kind;
    bool busy;
};

/* What stopping has come to. */
enum stop_phase { STOP_NO, STOP_DRAIN, STOP_DROP, STOP_SETTLE, STOP_CLOSE, STOP_DONE };

struct delivery {
    struct delivery_options options;
    struct loop *loop;
    char *journal_folder;
    struct source *source;
    struct sink *sink;
    struct firehose_journal *journal;
    enum delivery_state state;
    void (*opened)(struct delivery *d, int status);
    void *owner;

    struct delivery_version *current;
    struct delivery_version *versions[JOURNAL_SETTINGS_MAX];
    uint32_t version_count;

    struct delivery_part **parts;
    uint32_t part_count, part_cap, part_next; /* part_next: round robin */
    struct source_part *listing;
    uint32_t listing_cap;
    struct delivery_slot slot[DELIVERY_READS];
    struct list ready;
    bool parts_stale;

    struct delivery_object *object;
    uint32_t object_count;
    struct list objects; /* those in use, oldest first */

    /* fill */
    struct delivery_object *filling;
    struct delivery_flow *flow;
    struct format_run run;
    struct io_job format_job;
    bool formatting, pressed;
    uint32_t replay_range; /* of filling->intent.ranges, while it is a replay: */
    uint64_t replay_read_to;
    bool replay_paused;
    struct io_timer due_timer, pace_timer, again_timer;
    struct io_defer kick;
    struct piece_waiter waiter;
    struct piece_holder holder;

    /* flow */
    struct delivery_flow flows[DELIVERY_FLOWS];
    struct compressor_slot compressor[DELIVERY_JOBS_MAX];
    struct list sealed;

    /* trouble */
    bool resetting; /* a failure: building objects are given up as soon as nothing of theirs is in flight */
    bool pausing;   /* nothing is filled until retry_timer */
    bool trouble;   /* failed, and no commit since */
    struct io_timer retry_timer;
    uint32_t retry_ms;

    /* stop */
    enum stop_phase stop;
    bool stop_waits; /* told to stop while it opens: it opens first, and then delivers what is there */
    struct io_timer grace_timer;
    void (*stopped)(struct delivery *d);
    struct firehose_append settings_append;
    char (*clean_keep)[SINK_STAGE_MAX + 1];
    char clean_prefix[NAME_UNIQUE_CHARS + 1];
    bool cleaning;

    struct delivery_status status; /* the counters of it */
};

/* delivery.c */
void delivery_error(struct delivery *d, int status, const char *fmt, ...) printf_like(3);
/* Gives up everything that has no intent yet and everything that is being built, and starts over from the journal's
 * positions; with `pause`, after the backoff. */
void delivery_reset(struct delivery *d, bool pause);
/* Something of a building object has come to its end: the reset may go on. */
void delivery_reset_step(struct delivery *d);
void delivery_stop_step(struct delivery *d);
uint32_t delivery_backoff(struct delivery *d, uint32_t *ms);
const struct delivery_version *delivery_version_of(struct delivery *d, uint32_t id);

/* delivery_parts.c */
int parts_refresh(struct delivery *d, bool first) must_use;
void parts_read_ahead(struct delivery *d);
void parts_rewind(struct delivery *d);
/* Nothing is on its way, and nothing more is there. */
bool parts_caught_up(const struct delivery *d);
/* Reads what was told of without waiting for the pace. */
void parts_hurry(struct delivery *d);
/* Stopping: every part is read until there is nothing more; true once that is so. */
void parts_drain(struct delivery *d);
bool parts_drained(const struct delivery *d);
void parts_retry_failed(struct delivery *d);
void parts_stop(struct delivery *d);
void parts_free(struct delivery *d);
void slot_release(struct delivery *d, struct delivery_slot *slot);
bool slots_in_flight(const struct delivery *d);

/* delivery_fill.c */
void fill_init(struct delivery *d);
void fill_kick(struct delivery *d);
/* Closes the object that is being filled, as soon as no record is half out. */
void fill_close_wanted(struct delivery *d);
bool fill_mid_record(const struct delivery *d);

/* delivery_flow.c */
struct delivery_flow *flow_get(struct delivery *d, struct delivery_object *o);
void flow_seal(struct delivery_flow *f, bool last);
void flow_drop_all(struct delivery_object *o);
bool flow_in_flight(const struct delivery_object *o);
void flow_written(struct delivery_object *o);

/* delivery_object.c */
struct delivery_object *object_open(struct delivery *d);
void object_free(struct delivery_object *o);
/* Its last piece was sealed. */
void object_closed(struct delivery_object *o);
/* All its pieces are written. */
void object_written(struct delivery_object *o);
void object_drop(struct delivery_object *o);
void object_inspect(struct delivery_object *o);
/* Ends its intent in the journal. */
void object_commit(struct delivery_object *o);
bool object_building(const struct delivery_object *o);
void object_sink_done(struct sink_object *sink);
void object_retry_fired(struct io_timer *t);
/* Objects that wait for the intents of those before them. */
void objects_staged_step(struct delivery *d);

#endif
