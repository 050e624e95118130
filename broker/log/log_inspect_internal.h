/*
 * What the files of the offline verification share:
 *
 *   log_inspect.c          the flow, shards, verdicts, and what is the same for journals and segments: frames, blocks
 *   log_inspect_journal.c  which journals count; walking them, first for what they know, then for their blocks
 *   log_inspect_segment.c  a shard's segments and sidecars
 */
#ifndef SLUICE_LOG_INSPECT_INTERNAL_H
#define SLUICE_LOG_INSPECT_INTERNAL_H

#include "broker/log/log_inspect.h"
#include "broker/log/log_recover.h"

struct inspect_shard {
    uint64_t uid;
    struct log_shard_report report;
    bool known;  /* an entry tells of it */
    bool proved; /* a journal has it, in an entry, a proof or a block */
    bool no_folder;
    bool removed; /* it has no folder, but must have had segments: not looked at further */
    struct log_entry entry;
    uint64_t proven;        /* it must have the records below */
    uint64_t have;          /* it has been found to have the records below */
    struct wall_ms arrival; /* of the newest block found */
};

struct segment_name {
    uint64_t base;
    bool segment, sidecar;
};

struct segment_start { /* what the front of a segment file says */
    uint64_t base;     /* its name */
    bool good;         /* the head is; else: */
    bool synced;       /* frames show that the file was synced once */
    uint64_t generation;
    uint32_t epoch;
    struct log_segment_head head;
};

struct inspect {
    struct task task, sub, sub2;
    struct log_inspect *o;
    struct hashmap map; /* uid -> inspect_shard */
    struct inspect_shard **shards;
    uint32_t shard_count, shard_cap, shard_at;
    /* step 1 of an opening reads heads and chooses journals (log_recover_heads.c): old[], uid, last_epoch */
    struct recover recover;
    struct log_open open; /* for its directory and error text only */
    struct log_options options;
    uint32_t journal_at;

    struct io_names folders, names;
    uint32_t folder_at;
    struct io_file file;
    uint8_t *buf; /* HEAD_WINDOW_BYTES */
    size_t want;
    char path[LOG_PATH_MAX]; /* of the file being walked */

    /* the walk */
    struct file_scan scan;
    uint64_t size;       /* of the file */
    uint64_t durable_to; /* of the frame before */
    uint64_t damages;    /* when it began */
    bool resumed;        /* records before this frame are lost, and that has been told */
    /* of a journal */
    struct old_journal *journal;
    bool loading, head_seen, clean;
    uint64_t round; /* the last one's number; UINT64_MAX: none */
    /* of a segment */
    struct inspect_shard *shard;
    struct segment_name *segment_names;
    uint32_t segment_name_count, segment_at;
    struct segment_start start, next, before;
    bool counts, before_counts, missing;
    uint64_t known_end; /* where the file must reach; 0: not known */
    uint32_t known_crc;
    char path2[LOG_PATH_MAX]; /* of the file whose front is read */
    /* sidecars are loaded by log_index.c, for a log and a shard that hold only names */
    struct log *log;
    struct log_shard *log_shard;
    struct log_opening_hook hook; /* told when a file has been closed in the background */
    bool ended;
    struct index_load load;
    uint32_t place; /* the next of load.found.index to be met */
    bool check_places;
};

/* log_inspect.c */
void inspect_tell(struct inspect *i, enum log_severity severity, struct inspect_shard *s, const char *file,
                  uint64_t offset, const char *fmt, ...) printf_like(6);
/* Sets the whole's error; returns the status. */
int inspect_fail(struct inspect *i, int status, const char *file);
/* Made if it is not there yet; NULL without memory. */
struct inspect_shard *inspect_shard_of(struct inspect *i, uint64_t uid);
/* The shard lacks records, and its folder too: its stream may have been deleted. */
void inspect_removed(struct inspect *i, struct inspect_shard *s);
/* Starts a walk of i->file from its beginning. */
void inspect_walk_begin(struct inspect *i, uint64_t generation, uint64_t known_end, uint64_t limit);
/* After file_scan: tells what the end is. True: it goes on behind damage. */
bool inspect_walk_resumes(struct inspect *i, bool must_resume);
/* What every frame must keep to. */
void inspect_frame(struct inspect *i, struct inspect_shard *s, const struct frame_header *h, uint64_t offset);
/* Checks a block in an intact frame and its place behind s->have; counts it. */
void inspect_block(struct inspect *i, struct inspect_shard *s, struct slice body, uint64_t offset,
                   struct block_header *out);
/* Counters from..to - 1 were never given: skipped by openings after unclean stops (interval, never). */
bool inspect_skipped(uint64_t from, uint64_t to);

/* log_inspect_journal.c: runs of i->sub, and what is between them */
void inspect_list_run(struct task *t);
void inspect_choose(struct inspect *i);
void inspect_journal_run(struct task *t);

/* log_inspect_segment.c: a run of i->sub */
void inspect_segments_run(struct task *t);

#endif
