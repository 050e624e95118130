/* See delivery_intake.h. Appends to the loop's own shard use the caller's state and allocate nothing. */
#include "broker/delivery_intake.h"

#include <stdlib.h>

#include "broker/api/shard_call.h"

struct delivery_intake {
    struct intake intake;
    struct api_loop *loop;
    uint64_t stream_uid, capacity_bytes;
    uint64_t shard_uid;      /* 0: not looked up yet */
    uint64_t shard_capacity; /* its part of the stream's */
    bool local;
};

/* In intake_append.state: an append to the loop's own shard. */
struct local_append {
    struct log_append log;
    struct intake_append *a;
};
_Static_assert(sizeof(struct local_append) <= sizeof((struct intake_append){0}.state),
               "it fits into the caller's state");

/* An append to another loop's shard, with a copy of the records. */
struct remote_append {
    struct shard_append_all all;
    struct shard_append item;
    struct arena arena;
    struct intake_append *a;
};

static void local_done(struct log_append *log)
{
    struct local_append *l = CONTAINER_OF(log, struct local_append, log);
    l->a->status = log->status;
    l->a->done(l->a);
}

static void remote_done(struct shard_append_all *all)
{
    struct remote_append *r = CONTAINER_OF(all, struct remote_append, all);
    struct intake_append *a = r->a;
    a->status = r->item.status;
    arena_deinit(&r->arena);
    free(r);
    a->done(a);
}

static int remote_start(struct delivery_intake *i, const struct block_record *records, uint32_t count,
                        struct intake_append *a)
{
    struct remote_append *r = calloc(1, sizeof *r);
    if (!r)
        return ST_THROTTLED;
    arena_init(&r->arena, 1 << 16, 64u << 20);
    struct block_record *copy = arena_alloc(&r->arena, count * sizeof *copy);
    int rc = copy ? 0 : ST_THROTTLED;
    for (uint32_t n = 0; rc == 0 && n < count; n++) {
        copy[n] = (struct block_record){arena_copy(&r->arena, records[n].key), arena_copy(&r->arena, records[n].data)};
        if (!copy[n].key.ptr || !copy[n].data.ptr)
            rc = ST_THROTTLED;
    }
    r->a = a;
    r->item = (struct shard_append){
        .shard_uid = i->shard_uid, .records = copy, .count = count, .waiting_bytes_max = i->shard_capacity};
    r->all = (struct shard_append_all){.done = remote_done, .item = &r->item, .count = 1};
    if (rc == 0)
        rc = shard_append_all(i->loop, &r->all, &r->arena) < 0 ? ST_THROTTLED : 0;
    if (rc < 0) {
        arena_deinit(&r->arena);
        free(r);
    }
    return rc;
}

static void shard_choose(struct delivery_intake *i)
{
    struct catalog_shard rows[64];
    uint32_t count = api_stream_shards(i->loop, i->stream_uid, rows, ARRAY_COUNT(rows));
    for (uint32_t n = 0; n < count && n < ARRAY_COUNT(rows) && !i->local; n++) {
        i->local = api_shard_owner(api_of(i->loop), rows[n].uid) == api_loop_index(i->loop);
        if (i->local || i->shard_uid == 0)
            i->shard_uid = rows[n].uid;
    }
    uint64_t part = i->capacity_bytes / (count ? count : 1);
    i->shard_capacity = part ? part : 1;
}

static int intake_append_start(struct intake *intake, const struct block_record *records, uint32_t count,
                               struct intake_append *a)
{
    struct delivery_intake *i = intake->owner;
    if (i->shard_uid == 0)
        shard_choose(i);
    if (i->shard_uid == 0)
        return ST_CLOSED;
    if (!i->local)
        return remote_start(i, records, count, a);
    struct log_shard *shard = log_shard_find(api_loop_log(i->loop), i->shard_uid);
    if (!shard)
        return ST_CLOSED;
    if (shard_waiting_bytes(shard) >= i->shard_capacity)
        return ST_RESERVE;
    struct local_append *l = (struct local_append *)a->state;
    *l = (struct local_append){.log.done = local_done, .a = a};
    return log_append(shard, records, count, &l->log);
}

int delivery_intake_create(struct api_loop *l, uint64_t stream_uid, uint64_t capacity_bytes,
                           struct delivery_intake **out)
{
    struct delivery_intake *i = calloc(1, sizeof *i);
    if (!i)
        return -ENOMEM;
    i->intake = (struct intake){.append = intake_append_start, .owner = i};
    i->loop = l;
    i->stream_uid = stream_uid;
    i->capacity_bytes = capacity_bytes;
    *out = i;
    return 0;
}

void delivery_intake_destroy(struct delivery_intake *i)
{
    free(i);
}

struct intake *delivery_intake_of(struct delivery_intake *i)
{
    return &i->intake;
}
