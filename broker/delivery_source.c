/*
 * See delivery_source.h. A part lives from the moment its shard is seen until the source is closed; its position
 * (first and next counter) is asked for once at the start and refreshed by every read and wake, so that parts() answers
 * from memory. Reads and wakes are pooled states that outlive a cancelled caller.
 *
 * A read may name a shard that is no part (an open object of a delivery whose source has changed since): it is asked
 * for by its uid, and answered by what the log has.
 *
 * Failure modes: a shard that is gone or fenced answers reads with its status; the delivery decides. Without memory a
 * read completes with -ENOMEM from the loop, a wake at once; a change of the shards is looked at again a second later.
 */
#include "broker/delivery_source.h"

#include <inttypes.h>
#include <stdlib.h>

#include "broker/api/shard_call.h"
#include "common/base/check.h"
#include "common/base/diag.h"
#include "common/base/pool.h"

#define PARTS_GUESS 64
#define CALLS_MAX   16384
#define AGAIN_MS    1000

struct source_part_state {
    struct delivery_source *owner;
    struct catalog_shard row;
    uint64_t parents[2];
    uint64_t first_counter, next_counter;
    struct shard_need need;
    struct shard_ask ask;
    struct delivery_source_open *opening;
    bool gone; /* no longer among the stream's shards */
};

struct read_state {
    struct delivery_source *owner;
    struct source_part_state *part; /* NULL: a shard of another stream */
    struct source_read *read;       /* NULL once it is answered */
    struct shard_read call;
    uint32_t lent;
    struct io_defer defer; /* for answers that came inside the call, or need no call */
    bool starting;
};

struct wake_state {
    struct delivery_source *owner;
    struct source_part_state *part;
    struct source_wake *wake; /* NULL once it is answered or cancelled */
    struct shard_watch call;
    struct io_defer defer;
    bool starting;
    struct list link;
};

/* In source_read.state and source_wake.state: there was no memory for one of the above. */
struct refused_read {
    struct io_defer defer;
    struct delivery_source *owner;
    struct source_read *read;
};
_Static_assert(sizeof(struct refused_read) <= sizeof((struct source_read){0}.state), "it fits into the caller's state");
struct refused_wake {
    struct wake_state *none; /* as state[0] of any other wake; NULL */
    struct io_defer defer;
    struct delivery_source *owner;
    struct source_wake *wake;
};
_Static_assert(sizeof(struct refused_wake) <= sizeof((struct source_wake){0}.state), "it fits into the caller's state");

struct delivery_source {
    struct source source;
    struct api_loop *loop;
    uint64_t stream_uid;
    const char *name;   /* the delivery's */
    const char *stream; /* its name; NULL: no other one takes its place */
    bool orphan;        /* the stream is gone */
    struct source_part_state **parts;
    uint32_t part_count;
    struct pool reads, wakes;
    struct list waiting; /* wake_state */
    struct api_stream_watch watch;
    struct io_timer again; /* parts_refresh failed, or the stream is gone */
    uint32_t under_way;    /* reads, wakes, asks and needs that may still call back */
    bool closing;
    void (*closed)(void *ctx);
    void *closed_ctx;
    struct io_defer closed_defer;
};

static struct source_part_state *part_find(struct delivery_source *s, uint64_t uid)
{
    for (uint32_t i = 0; i < s->part_count; i++)
        if (s->parts[i]->row.uid == uid)
            return s->parts[i];
    return NULL;
}

static void source_free(struct io_defer *d)
{
    struct delivery_source *s = CONTAINER_OF(d, struct delivery_source, closed_defer);
    void (*closed)(void *ctx) = s->closed;
    void *ctx = s->closed_ctx;
    for (uint32_t i = 0; i < s->part_count; i++)
        free(s->parts[i]);
    free(s->parts);
    pool_deinit(&s->reads);
    pool_deinit(&s->wakes);
    free(s);
    if (closed)
        closed(ctx);
}

/* One thing less that may call back. */
static void source_settle(struct delivery_source *s)
{
    CHECK(s->under_way > 0);
    if (--s->under_way == 0 && s->closing) {
        s->closed_defer.run = source_free;
        loop_defer(api_loop_io(s->loop), &s->closed_defer);
    }
}

/* ---- parts -------------------------------------------------------------------------------------------------------- */

static void part_lost(struct shard_need *n, uint64_t from_counter, uint64_t to_counter)
{
    struct source_part_state *p = CONTAINER_OF(n, struct source_part_state, need);
    diag(DIAG_WARN, "undelivered_records_lost", "delivery=%s shard=%" PRIu32 " from=%" PRIu64 " records=%" PRIu64,
         p->owner->name, p->row.index, from_counter, to_counter - from_counter);
}

static void part_asked(struct shard_ask *a)
{
    struct source_part_state *p = CONTAINER_OF(a, struct source_part_state, ask);
    struct delivery_source *s = p->owner;
    struct delivery_source_open *o = p->opening;
    if (a->status >= 0) {
        p->first_counter = a->info.first_counter;
        p->next_counter = a->info.synced_counter;
    }
    p->opening = NULL;
    if (o && --o->asking == 0)
        o->opened(o);
    else if (!o && s->source.parts_changed && !s->closing)
        s->source.parts_changed(&s->source);
    source_settle(s);
}

static int part_add(struct delivery_source *s, const struct catalog_shard *row, struct delivery_source_open *opening)
{
    struct source_part_state *p = calloc(1, sizeof *p);
    struct source_part_state **more = realloc(s->parts, (s->part_count + 1) * sizeof(struct source_part_state *));
    if (more)
        s->parts = more;
    if (!p || !more) {
        free(p);
        return -ENOMEM;
    }
    p->owner = s;
    p->row = *row;
    p->first_counter = p->next_counter = row->first_counter;
    p->opening = opening;
    s->parts[s->part_count++] = p;
    p->need = (struct shard_need){.shard_uid = row->uid, .counter = 0, .lost = part_lost};
    shard_need_add(s->loop, &p->need);
    p->ask = (struct shard_ask){.done = part_asked, .shard_uid = row->uid};
    if (opening)
        opening->asking++;
    s->under_way++;
    shard_ask(s->loop, &p->ask);
    return 0;
}

static uint64_t uid_of_index(const struct catalog_shard *rows, uint32_t count, int64_t index)
{
    for (uint32_t i = 0; index >= 0 && i < count; i++)
        if (rows[i].index == (uint32_t)index)
            return rows[i].uid;
    return 0;
}

/* The stream's shards; NULL without memory. */
static struct catalog_shard *rows_read(struct delivery_source *s, uint32_t *out_count)
{
    for (uint32_t cap = PARTS_GUESS;;) {
        struct catalog_shard *rows = malloc(cap * sizeof *rows);
        uint32_t count = rows ? api_stream_shards(s->loop, s->stream_uid, rows, cap) : 0;
        if (!rows || count <= cap) {
            *out_count = count;
            return rows;
        }
        free(rows);
        cap = count;
    }
}

/* Brings the parts up to date with the stream's shards. A part is gone only if the stream does not name it: -ENOMEM,
 * which may leave some shards unknown for now, ends none. */
static int parts_refresh(struct delivery_source *s, struct delivery_source_open *opening)
{
    uint32_t count;
    int status = 0;
    struct catalog_shard *rows = rows_read(s, &count);
    if (!rows)
        return -ENOMEM;
    for (uint32_t i = 0; i < s->part_count; i++)
        s->parts[i]->gone = true;
    for (uint32_t i = 0; i < count; i++) {
        struct source_part_state *p = part_find(s, rows[i].uid);
        if (!p) {
            int rc = part_add(s, &rows[i], opening);
            if (rc < 0) {
                status = rc;
                continue;
            }
            p = s->parts[s->part_count - 1];
        }
        p->gone = false;
        p->row = rows[i];
        p->parents[0] = uid_of_index(rows, count, rows[i].parent);
        p->parents[1] = uid_of_index(rows, count, rows[i].adjacent_parent);
    }
    free(rows);
    return status;
}

static uint32_t source_parts(struct source *source, struct source_part *out, uint32_t cap)
{
    struct delivery_source *s = source->owner;
    uint32_t n = 0;
    for (uint32_t i = 0; i < s->part_count; i++) {
        const struct source_part_state *p = s->parts[i];
        if (p->gone)
            continue;
        if (n < cap)
            out[n] = (struct source_part){.uid = p->row.uid,
                                          .index = p->row.index,
                                          .first_counter = p->first_counter,
                                          .next_counter = p->next_counter,
                                          .end_counter = p->row.end_counter,
                                          .parents = {p->parents[0], p->parents[1]}};
        n++;
    }
    return n;
}

/* ---- reading ------------------------------------------------------------------------------------------------------ */

static void read_released(struct shard_read *call)
{
    struct read_state *st = CONTAINER_OF(call, struct read_state, call);
    struct delivery_source *s = st->owner;
    pool_put(&s->reads, st);
    source_settle(s);
}

static bool part_ended_at(const struct source_part_state *p, uint64_t counter)
{
    if (!p)
        return false;
    return p->gone || (p->row.end_counter != UINT64_MAX && counter >= p->row.end_counter);
}

static void read_tell(struct read_state *st)
{
    struct shard_read *call = &st->call;
    struct source_read *r = st->read;
    struct source_part_state *p = st->part;
    r->status = call->log.status;
    if (p && (call->log.status == 0 || call->log.status == ST_TRIMMED)) {
        p->first_counter = call->first_counter;
        p->next_counter = call->next_counter;
    }
    r->next_counter = call->first_counter;
    r->block_count = call->log.status == 0 ? call->log.block_count : 0;
    r->part_ended = r->block_count == 0 && call->log.status == 0 && part_ended_at(p, r->from_counter);
    for (uint32_t i = 0; i < r->block_count; i++)
        r->block[i] = (struct source_block){
            .header = call->log.block[i].header, .payload = call->log.block[i].payload, .hold = {st}};
    st->lent = r->block_count;
    st->read = NULL;
    if (st->lent == 0)
        shard_read_release(&st->call, read_released);
    r->done(r);
}

static void read_tell_deferred(struct io_defer *d)
{
    read_tell(CONTAINER_OF(d, struct read_state, defer));
}

static void read_answered(struct shard_read *call)
{
    struct read_state *st = CONTAINER_OF(call, struct read_state, call);
    if (!st->starting) {
        read_tell(st);
        return;
    }
    st->defer.run = read_tell_deferred; /* inside the call: source.h promises later */
    loop_defer(api_loop_io(st->owner->loop), &st->defer);
}

/* The part has ended: nothing has to be asked. */
static void read_ended_deferred(struct io_defer *d)
{
    struct read_state *st = CONTAINER_OF(d, struct read_state, defer);
    struct source_read *r = st->read;
    struct delivery_source *s = st->owner;
    r->status = 0;
    r->block_count = 0;
    r->part_ended = true;
    pool_put(&s->reads, st);
    r->done(r);
    source_settle(s);
}

static void read_refused_deferred(struct io_defer *d)
{
    struct refused_read *refused = CONTAINER_OF(d, struct refused_read, defer);
    struct source_read *r = refused->read;
    struct delivery_source *s = refused->owner;
    r->status = -ENOMEM;
    r->block_count = 0;
    r->part_ended = false;
    r->done(r);
    source_settle(s);
}

static void read_refuse(struct delivery_source *s, struct source_read *r)
{
    struct refused_read *refused = (struct refused_read *)r->state;
    *refused = (struct refused_read){.defer.run = read_refused_deferred, .owner = s, .read = r};
    loop_defer(api_loop_io(s->loop), &refused->defer);
}

static void source_read_start(struct source *source, struct source_read *r)
{
    struct delivery_source *s = source->owner;
    struct read_state *st = pool_get(&s->reads);
    s->under_way++;
    if (!st) {
        read_refuse(s, r);
        return;
    }
    st->owner = s;
    st->read = r;
    st->part = part_find(s, r->part);
    if (part_ended_at(st->part, r->from_counter)) {
        st->defer.run = read_ended_deferred;
        loop_defer(api_loop_io(s->loop), &st->defer);
        return;
    }
    st->call = (struct shard_read){.done = read_answered,
                                   .shard_uid = r->part,
                                   .from_counter = r->from_counter,
                                   .bytes_max = r->bytes_max,
                                   .blocks_max = SOURCE_BLOCKS_MAX,
                                   .visibility = LOG_SYNCED};
    st->starting = true;
    shard_read(s->loop, &st->call);
    st->starting = false;
}

static void source_release(struct source *source, struct source_block *b)
{
    struct read_state *st = b->hold[0];
    CHECK(st && st->lent > 0);
    b->hold[0] = NULL;
    if (--st->lent == 0)
        shard_read_release(&st->call, read_released);
}

/* ---- waking ------------------------------------------------------------------------------------------------------- */

static void wake_tell(struct wake_state *st)
{
    struct source_wake *w = st->wake;
    st->wake = NULL;
    list_remove(&st->link);
    if (w) {
        w->state[0] = NULL;
        w->woken(w);
    }
}

static void wake_deferred(struct io_defer *d)
{
    struct wake_state *st = CONTAINER_OF(d, struct wake_state, defer);
    struct delivery_source *s = st->owner;
    wake_tell(st);
    pool_put(&s->wakes, st);
    source_settle(s);
}

static void wake_answered(struct shard_watch *call)
{
    struct wake_state *st = CONTAINER_OF(call, struct wake_state, call);
    if (call->status == 0 && st->part && st->part->next_counter <= call->counter)
        st->part->next_counter = call->counter + 1;
    st->defer.run = wake_deferred;
    if (st->starting) /* inside the call: source.h promises later */
        loop_defer(api_loop_io(st->owner->loop), &st->defer);
    else
        wake_deferred(&st->defer);
}

static void wake_refused_deferred(struct io_defer *d)
{
    struct refused_wake *refused = CONTAINER_OF(d, struct refused_wake, defer);
    struct delivery_source *s = refused->owner;
    struct source_wake *w = refused->wake;
    refused->wake = NULL;
    w->woken(w);
    source_settle(s);
}

static void wake_refuse(struct delivery_source *s, struct source_wake *w)
{
    struct refused_wake *refused = (struct refused_wake *)w->state;
    *refused = (struct refused_wake){.defer.run = wake_refused_deferred, .owner = s, .wake = w};
    loop_defer(api_loop_io(s->loop), &refused->defer);
}

static void wake_refused_cancel(struct source_wake *w)
{
    struct refused_wake *refused = (struct refused_wake *)w->state;
    if (refused->wake != w)
        return;
    refused->wake = NULL;
    loop_defer_cancel(&refused->defer);
    source_settle(refused->owner);
}

static void source_wake_start(struct source *source, struct source_wake *w)
{
    struct delivery_source *s = source->owner;
    struct wake_state *st = pool_get(&s->wakes);
    s->under_way++;
    if (!st) {
        wake_refuse(s, w);
        return;
    }
    st->owner = s;
    st->wake = w;
    st->part = part_find(s, w->part);
    memset(w->state, 0, sizeof w->state); /* no refused_wake */
    w->state[0] = st;
    list_push_back(&s->waiting, &st->link);
    if (!st->part || part_ended_at(st->part, w->counter)) {
        st->defer.run = wake_deferred;
        loop_defer(api_loop_io(s->loop), &st->defer);
        return;
    }
    st->call = (struct shard_watch){
        .woken = wake_answered, .shard_uid = w->part, .counter = w->counter, .visibility = LOG_SYNCED};
    st->starting = true;
    shard_watch(s->loop, &st->call);
    st->starting = false;
}

static void source_wake_cancel(struct source *source, struct source_wake *w)
{
    struct wake_state *st = w->state[0];
    if (!st) {
        wake_refused_cancel(w);
        return;
    }
    if (st->wake != w)
        return;
    st->wake = NULL;
    w->state[0] = NULL;
    list_remove(&st->link);
    if (!st->defer.run)
        shard_watch_cancel(&st->call);
}

static void source_delivered(struct source *source, uint64_t part, uint64_t counter)
{
    struct delivery_source *s = source->owner;
    struct source_part_state *p = part_find(s, part);
    if (!p || counter <= p->need.counter)
        return;
    p->need.counter = counter;
    shard_need_moved(&p->need);
}

/* ---- life --------------------------------------------------------------------------------------------------------- */

/* A stream that was deleted: the next one of that name is looked for. */
static void stream_follow(struct delivery_source *s)
{
    struct catalog_shard any;
    if (!s->stream || api_stream_shards(s->loop, s->stream_uid, &any, 1))
        return;
    uint64_t uid = api_stream_find(s->loop, slice_str(s->stream), NULL);
    if (!uid) {
        if (!s->orphan)
            diag(DIAG_WARN, "delivery_stream_deleted", "delivery=%s stream=%s", s->name, s->stream);
        s->orphan = true;
        return;
    }
    diag(DIAG_INFO, "delivery_stream_back", "delivery=%s stream=%s", s->name, s->stream);
    s->orphan = false;
    s->stream_uid = uid;
    api_stream_unwatch(&s->watch);
    s->watch.stream_uid = uid;
    api_stream_watch(s->loop, &s->watch);
}

static void parts_update(struct delivery_source *s)
{
    struct loop *io = api_loop_io(s->loop);
    stream_follow(s);
    if (parts_refresh(s, NULL) < 0 || s->orphan)
        timer_arm(io, &s->again, mono_add_ms(loop_now(io), AGAIN_MS));
    LIST_FOREACH_SAFE (it, &s->waiting) {
        struct wake_state *st = CONTAINER_OF(it, struct wake_state, link);
        if (st->wake && !st->defer.run && part_ended_at(st->part, st->wake->counter)) {
            wake_tell(st);
            shard_watch_cancel(&st->call);
        }
    }
    if (s->source.parts_changed)
        s->source.parts_changed(&s->source);
}

static void shards_changed(struct api_stream_watch *w)
{
    parts_update(CONTAINER_OF(w, struct delivery_source, watch));
}

static void again_fired(struct io_timer *t)
{
    parts_update(CONTAINER_OF(t, struct delivery_source, again));
}

static const struct source_ops delivery_source_ops = {
    .parts = source_parts,
    .read = source_read_start,
    .release = source_release,
    .wake = source_wake_start,
    .wake_cancel = source_wake_cancel,
    .delivered = source_delivered,
};

static void opened_deferred(struct io_defer *d)
{
    struct delivery_source *s = CONTAINER_OF(d, struct delivery_source, closed_defer);
    struct delivery_source_open *o = s->closed_ctx;
    s->closed_ctx = NULL;
    o->opened(o);
}

int delivery_source_open(struct api_loop *l, uint64_t stream_uid, struct delivery_source_open *o)
{
    struct delivery_source *s = calloc(1, sizeof *s);
    if (!s)
        return -ENOMEM;
    s->source = (struct source){.ops = &delivery_source_ops, .owner = s};
    s->loop = l;
    s->stream_uid = stream_uid;
    s->name = o->name;
    s->stream = o->stream;
    list_init(&s->waiting);
    pool_init(&s->reads, sizeof(struct read_state), 8, CALLS_MAX);
    pool_init(&s->wakes, sizeof(struct wake_state), 8, CALLS_MAX);
    s->watch = (struct api_stream_watch){.changed = shards_changed, .stream_uid = stream_uid};
    s->again.fired = again_fired;
    api_stream_watch(l, &s->watch);
    o->source = s;
    o->asking = 1; /* this function: shard_ask may answer inside the call */
    o->status = parts_refresh(s, o);
    if (--o->asking == 0) {
        s->closed_ctx = o;
        s->closed_defer.run = opened_deferred;
        loop_defer(api_loop_io(l), &s->closed_defer);
    }
    return 0;
}

static void need_removed(struct shard_need *n)
{
    source_settle(CONTAINER_OF(n, struct source_part_state, need)->owner);
}

void delivery_source_close(struct delivery_source *s, void (*closed)(void *ctx), void *ctx)
{
    s->closed = closed;
    s->closed_ctx = ctx;
    s->under_way++; /* this function */
    s->closing = true;
    s->source.parts_changed = NULL;
    api_stream_unwatch(&s->watch);
    timer_disarm(api_loop_io(s->loop), &s->again);
    LIST_FOREACH_SAFE (it, &s->waiting) {
        struct wake_state *st = CONTAINER_OF(it, struct wake_state, link);
        if (st->wake)
            source_wake_cancel(&s->source, st->wake);
    }
    for (uint32_t i = 0; i < s->part_count; i++) {
        s->under_way++;
        shard_need_remove(&s->parts[i]->need, need_removed);
    }
    source_settle(s);
}

struct source *delivery_source_of(struct delivery_source *s)
{
    return &s->source;
}

uint64_t delivery_source_records(const struct delivery_source *s)
{
    uint64_t records = 0;
    for (uint32_t i = 0; i < s->part_count; i++)
        records += s->parts[i]->next_counter - s->parts[i]->first_counter;
    return records;
}
