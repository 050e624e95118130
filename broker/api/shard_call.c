/*
 * Calls on shards from any loop; see shard_call.h.
 *
 * Happy path, one loop: shard_append_all → append_part_run → log_append ... log's done → append_done → part_back →
 * the caller's done. With the shard on another loop, append_part_run and part_back are the two ends of a message.
 *
 * Which side may touch what of a struct that travels: the fields that a comment calls "owner" between the message's
 * arrival there and its way back, all others only the home loop.
 */
#include "broker/api/shard_call.h"

#include <stdlib.h>

#include "broker/api/api_impl.h"
#include "common/base/check.h"

void api_send(struct api_loop *from, struct api_loop *to, struct io_msg *m, void (*deliver)(struct io_msg *m))
{
    m->deliver = deliver;
    if (from == to) {
        deliver(m);
        return;
    }
    from->stats.remote_calls++;
    loop_post(to->io, m);
}

static struct api_loop *owner_of(struct api_loop *l, uint64_t shard_uid)
{
    return &l->api->loop[api_shard_owner(l->api, shard_uid)];
}

/* ---- limits ------------------------------------------------------------------------------------------------------- */

struct limit_entry {
    uint64_t uid;
    struct shard_limit limit;
};

/* The shard's buckets; NULL without limits (or without memory, which is no reason to refuse a record). */
static struct shard_limit *limit_of(struct api_loop *owner, uint64_t uid)
{
    if (owner->api->options.config->limits != CONFIG_LIMITS_AWS)
        return NULL;
    struct limit_entry *e = hashmap_get(&owner->limits, slice_of(&uid, sizeof(uid)));
    if (e)
        return &e->limit;
    e = calloc(1, sizeof(*e));
    if (!e)
        return NULL;
    e->uid = uid;
    shard_limit_init(&e->limit, loop_now(owner->io));
    if (hashmap_put(&owner->limits, slice_of(&e->uid, sizeof(e->uid)), e) < 0) {
        free(e);
        return NULL;
    }
    return &e->limit;
}

void shard_limits_forget(struct api_loop *owner, uint64_t uid)
{
    free(hashmap_remove(&owner->limits, slice_of(&uid, sizeof(uid))));
}

bool shard_read_allowed(struct api_loop *owner, uint64_t uid)
{
    struct shard_limit *limit = limit_of(owner, uid);
    return !limit || shard_limit_read(limit, loop_now(owner->io));
}

void shard_read_charge(struct api_loop *owner, uint64_t uid, uint64_t bytes)
{
    struct shard_limit *limit = limit_of(owner, uid);
    if (limit)
        shard_limit_read_done(limit, bytes, loop_now(owner->io));
}

/* How many of the first records the shard's write limit lets through. */
static uint32_t limit_writes(struct api_loop *owner, const struct shard_append *a)
{
    struct shard_limit *limit = a->limited ? limit_of(owner, a->shard_uid) : NULL;
    if (!limit)
        return a->count;
    struct mono_ns now = loop_now(owner->io);
    for (uint32_t i = 0; i < a->count; i++)
        if (!shard_limit_write(limit, a->records[i].key.len + a->records[i].data.len, now))
            return i;
    return a->count;
}

/* ---- appending ---------------------------------------------------------------------------------------------------- */

/* The appends of one shard_append_all that go to one owner. */
struct shard_append_part {
    struct io_msg msg;
    struct shard_append_all *all;
    struct api_loop *owner;
    struct shard_append *first;
    struct shard_append_part *next;
    uint32_t left; /* owner: log_appends under way, plus one while they are being submitted */
};

static void part_back(struct io_msg *m)
{
    struct shard_append_all *all = CONTAINER_OF(m, struct shard_append_part, msg)->all;
    if (--all->parts_left == 0)
        all->done(all);
}

static void part_release(struct shard_append_part *p)
{
    if (--p->left == 0)
        api_send(p->owner, p->all->home, &p->msg, part_back);
}

static void append_done(struct log_append *log)
{
    struct shard_append *a = CONTAINER_OF(log, struct shard_append, log);
    a->status = log->status;
    a->base_counter = log->base_counter;
    a->arrival = log->arrival;
    part_release(a->part);
}

uint64_t shard_waiting_bytes(const struct log_shard *shard)
{
    struct log_shard_info info;
    log_shard_info(shard, &info);
    uint64_t from = info.needed_counter > info.first_counter ? info.needed_counter : info.first_counter;
    if (from >= info.next_counter)
        return 0;
    double share = (double)(info.next_counter - from) / (double)(info.next_counter - info.first_counter);
    return (uint64_t)((double)info.disk_bytes * share);
}

static int append_start(struct api_loop *owner, struct shard_append *a)
{
    struct log_shard *shard = log_shard_find(owner->log, a->shard_uid);
    if (!shard)
        return ST_NOT_FOUND;
    if (a->waiting_bytes_max && shard_waiting_bytes(shard) >= a->waiting_bytes_max)
        return ST_RESERVE;
    a->taken = limit_writes(owner, a);
    if (!a->taken)
        return ST_THROTTLED;
    a->log.done = append_done;
    return log_append(shard, a->records, a->taken, &a->log);
}

static void append_part_run(struct io_msg *m)
{
    struct shard_append_part *p = CONTAINER_OF(m, struct shard_append_part, msg);
    p->left = 1;
    for (struct shard_append *a = p->first; a; a = a->next) {
        a->part = p;
        p->left++;
        a->status = append_start(p->owner, a);
        if (a->status < 0) {
            a->taken = 0;
            p->left--;
        }
    }
    part_release(p);
}

int shard_append_all(struct api_loop *l, struct shard_append_all *a, struct arena *arena)
{
    CHECK(a->count > 0);
    struct shard_append_part *parts = NULL;
    a->home = l;
    a->parts_left = 0;
    for (uint32_t i = a->count; i-- > 0;) {
        struct api_loop *owner = owner_of(l, a->item[i].shard_uid);
        struct shard_append_part *p = parts;
        while (p && p->owner != owner)
            p = p->next;
        if (!p) {
            p = arena_zalloc(arena, sizeof(*p));
            if (!p)
                return -ENOMEM;
            p->all = a;
            p->owner = owner;
            p->next = parts;
            parts = p;
            a->parts_left++;
        }
        a->item[i].next = p->first;
        p->first = &a->item[i];
    }
    /* The last part's end may call `done`, after which nothing of `a` or the arena may be touched. */
    for (struct shard_append_part *p = parts, *next; p; p = next) {
        next = p->next;
        api_send(l, p->owner, &p->msg, append_part_run);
    }
    return 0;
}

/* ---- reading ------------------------------------------------------------------------------------------------------ */

static void read_back(struct io_msg *m)
{
    struct shard_read *r = CONTAINER_OF(m, struct shard_read, msg);
    r->done(r);
}

static void read_answer(struct shard_read *r, struct log_shard *shard)
{
    struct api_loop *owner = owner_of(r->home, r->shard_uid);
    if (shard) {
        struct log_shard_info info;
        log_shard_info(shard, &info);
        r->first_counter = info.first_counter;
        r->next_counter = r->visibility == LOG_SYNCED ? info.synced_counter : info.visible_counter;
    }
    api_send(owner, r->home, &r->msg, read_back);
}

static void read_done(struct log_read *log)
{
    struct shard_read *r = CONTAINER_OF(log, struct shard_read, log);
    struct api_loop *owner = owner_of(r->home, r->shard_uid);
    read_answer(r, log_shard_find(owner->log, r->shard_uid));
}

static void read_run(struct io_msg *m)
{
    struct shard_read *r = CONTAINER_OF(m, struct shard_read, msg);
    struct api_loop *owner = owner_of(r->home, r->shard_uid);
    struct log_shard *shard = log_shard_find(owner->log, r->shard_uid);
    r->log.done = read_done;
    r->log.from_counter = r->from_counter;
    r->log.bytes_max = r->bytes_max;
    r->log.blocks_max = r->blocks_max;
    r->log.visibility = r->visibility;
    r->log.block_count = 0;
    if (!shard) {
        r->log.status = ST_NOT_FOUND;
        read_answer(r, NULL);
        return;
    }
    log_read(shard, &r->log);
}

void shard_read(struct api_loop *l, struct shard_read *r)
{
    r->home = l;
    api_send(l, owner_of(l, r->shard_uid), &r->msg, read_run);
}

static void released_back(struct io_msg *m)
{
    struct shard_read *r = CONTAINER_OF(m, struct shard_read, msg);
    r->released(r);
}

static void release_run(struct io_msg *m)
{
    struct shard_read *r = CONTAINER_OF(m, struct shard_read, msg);
    struct api_loop *owner = owner_of(r->home, r->shard_uid);
    for (uint32_t i = 0; i < r->log.block_count; i++)
        log_block_release(owner->log, &r->log.block[i]);
    r->log.block_count = 0;
    api_send(owner, r->home, m, released_back);
}

void shard_read_release(struct shard_read *r, void (*released)(struct shard_read *r))
{
    r->released = released;
    api_send(r->home, owner_of(r->home, r->shard_uid), &r->msg, release_run);
}

/* ---- asking and seeking ------------------------------------------------------------------------------------------- */

static void ask_back(struct io_msg *m)
{
    struct shard_ask *a = CONTAINER_OF(m, struct shard_ask, msg);
    a->done(a);
}

static void ask_answer(struct shard_ask *a, struct log_shard *shard)
{
    if (shard)
        log_shard_info(shard, &a->info);
    else
        a->status = ST_NOT_FOUND;
    api_send(owner_of(a->home, a->shard_uid), a->home, &a->msg, ask_back);
}

static void ask_seek_done(struct log_seek *log)
{
    struct shard_ask *a = CONTAINER_OF(log, struct shard_ask, log);
    a->status = log->status;
    a->counter = log->counter;
    ask_answer(a, log_shard_find(owner_of(a->home, a->shard_uid)->log, a->shard_uid));
}

static void ask_run(struct io_msg *m)
{
    struct shard_ask *a = CONTAINER_OF(m, struct shard_ask, msg);
    struct log_shard *shard = log_shard_find(owner_of(a->home, a->shard_uid)->log, a->shard_uid);
    a->status = 0;
    if (!shard || !a->seek) {
        ask_answer(a, shard);
        return;
    }
    a->log.done = ask_seek_done;
    a->log.at = a->at;
    log_seek(shard, &a->log);
}

void shard_ask(struct api_loop *l, struct shard_ask *a)
{
    a->home = l;
    api_send(l, owner_of(l, a->shard_uid), &a->msg, ask_run);
}
