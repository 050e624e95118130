/*
 * What the files of the opening share (log_recover.c tells the story):
 *
 *   log_recover.c          the flow, verdicts, migration, new journals, handing over
 *   log_recover_heads.c    step 1: which journals there are and which count
 *   log_recover_walk.c     steps 2 and 4: what the journals know, and the frames that are in no segment
 *   log_recover_direct.c   step 3: what direct shards have in their segments beyond the checkpoint
 */
#ifndef SLUICE_LOG_RECOVER_H
#define SLUICE_LOG_RECOVER_H

#include "broker/log/log_internal.h"

#define HEAD_WINDOW_BYTES (1u << 20)
#define HEAD_SEARCH_BYTES (16u << 20)

struct old_journal {
    uint32_t folder;
    uint64_t sequence, size;
    bool head_ok, needed, newest, damaged, clean;
    uint8_t uid[FRAME_UID_BYTES];
    uint64_t generation;
    uint32_t epoch;
    struct log_head head;
    struct log_proof *older; /* head.journals: generation, end */
    uint64_t known_end;      /* from a newer head; UINT64_MAX: open */
    bool soft;               /* not all below known_end was synced */
};

struct follower { /* a segment file that was started after the last checkpoint of its shard */
    uint64_t base, generation, size, previous_generation, previous_end;
    bool fresh; /* of an opening that was not completed: counts only if it replaces and what is before it matches */
};

struct recover {
    struct task task, sub, sub2, sub3;
    struct log_open *o;
    struct log_options options;
    struct loop *loop;
    struct io_names folders, names;
    struct io_file file;
    uint32_t folder_at, at, loops;
    struct old_journal *old;
    uint32_t old_count, old_cap;
    uint8_t *buf;
    size_t buf_bytes, want, got;
    struct file_scan scan;
    uint8_t uid[FRAME_UID_BYTES];
    bool uid_known;
    uint32_t epoch, last_epoch; /* of this opening; of the last complete one */
    struct old_journal *walking;
    bool loading;
    uint64_t round; /* number of the last round frame seen; UINT64_MAX: none */
    bool resumed, unproven;
    struct log_shard *shard; /* being worked on */
    struct log *log;
    struct list *shard_it;
    int64_t got_status;
    uint64_t cut_at, checkpointed_end;
    bool corrupt;
    struct follower *followers; /* step 3: the shard's files behind the active one that count */
    uint32_t follower_count, follower_at;
    uint64_t trusted_to;
    struct log_segment_head own_head; /* of the segment being walked, if the walk began at its start */
    bool own_head_known, fresh;
    enum direct_pass { PASS_TRUST, PASS_APPLY, PASS_LOAD } pass;
    uint64_t from, from_generation; /* where the walk over a segment begins */
    uint32_t from_crc;
    bool tail; /* frames were found that are not trusted where they lie */
    char path[LOG_PATH_MAX];
    char path2[LOG_PATH_MAX + 16];
    uint32_t handed;
    bool flush_progress, entered, strays, head_taken, rolled, skip;
    int status;
    uint32_t old_at;
    uint64_t quarantined;
    struct task outer;
    struct log_opening_hook hook;
    struct opening_hand *hands;
    struct log_journal_waiter waiter;
};

/* log_recover.c */
/* Sets the opening's error text to "what: <text of status>"; returns the status. */
int recover_fail(struct recover *r, int status, const char *what);
/* The shard, made if `live` did not name it; NULL without memory. */
struct log_shard *recover_shard(struct recover *r, uint64_t uid);
int recover_entry(struct recover *r, const struct log_entry *e) must_use;
bool recover_flushes_pending(struct recover *r);
void recover_start_flushes(struct recover *r);
bool recover_grow_buf(struct recover *r, size_t bytes);

/* log_recover_heads.c */
void recover_list_run(struct task *t); /* all of these are runs of r->sub */
void recover_head_run(struct task *t); /* of old[at] */
void recover_choose(struct recover *r);
int recover_check_headless(struct recover *r) must_use;
void recover_keep_headless(struct recover *r);
int recover_compare(const void *a, const void *b); /* order of replay, for qsort */

/* log_recover_walk.c */
void recover_walk_run(struct task *t); /* of r->walking, to know or (r->loading) to load */
/* A block that is in no segment becomes an unmigrated entry. 1: memory is short. */
int recover_load(struct recover *r, struct log_shard *s, const struct frame_header *h, struct slice body,
                 uint64_t offset) must_use;

/* log_recover_direct.c */
void recover_direct_run(struct task *t);  /* of r->shard */
void recover_strays_run(struct task *t);  /* of r->shard */
void recover_replace_run(struct task *t); /* of r->shard: what was written anew takes the old file's name */

#endif
