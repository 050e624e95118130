/*
 * Calls on shards, wherever they live: appending, reading, seeking, asking, waiting. A shard belongs to one loop (its
 * owner), and only that loop touches its log. Called on the owner these go straight to the log; from another loop they
 * travel as one message there and one back (architecture.md, decision 1), however many shards an append touches.
 *
 * Invariants
 *  C1. `done` comes exactly once, on the calling loop; inside the call if nothing has to be waited for.
 *  C2. Between call and done the struct and what it points to belong to the call; the other loop reads them, so the
 *      caller leaves them alone.
 *  C3. A shard is named by its uid, and looked up in the owner's log when the call arrives: one that was removed
 *      meanwhile is ST_NOT_FOUND, never a dangling pointer.
 *
 * Failure modes: those of log.h, per shard; nothing else can fail.
 */
#ifndef SLUICE_API_SHARD_CALL_H
#define SLUICE_API_SHARD_CALL_H

#include "broker/api/api.h"

/* ---- appending ---------------------------------------------------------------------------------------------------- */

/* Records for one shard. */
struct shard_append {
    uint64_t shard_uid;
    const struct block_record *records; /* until done */
    uint32_t count;
    bool limited;               /* AWS's limits of a shard apply, if they are on */
    uint64_t waiting_bytes_max; /* ST_RESERVE if shard_waiting_bytes has reached it; 0: no limit */
    /* out: */
    uint32_t taken; /* the first ones were stored if status is 0; the others were over the shard's limit */
    int status;     /* 0, or why none was stored */
    uint64_t base_counter;
    struct wall_ms arrival;
    /* private: */
    struct log_append log;
    struct shard_append_part *part;
    struct shard_append *next;
};

struct shard_append_part;

/* Appends to any number of shards. */
struct shard_append_all {
    void (*done)(struct shard_append_all *a);
    struct shard_append *item;
    uint32_t count;
    /* private: */
    struct api_loop *home;
    uint32_t parts_left;
};
/* `arena` (of the request) serves for the messages. -ENOMEM: it is used up; nothing was taken, `done` will not come. */
int shard_append_all(struct api_loop *l, struct shard_append_all *a, struct arena *arena) must_use;

/* About how many bytes of a shard its deliveries have not delivered yet: its bytes, by the share of its records. */
uint64_t shard_waiting_bytes(const struct log_shard *shard);

/* ---- reading ------------------------------------------------------------------------------------------------------ */

/* Blocks, lent by the owner until shard_read_release. */
struct shard_read {
    void (*done)(struct shard_read *r);
    /* in: */
    uint64_t shard_uid;
    uint64_t from_counter;
    uint32_t bytes_max, blocks_max;
    enum log_visibility visibility;
    /* out: status and blocks in `log`; of ST_TRIMMED first_counter is where the data starts now */
    struct log_read log;
    uint64_t first_counter, next_counter; /* of the shard, by that visibility, after the read */
    /* private: */
    void (*released)(struct shard_read *r);
    struct api_loop *home;
    struct io_msg msg;
};
void shard_read(struct api_loop *l, struct shard_read *r);
/* Gives all blocks back; `released` (not NULL) comes when the struct may be used again or freed. */
void shard_read_release(struct shard_read *r, void (*released)(struct shard_read *r));

/* ---- asking, seeking, waiting ------------------------------------------------------------------------------------- */

struct shard_ask {
    void (*done)(struct shard_ask *a);
    uint64_t shard_uid;
    bool seek;         /* also find the counter of the first record at or after `at` */
    struct wall_ms at; /* in */
    int status;
    struct log_shard_info info;
    uint64_t counter; /* seek's answer */
    /* private: */
    struct log_seek log;
    struct api_loop *home;
    struct io_msg msg;
};
void shard_ask(struct api_loop *l, struct shard_ask *a);

/* log_watch from any loop. One-shot; `woken` also comes if the shard is gone (status ST_NOT_FOUND). */
struct shard_watch {
    void (*woken)(struct shard_watch *w);
    uint64_t shard_uid;
    uint64_t counter;
    enum log_visibility visibility;
    int status;
    /* private: */
    struct log_watch log;
    struct api_loop *home;
    struct io_msg msg, cancel_msg;
    bool active, cancelling; /* home */
    bool armed;              /* owner */
};
void shard_watch(struct api_loop *l, struct shard_watch *w);
/* An early end: `woken` still comes, soon, with status -ECANCELED if nothing else was faster. */
void shard_watch_cancel(struct shard_watch *w);

/* A hold on retention (log_need) from any loop. */
struct shard_need {
    uint64_t shard_uid;
    uint64_t counter; /* everything from here on is needed */
    void (*lost)(struct shard_need *n, uint64_t from_counter, uint64_t to_counter); /* on the home loop; or NULL */
    /* private: */
    struct log_need log;
    struct api_loop *home;
    struct io_msg msg, lost_msg;
    uint64_t sent_counter, told_from, told_to; /* travel with the messages */
    bool sent_remove;
    bool busy, again; /* home */
    void (*removed)(struct shard_need *n);
    uint64_t lost_from, lost_to; /* owner: not yet told */
    bool held, gone, lost_out;   /* owner */
};
void shard_need_add(struct api_loop *l, struct shard_need *n);
/* n->counter has been raised. */
void shard_need_moved(struct shard_need *n);
/* `removed` comes when the struct may be freed. */
void shard_need_remove(struct shard_need *n, void (*removed)(struct shard_need *n));

#endif
